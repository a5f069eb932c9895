"""`FoldingUsers`: towers that don't read histories, as ones that do: a history is folded in."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import nn

from twotower.kernels.layout import VectorLayout
from twotower.towers.arrays import SideArrays
from twotower.towers.fold_in import FoldIn, FoldInSettings
from twotower.towers.tower import Tower


class FoldingUsers(Tower):
    """A user is the least-squares solution for its history, with the item vectors fixed; see `FoldIn`.

    Where there are features, a user starts from them; else from the typical user.

    Args:
        tower: of users, whose rows of ids are not read.
        items: of items.
        layout: of the vectors.
        settings: what folding in needs to know of the training.
    """

    reads_history: ClassVar[bool] = True
    ordered: ClassVar[bool] = False

    def __init__(self, tower: Tower, items: Tower, layout: VectorLayout, settings: FoldInSettings) -> None:
        nn.Module.__init__(self)
        self.shape, self.width, self.id_dropout = tower.shape, tower.width, 0.0
        self.tower, self._items = tower, [items]  # in a list: its weights are another's
        self.layout, self.settings = layout, settings
        self.register_buffer("typical", torch.zeros(layout.dim))
        self.typical: torch.Tensor
        self._known: tuple[SideArrays, FoldIn] | None = None

    def from_features(self, side: SideArrays) -> torch.Tensor:
        """Return the outputs of features alone, (rows, width); the typical user's without any column."""
        if self.shape.n_dense or self.shape.n_codes:
            return self.tower.from_features(side)
        return self._outputs(self.typical[None]).expand(side.rows, -1)

    def forward(self, side: SideArrays) -> torch.Tensor:
        """Return the outputs of users with their histories, (rows, width)."""
        start, history = self.from_features(side), side.history
        if history is None or not len(history.items):
            return start
        fold = self._fold(history.catalogue)
        made = start.detach().cpu().numpy().copy()
        vectors = self._vectors(start) if self.shape.n_dense or self.shape.n_codes else None
        indptr, items = history.indptr.tolist(), history.items.cpu().numpy()
        grades = history.grades.cpu().numpy().astype(np.float64)
        targets = np.where(grades > 0, grades, np.nan)  # 0 says nothing
        none, nothing = np.empty(0, np.int64), np.empty(0)
        for row in range(side.rows):
            part = slice(indptr[row], indptr[row + 1])
            if part.start == part.stop:
                continue
            own = items[part], targets[part]
            vector = fold.vector(*own) if vectors is None else fold.moved(vectors[row], none, nothing, *own)
            made[row] = self._outputs(torch.from_numpy(vector[None])).numpy()[0]
        return torch.from_numpy(made).to(start)

    def combined(self, rows: int, numbers: torch.Tensor | None, coded: list[torch.Tensor]) -> torch.Tensor:
        """Return the part of the outputs from features, (rows, width)."""
        return self.tower.combined(rows, numbers, coded)

    def _outputs(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return a tower's outputs (rows, width) of user vectors (rows, dim)."""
        return self.layout.parts(vectors)[..., :-1].flatten(1) * self.layout.members

    def _vectors(self, outputs: torch.Tensor) -> np.ndarray:
        """Return user vectors float32 (rows, dim) of outputs (rows, width)."""
        latent, bias = self.layout.of_outputs(outputs.detach().cpu())
        made: np.ndarray = self.layout.users(latent, bias).numpy() / np.float32(self.layout.members)
        return made

    def _fold(self, catalogue: SideArrays) -> FoldIn:
        """Return what folds in, for the items that histories consist of."""
        if self._known is None or self._known[0] is not catalogue:
            with torch.no_grad():
                latent, bias = self.layout.of_outputs(self._items[0](catalogue))
                vectors = self.layout.items(latent, bias).cpu().numpy()
            warm = catalogue.warm.cpu().numpy() > 0
            made = FoldIn(vectors, warm, self.typical.cpu().numpy(), self.layout, self.settings)
            self._known = catalogue, made
        return self._known[1]
