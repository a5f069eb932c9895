"""The features of candidates, one group a file."""
