"""Time and memory of the factors of an item-item matrix for a large catalogue, on synthetic positives.

    python benchmarks/item_item.py [--users 200000 --items 100000 --pairs 4000000] [--dims 256 512]

The positives are those of `benchmarks/all_pairs.py`. Printed for each width: CPU seconds on one thread of the
eigenvectors, which serve every ridge, and of the factors for one; bytes of the vectors of items and of users;
and the most memory that the process had so far.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from all_pairs import positives
from twotower.training.closed_form.grade_rows import Grades
from twotower.training.closed_form.item_matrix import ItemMatrix


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--users", type=int, default=200_000)
    arguments.add_argument("--items", type=int, default=100_000)
    arguments.add_argument("--pairs", type=int, default=4_000_000)
    arguments.add_argument("--dims", type=int, nargs="+", default=[256, 512])
    given = arguments.parse_args()
    events = positives(given.users, given.items, given.pairs).interactions
    user, item = (events.get_column(name).to_numpy() for name in ("user_id", "item_id"))
    item = np.unique(item, return_inverse=True)[1]
    grades = csr_array((np.ones(len(user), np.float32), (user, item)), shape=(given.users, item.max() + 1))
    print(f"{grades.nnz:,} pairs of {grades.shape[0]:,} users and {grades.shape[1]:,} items")
    with threadpool_limits(1):
        for dim in given.dims:
            start = time.process_time()
            made = ItemMatrix.of(Grades(grades), dim - 2, seed=0)
            middle = time.process_time()
            left, right = made.factors(8.0)
            end = time.process_time()
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{type(made).__name__}, dim {dim}: {middle - start:.1f} s, {end - middle:.1f} s a ridge; "
                f"vectors of items {(left.nbytes + right.nbytes) / 2**30:.2f} GiB, of users "
                f"{given.users * dim * 4 / 2**30:.2f} GiB; most memory {most:.2f} GiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
