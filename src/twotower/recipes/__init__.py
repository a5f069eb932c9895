"""Packaged recipes: TOML files used by name, as in ``twotower train kuairec-sample``."""
