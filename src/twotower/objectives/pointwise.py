"""Losses of a pair's score and label: the weighted mean of ``l(s, y)`` with ``s = U[u] . V[i]``."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.config.bases import ObjectiveConfig, PredictingConfig
from twotower.errors import DataError
from twotower.kernels.pair_loop import compile_pair_loop, compile_tile_loss, part_bounds, run_parts
from twotower.kernels.pairs import Pairs
from twotower.objectives.objective import Objective, PairLoss, Step, Workspace

_NO_WEIGHT = np.empty(0, dtype=np.float32)
_CHUNK_NUMBERS = 2**22  # numbers in one gathered (chunk, dim) matrix of the torch path: 16 MiB in float32


class PointwiseObjective(Objective):
    """``L = sum_p w_p l(s_p, y_p) / sum_p w_p`` with ``s_p = U[u_p] . V[i_p]``.

    Its gradients are ``dU[u] = sum_{p: u_p = u} g_p V[i_p]`` and ``dV[i] = sum_{p: i_p = i} g_p U[u_p]`` with
    ``g_p = w_p l'(s_p, y_p) / sum_p w_p``. A loss implements ``l`` and ``l'`` twice: `tile_loss` for float32
    on the CPU (the fused loop of `kernels`) and `elementwise` for other types and devices.

    Degenerate case: pairs whose weights sum to 0, or no pairs, give loss 0 and zero gradients.
    """

    Config: ClassVar[type[ObjectiveConfig]] = PredictingConfig

    @staticmethod
    @abstractmethod
    def tile_loss(score: Any, label: Any, parameter: Any, loss: Any, slope: Any) -> None:
        """Write ``l`` and ``l'`` of a tile into ``loss`` and ``slope``, arrays (n,); Numba compiles it."""

    @property
    def parameter(self) -> float:
        """The loss's parameter, passed to `tile_loss`; 0 if it has none."""
        return 0.0

    @abstractmethod
    def elementwise(self, score: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``l(s, y)`` (n,) and its derivative by ``s`` (n,)."""

    def weight(self, pairs: Pairs) -> float:
        """Return the sum of the weights; see `Objective`."""
        return float(len(pairs) if pairs.weight is None else pairs.weight.sum(dtype=np.float64))

    def __call__(
        self,
        U: torch.Tensor,
        V: torch.Tensor,
        pairs: Pairs,
        *,
        workspace: Workspace | None = None,
        step: Step | None = None,
    ) -> PairLoss:
        """Return the loss and its gradients; see `Objective`."""
        check_shapes(U, V, pairs)
        U, V = U.detach(), V.detach()
        if U.device.type == "cpu" and U.dtype == torch.float32:
            return self._fused(U, V, pairs, workspace or Workspace())
        return self._by_torch(U, V, pairs)

    def _fused(self, U: torch.Tensor, V: torch.Tensor, pairs: Pairs, workspace: Workspace) -> PairLoss:
        """One pass over the pairs in Numba, in threads over the users."""
        dU, dV = torch.empty(U.shape, dtype=U.dtype), torch.empty(V.shape, dtype=V.dtype)
        bounds = part_bounds(pairs.indptr, V.shape[0])
        parts = bounds.size - 1
        # The first part adds to the result, each other part to its own memory.
        part_dV = [dV, *map(torch.from_numpy, workspace.take(parts - 1, *V.shape))]
        U_rows, V_rows = U.contiguous().numpy(), V.contiguous().numpy()
        weight = _NO_WEIGHT if pairs.weight is None else pairs.weight
        loop, tile_loss = compile_pair_loop(), compile_tile_loss(type(self).tile_loss)

        def run(t: int) -> tuple[float, float, int]:
            own = part_dV[t].zero_().numpy()
            columns = (pairs.indptr, pairs.item, pairs.label, weight)
            result: tuple[float, float, int] = loop(
                U_rows, V_rows, *columns, tile_loss, self.parameter, bounds[t], bounds[t + 1], dU.numpy(), own
            )
            return result

        losses, weights, outside = zip(*run_parts(run, parts), strict=True)
        if any(outside):
            raise DataError(
                f"`item` must lie in [0, {V.shape[0]}), the rows of V; "
                f"got {pairs.item.min()} to {pairs.item.max()}."
            )
        for other in part_dV[1:]:
            dV += other
        total = sum(weights)
        scale = 1 / total if total > 0 else 0.0
        return PairLoss(_mean(sum(losses), total), dU.mul_(scale), dV.mul_(scale))

    def _by_torch(self, U: torch.Tensor, V: torch.Tensor, pairs: Pairs) -> PairLoss:
        """The formula in torch, a chunk of pairs at a time so that memory does not grow with their number."""
        dU, dV = torch.zeros_like(U), torch.zeros_like(V)
        loss = torch.zeros((), dtype=U.dtype, device=U.device)
        total = self.weight(pairs)
        chunk = max(1, _CHUNK_NUMBERS // max(U.shape[1], 1))
        for start in range(0, len(pairs) if total > 0 else 0, chunk):
            places = np.arange(start, min(start + chunk, len(pairs)))
            # The last row that starts at or before the position: empty rows are skipped.
            user = torch.as_tensor(np.searchsorted(pairs.indptr, places, side="right") - 1).to(U.device)
            item = torch.as_tensor(pairs.item[places]).to(U.device).long()
            label = torch.as_tensor(pairs.label[places]).to(U)
            u, v = U[user], V[item]  # (chunk, dim) each
            value, slope = self.elementwise((u * v).sum(1), label)  # (chunk,) each
            if pairs.weight is not None:
                weight = torch.as_tensor(pairs.weight[places]).to(U)
                value, slope = value * weight, slope * weight
            loss += value.sum()
            g = (slope / total)[:, None]  # (chunk, 1)
            dU.index_add_(0, user, g * v)
            dV.index_add_(0, item, g * u)
        return PairLoss(_mean(float(loss), total), dU, dV)


def check_labels_between(name: str, label: NDArray[np.float32], low: float, high: float) -> None:
    """Raise `DataError` unless every label (n,) lies in ``[low, high]``."""
    bad = ~((label >= low) & (label <= high))
    if bad.any():
        raise DataError(
            f"The objective '{name}' needs labels from {low:g} to {high:g}; got {label[bad.argmax()]:g}. "
            "Scale the label, or use the objective 'squared'."
        )


def check_shapes(U: torch.Tensor, V: torch.Tensor, pairs: Pairs) -> None:
    """Raise `ValueError` unless ``U`` and ``V`` match and ``U`` has a row for each user of ``pairs``."""
    if U.ndim != 2 or V.ndim != 2 or U.shape[1] != V.shape[1] or U.dtype != V.dtype or U.device != V.device:
        raise ValueError(
            "U and V must be matrices of the same width, type and device; got "
            f"{tuple(U.shape)} {U.dtype} {U.device} and {tuple(V.shape)} {V.dtype} {V.device}."
        )
    if U.shape[0] != pairs.n_users:
        raise ValueError(
            f"U must have a row for each of the {pairs.n_users} users of pairs; got {U.shape[0]}."
        )


def _mean(total: float, weight: float) -> float:
    if weight > 0 or math.isnan(weight):
        return total / weight
    return 0.0
