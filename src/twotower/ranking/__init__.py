"""The second stage: what the towers find is ranked again, and rules are applied to the lists."""
