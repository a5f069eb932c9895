"""Tables of any size, read block by block with the values and dtypes that reading them whole gives."""
