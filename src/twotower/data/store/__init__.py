"""Interactions on disk: a training set whose rows need not fit in memory.

`StoredEvents` is one set of interactions as memory-mapped columns, `StoreWriter` writes one, and
`StoredTrain` is a training set that has one.
"""

from twotower.data.grouped import EventBlock
from twotower.data.store.events import StoredEvents
from twotower.data.store.train import StoredTrain
from twotower.data.store.writing import StoreWriter, fitting

__all__ = ["EventBlock", "StoreWriter", "StoredEvents", "StoredTrain", "fitting"]
