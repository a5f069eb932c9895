"""`Earlier`: the towers of a finished model, from which training continues on more interactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from twotower.core.vocabulary import Vocabulary
from twotower.errors import ConfigError
from twotower.features import Encoder
from twotower.recommender import Recommender
from twotower.towers import TwoTowerModel
from twotower.towers.auto import AutoConfig, AutoItems, AutoUsers
from twotower.towers.folding import FoldingUsers

_IDS = "ids.weight"
_OF_USERS = f"users.{_IDS}"


@dataclass(frozen=True, eq=False)
class Earlier:
    """Trained towers of one kind.

    Attributes:
        kind: of towers.
        dim: length of their vectors.
        encoder: what encodes their features.
        weights: by name, as of a `TwoTowerModel` of this kind.
        weight: what the scores are multiplied by in a sum of several kinds.
        model: their settings.
    """

    kind: str
    dim: int
    encoder: Encoder
    weights: Mapping[str, torch.Tensor]
    weight: float
    model: Mapping[str, Any]

    def load_into(self, towers: TwoTowerModel, encoder: Encoder) -> None:
        """Give new towers these weights: users and items that both know have their rows, new ones none.

        The row of a new user or item is 0, so their vector is that of someone with these features.

        Raises:
            ConfigError: the new towers have other sizes.
        """
        known = {
            which: Vocabulary(getattr(encoder, which).warm_ids).rows(getattr(self.encoder, which).warm_ids)
            for which in ("users", "items")
        }
        with torch.no_grad():
            for name, tensor in towers.state_dict().items():
                if name == "mean":
                    continue  # of the labels, which are others now
                old = self.weights.get(name)
                if name.endswith(_IDS) and old is not None and old.shape[1:] == tensor.shape[1:]:
                    place = torch.from_numpy(known["users" if name == _OF_USERS else "items"])
                    kept = place >= 0
                    tensor.zero_()
                    tensor[place[kept]] = old[kept].to(tensor)
                elif old is not None and old.shape == tensor.shape:
                    tensor.copy_(old)
                else:
                    raise ConfigError(
                        f"training continues only with towers of the same sizes; the weights {name!r} have "
                        f"the shape {tuple(tensor.shape)}, in the earlier model "
                        f"{'none' if old is None else tuple(old.shape)}: train from the beginning"
                    )


def earlier_of(model: Recommender) -> list[Earlier]:
    """Return the towers of a model: one, or several if it is a sum."""
    towers, config = model.model, model.model.config
    if not isinstance(config, AutoConfig):
        weights = dict(towers.state_dict())
        return [Earlier(config.kind, config.length, model.encoder, weights, 1.0, config.model_dump())]
    assert isinstance(towers.users, AutoUsers)
    assert isinstance(towers.items, AutoItems)
    found = []
    for part, user, item in zip(config.parts, towers.users.parts, towers.items.parts, strict=True):
        tower = user.tower if isinstance(user, FoldingUsers) else user
        weights = {f"users.{name}": of for name, of in tower.state_dict().items()}
        weights |= {f"items.{name}": of for name, of in item.state_dict().items()}
        kind, dim = str(part.model["kind"]), int(part.model["dim"])
        found.append(Earlier(kind, dim, model.encoder, weights, part.weight, part.model))
    return found
