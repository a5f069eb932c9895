"""Data sets: known ones by name, made-up ones, and what a config names."""

from twotower.datasets.loading import load, names

__all__ = ["load", "names"]
