"""Kinds of files, and how they are put together."""

from input_case import Case, Error
from twotower.data.tables import read_table

CASES = [
    Case(
        "an empty file", {"a.csv": ""}, lambda folder: read_table(folder / "a.csv"), Error("a.csv is empty")
    ),
]
