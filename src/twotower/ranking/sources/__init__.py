"""Sources of candidates besides the towers, one a file."""
