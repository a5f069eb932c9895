"""`Config`: all sections, checked against each other."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, SerializeAsAny, model_validator

from twotower.config.bases import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.config.diversity import DiversityConfig
from twotower.config.parts import (
    PLACES,
    TRAINING,
    default_model,
    default_objective,
    first_that,
    parts_of,
    trainer_of,
)
from twotower.config.ranker import RankerConfig
from twotower.config.schema import ADDED, Schema
from twotower.config.sections import DataConfig, EvaluationConfig, PositiveConfig, Section, SplitConfig


class Config(Section):
    """A whole configuration. Read one with `load_config`."""

    seed: Annotated[int, Field(ge=0)] = 42
    """Seed of the split, the weights and the batches: the same seed, machine and number of threads give the
    same bits."""
    user_vectors: bool = True
    """Whether the saved model has the vectors of users. ``false``: the bundle is smaller by four bytes a
    number, and they are computed from the users' histories when it is loaded, which takes some seconds for
    each million; not with ``[schema.users]``, unless the towers read histories. Vectors of ``linear`` and
    ``mlp`` towers are then those of someone new with the same history, without the weights of
    interactions."""
    data: DataConfig = DataConfig()
    schema_: Schema | None = Field(default=None, alias="schema")
    """``[schema]``, for source ``tables``: the named data sets bring their own, to which only ``context``,
    ``recent_days``, ``daily`` and ``item_age`` can be added."""
    split: SplitConfig = Field(default_factory=SplitConfig)
    positive: PositiveConfig = PositiveConfig()
    model: SerializeAsAny[ModelConfig] = Field(default_factory=default_model)
    objective: SerializeAsAny[ObjectiveConfig] = Field(default_factory=default_objective)
    training: SerializeAsAny[TrainingConfig] = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    ranker: RankerConfig | None = None
    diversity: DiversityConfig | None = None

    @property
    def trainer(self) -> str:
        """The name of the trainer, "auto" resolved."""
        return trainer_of(self.model, self.objective, self.training)

    @property
    def solved(self) -> bool:
        """Whether the towers are solved in closed form."""
        solved: bool = TRAINING.registry.get(self.trainer).solves
        return solved

    @property
    def split_seed(self) -> int:
        """The seed of the split."""
        return self.seed if self.split.seed is None else self.split.seed

    @model_validator(mode="before")
    @classmethod
    def _sections_of_parts(cls, values: Any) -> Any:
        """Give sections that came as dicts the settings of the parts that they name."""
        if not isinstance(values, dict) or not any(name in values for name in PLACES):
            return values
        given = {name: values[name] for name in PLACES if name in values}
        plain = {name: one if isinstance(one, dict) else one.model_dump() for name, one in given.items()}
        return {**values, **vars(parts_of(plain, lambda kind, _, section: kind.model_validate(section)))}

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        source, split = self.data.source, self.split.kind()
        own = set() if self.schema_ is None else self.schema_.model_fields_set - set(ADDED)
        if source != "tables" and own:
            raise ValueError(
                f"[schema] is for source 'tables'; '{source}' brings its own, to which only "
                f"{', '.join(ADDED)} can be added; leave {', '.join(sorted(own))} out"
            )
        if self.objective.implicit and not self.evaluation.ranking:
            raise ValueError(
                f"evaluation.ranking can't be false with objective '{self.objective.name}', which is "
                "measured by ranking metrics only; leave it out, or predict a label (objective.name = "
                f"'{first_that(predicts=True)}')"
            )
        if self.ranker is not None and not self.objective.implicit:
            raise ValueError(
                f"[ranker] ranks again what towers find that were trained to rank, and objective "
                f"'{self.objective.name}' predicts a label; leave [ranker] out, or set objective.name = "
                f"'{first_that(predicts=False)}'"
            )
        trainer = TRAINING.part(trainer_of(self.model, self.objective, self.training))
        if type(self.training) is TrainingConfig:  # the settings that all trainers have become one's own
            own = trainer.Config(
                **{key: getattr(self.training, key) for key in self.training.model_fields_set}
            )
            object.__setattr__(self, "training", own)
        if split.sources and source not in split.sources:
            sources = " and ".join(f"'{name}'" for name in split.sources)
            noun = "source" if len(split.sources) == 1 else "the sources"
            raise ValueError(f"split method '{split.name}' is for {noun} {sources}, not '{source}'")
        if source != "tables":
            return self
        if self.schema_ is None:
            raise ValueError("[schema] is missing: name the columns of the user, the item and the label")
        if self.schema_.statistics_fault is not None:
            raise ValueError(f"[schema] {self.schema_.statistics_fault}")
        if self.schema_.label is None and not self.objective.implicit:
            raise ValueError(
                f"[schema] label is missing: name the column that objective '{self.objective.name}' predicts"
            )
        if self.data.interactions is None and not split.reads_files:
            raise ValueError("[data] interactions is missing: give the path of the interactions table")
        if self.data.interactions is not None and split.reads_files:
            raise ValueError(
                f"[data] interactions is not read with split method '{split.name}'; leave it out"
            )
        return self
