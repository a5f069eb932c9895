"""`Ray`: trains on a Ray cluster, an existing one or one of this machine that is started and stopped."""

from __future__ import annotations

import importlib
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from twotower.config import ModelConfig, ObjectiveConfig
from twotower.core.versions import differences, versions
from twotower.distributed.trainers import BLOCK_TRAINERS
from twotower.errors import ConfigError
from twotower.training.engine import Engine
from twotower.training.registry import TRAINERS
from twotower.training.several import Several
from twotower.training.trainer import Trainer, TrainingTask

if TYPE_CHECKING:
    from twotower.distributed._ray import RayTeam

_ADDRESS = re.compile(r"(?:ray://)?(\[.+\]|[^/:]+):(\d+)")
_PATIENCE = 10.0  # seconds for a connection; Ray itself tries for minutes
Shared = TypeVar("Shared")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(eq=False)
class Ray(Engine):
    """Trains, evaluates and recommends on a Ray cluster: ``fit(train, engine=tt.Ray(workers=4))``.

    Within ``with tt.Ray(...) as engine:`` the cluster and its workers serve several calls. Needs the extra
    ``ray``. The answers are those of one machine, up to the rounding of sums.

    Args:
        address: of a cluster: ``"auto"`` (this machine is a node of it), ``"host:port"``, or
            ``"ray://host:port"`` from outside; None for one on this machine, which is stopped at the end.
        workers: number of worker processes.
        cpus: CPUs, and threads, of each.

    Raises:
        ConfigError: a number is not positive; there is no cluster at the address, or one with other versions.
        MissingExtraError: Ray is not installed.
    """

    address: str | None = None
    workers: int = 2
    cpus: int = 1
    _depth: int = field(default=0, init=False, repr=False)
    _ours: bool = field(default=False, init=False, repr=False)
    _team: RayTeam | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("workers", "cpus"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a whole number from 1, got {value!r}")
        if self.address not in (None, "auto") and not _ADDRESS.fullmatch(str(self.address)):
            raise ConfigError(f"address must be auto, HOST:PORT or ray://HOST:PORT, got {self.address!r}")

    def __enter__(self) -> Self:
        """Connect to the cluster, or start one."""
        self._depth += 1
        if self._depth == 1:
            try:
                self._connect()
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers, and the cluster if it was started here."""
        self._depth -= 1
        if self._depth:
            return
        if self._team is not None:
            self._team.stop()
            self._team = None
        if self._ours:
            self._ray.library().shutdown()
            self._ours = False

    @property
    def _ray(self) -> Any:
        return importlib.import_module("twotower.distributed._ray")

    def _connect(self) -> None:
        ray = self._ray.library()
        if not ray.is_initialized():
            quiet = {"log_to_driver": False, "logging_level": "ERROR"}
            self._ours = True
            try:
                _check_reachable(self.address)
                if self.address is None:
                    cpus = self.workers * self.cpus
                    ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
                else:
                    ray.init(address=self.address, **quiet)
            except Exception as error:
                where = "on this machine" if self.address is None else f"at {self.address!r}"
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise ConfigError(
                    f"the engine ray needs a cluster, and none was reached or started {where}: {reason}. "
                    "Start one with `ray start --head`, or leave out the address for one on this machine"
                ) from None
        self._compare(ray)

    def _compare(self, ray: Any) -> None:
        """Check that all machines have the same versions.

        Raises:
            ConfigError: one has not, or can't import this package.
        """
        asked = {
            node["NodeManagerHostname"]: self._ray.on_node(node["NodeID"], versions)
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU")
        }
        here = versions()
        for host, reference in asked.items():
            try:
                wrong = differences(here, ray.get(reference, timeout=self._ray.READY))
            except Exception as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                wrong = f"twotower can't be imported ({lines[-1].strip()})"
            if wrong:
                raise ConfigError(
                    f"all machines of a cluster need the same versions; {host} has {wrong}. Install the same "
                    "there, or start from a machine that has what the cluster has"
                )

    def check(self, kind: type[Trainer], model: ModelConfig, objective: ObjectiveConfig) -> None:
        """Check that such a model can be trained here; see `Engine`."""
        if kind is not Several and TRAINERS.known_as(kind) not in BLOCK_TRAINERS:
            able, given = ", ".join(map(repr, BLOCK_TRAINERS.names())), TRAINERS.known_as(kind)
            raise ConfigError(
                f"the engine ray trains by {able}; got trainer {given or kind.__name__!r}, of "
                f"model.kind = {model.kind!r} with objective {objective.name!r}. Choose another kind (linear "
                "towers by `twotower train --quick`), or leave out the engine"
            )

    def trainer(self, kind: type[Trainer], task: TrainingTask, config: Any) -> Trainer:
        """Return the trainer that has its pairs on the workers; see `Engine`."""
        self.check(kind, task.model.config, task.settings)
        made: Trainer = BLOCK_TRAINERS[TRAINERS.known_as(kind) or ""].on(self.team(), task, config)
        return made

    def team(self) -> RayTeam:
        """Return the workers, started when they are first asked for."""
        if self._team is None:
            self._team = self._ray.RayTeam(self.workers, self.cpus)
        return self._team

    def map(
        self, function: Callable[[Shared, Item], Result], shared: Shared, items: Iterable[Item]
    ) -> Iterator[Result]:
        """Yield the results of calls on the workers; see `Engine`."""
        yield from self.team().map(function, shared, items)


def _check_reachable(address: str | None) -> None:
    """Raise `OSError` if nobody listens at an address; other forms are left to Ray."""
    named = _ADDRESS.fullmatch(address or "")
    if named is not None:
        socket.create_connection((named[1].strip("[]"), int(named[2])), _PATIENCE).close()
