"""Tables in: readers, checks, splits, the data sets known by name, and the packaged sample."""
