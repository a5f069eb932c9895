"""A synthetic KuaiRec: seven CSV files with the real schema, quirks and statistics, made from one seed.

The real archive is 432 MB to download and may not be redistributed with the library; with these files the
loader, the splits, the models and the benchmarks can be tested at full size without it.
"""

from __future__ import annotations

from twotower.datasets.synthetic.write import write_kuairec

__all__ = ["write_kuairec"]
