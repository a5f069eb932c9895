"""`TeamEase`: `Ease` with the users' grades on the workers of a team."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from twotower.distributed.block import Block
from twotower.distributed.blocks import Held, even
from twotower.distributed.team import Team
from twotower.training.closed_form.grade_rows import F32, GradeRows, Grades
from twotower.training.closed_form.item_item import Ease
from twotower.training.trainer import TrainingTask


class GradeBlock(Block):
    """The grades of some users that follow one another."""

    rows: Grades

    def take(self, columns: tuple[NDArray[Any], ...], shape: tuple[int, int]) -> None:
        """Take over the rows of users: values, items and pointers of a sparse matrix."""
        self.rows = Grades(csr_array(tuple(column.copy() for column in columns), shape=shape))

    def product(self, method: str, *args: Any) -> Any:
        """Return a product of `GradeRows` for these users."""
        return getattr(self.rows, method)(*args)


class TeamGrades(Held, GradeRows):
    """Users' grades on the workers of a team; what they make of them is added up here.

    Args:
        team: the workers.
        grades: of all users, (n_users, n_items).
    """

    def __init__(self, team: Team, grades: csr_array) -> None:
        super().__init__(team)
        self.grades, self.shape = grades, grades.shape

    def _load(self) -> None:
        self.team.start(GradeBlock)
        bounds = even(self.grades.indptr.astype(np.int64), self.team.size)
        calls = []
        for worker, (first, last) in enumerate(pairwise(bounds)):
            part = self.grades[int(first) : int(last)]
            columns = part.data, part.indices, part.indptr
            calls.append(self.team.call(worker, "take", columns, part.shape))
        self.team.get(calls)

    def squares(self) -> NDArray[np.float64]:
        """Return the sum of squares of each column; see `GradeRows`."""
        summed: NDArray[np.float64] = self._summed("squares")
        return summed

    def gram(self, dtype: type[np.floating]) -> NDArray[Any]:
        """Return W'W; see `GradeRows`."""
        summed: NDArray[Any] = self._summed("gram", dtype)
        return summed

    def through(self, x: F32, scale: F32 | None = None) -> F32:
        """Return W'(W x); see `GradeRows`."""
        summed: F32 = self._summed("through", x, scale)
        return summed

    def square(self, x: F32, scale: F32 | None = None) -> F32:
        """Return (W x)'(W x); see `GradeRows`."""
        summed: F32 = self._summed("square", x, scale)
        return summed

    def times(self, x: F32) -> F32:
        """Return X x; see `GradeRows`."""
        return np.concatenate(self._of_all("times", x))

    def _summed(self, method: str, *args: Any) -> Any:
        first, *others = self._of_all(method, *args)
        total = first.copy()
        for other in others:
            total += other
        return total

    def _of_all(self, method: str, *args: Any) -> list[Any]:
        return self.surviving(lambda: self.each("product", method, *args))


class TeamEase(Ease):
    """Solves here what has the size of the item-item matrix; products with users are the workers'.

    Args:
        task, config: see `Trainer`.
        team: the workers.
        rows: the grades, if the workers have them.
    """

    def __init__(self, task: TrainingTask, config: Any, team: Team, rows: GradeRows | None = None) -> None:
        super().__init__(task, config)
        self.team, self.rows = team, rows or TeamGrades(team, self.grades)

    @classmethod
    def on(cls, team: Team, task: TrainingTask, config: Any) -> Self:
        """Return the trainer, with the grades of the task brought to a team of workers."""
        return cls(task, config, team)

    def remade(self, task: TrainingTask, config: Any) -> Self:
        """Return a trainer for other settings on the same grades; see `Trainer`."""
        return type(self)(task, config, self.team, self.rows)
