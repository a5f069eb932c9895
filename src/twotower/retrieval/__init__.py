"""Retrieval: the k items whose vectors score highest for a user's vector.

Serving a two-tower model is this search and nothing else, since the towers meet only at the dot product. The
exact scan here is fast enough for catalogues of tens of thousands of items, and it is what an approximate
index is checked against.
"""

from twotower.retrieval.exact import Seen, TopK, exact_top_k

__all__ = ["Seen", "TopK", "exact_top_k"]
