"""Targets: label transforms, the rule for positives, and the values that objectives fit scores to."""
