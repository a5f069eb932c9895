"""`Registry`: the parts of one kind (objectives, towers, splits, ...) by their names.

A part is a class in one file, and everything about it is asked of the class. The registry has one line for
each built-in part; its file is imported when the part is first asked for. A package adds parts of its own by
an entry point of the group ``twotower.<kind>``; a program adds them with `Registry.register`, or gives an
object of the class.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, Self, TypeVar

from twotower.errors import ConfigError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """The parts of one kind by name.

    >>> shapes = Registry("shape", "collections", {"counter": ":Counter", "deque": ":deque"})
    >>> shapes.names(), shapes.get("deque").__name__
    (('counter', 'deque'), 'deque')

    Args:
        kind: what the parts are, in one word: messages and the group of entry points have it.
        package: the package that the built-in parts are in.
        built_in: ``"module:Class"`` of each by its name, the module relative to the package; the first is the
            default.
        named: called with each class and its name before it is first given out.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        built_in: Mapping[str, str],
        named: Callable[[type[T], str], object] = lambda part, name: None,
    ) -> None:
        self.kind = kind
        self._package, self._built_in, self._named = package, dict(built_in), named
        self._loaded: dict[str, type[T]] = {}
        self._others: dict[str, Any] | None = None

    @property
    def default(self) -> str:
        """The name of the default part."""
        return next(iter(self._built_in))

    def names(self) -> tuple[str, ...]:
        """Return all names: of the built-in parts, then of those that packages and programs added."""
        return (*self._built_in, *(name for name in self._added() if name not in self._built_in))

    def get(self, name: str) -> type[T]:
        """Return the class of a name.

        Raises:
            ConfigError: there is no part of this name.
        """
        return self._loaded[name] if name in self._loaded else self._keep(name, self._load(name))

    def __getitem__(self, name: str) -> type[T]:
        return self.get(name)

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def classes(self) -> Iterator[type[T]]:
        """Yield the classes in the order of `names`."""
        return (self.get(name) for name in self.names())

    def register(self, part: type[T], name: str | None = None) -> type[T]:
        """Add a class of one's own, by its ``name`` or the one given; also as a decorator.

        Raises:
            ConfigError: the name is taken by another class, or the class lacks a method.
        """
        name = name or reference(part)
        if lacking := ", ".join(sorted(getattr(part, "__abstractmethods__", ()))):
            raise ConfigError(f"every {self.kind} needs {lacking}; {reference(part)} lacks it: define it")
        known = self._loaded.get(name)
        if name in self._built_in or (known is not None and reference(known) != reference(part)):
            raise ConfigError(f"{self.kind} {name!r} is there already; give your class another name")
        self._added()[name] = self._keep(name, part)
        return part

    @contextmanager
    def temporarily(self, *parts: type[T], **named: type[T]) -> Iterator[Self]:
        """Register classes within a ``with`` block, by themselves or as ``name=class``.

        After the block they are gone, and so are all others that were added in it. For tests and notebooks.

        >>> shapes = Registry("shape", "collections", {"deque": ":deque"})
        >>> with shapes.temporarily(bag=set):
        ...     shapes.names()
        ('deque', 'bag')
        >>> shapes.names()
        ('deque',)
        """
        before = dict(self._loaded), dict(self._added())
        try:
            for name, part in {**{reference(part): part for part in parts}, **named}.items():
                self.register(part, name)
            yield self
        finally:
            self._loaded, self._others = before

    def known_as(self, part: type[T]) -> str | None:
        """Return the name that a class has here; None if it has none."""
        where = reference(part)
        places = {name: self._place(place) for name, place in self._built_in.items()}
        loaded = {name: reference(one) for name, one in self._loaded.items()}
        return next((name for name, at in (places | loaded).items() if at == where), None)

    def blank(self, part: type[T], name: str) -> Any:
        """Return settings of a class of one's own without values, for a pickle; the class is registered."""
        if name not in self:
            self.register(part, name)
        config = self.get(name).Config  # type: ignore[attr-defined]
        return config.__new__(config)

    def class_of(self, name: str) -> str | None:
        """Return where the class of a name is, as ``module:Class``; None for one that the name tells."""
        told = name in self._built_in or ":" in name or name not in self
        return None if told else reference(self.get(name))

    def name_of(self, part: type[T]) -> str:
        """Return the name that a class is saved under; one without is registered as ``module:Class``.

        A class that was defined again, as in a notebook, replaces the one that it was.
        """
        known = self.known_as(part)
        if known is None or (known not in self._built_in and self.get(known) is not part):
            known = known or reference(part)
            self.register(part, known)
        return known

    def unknown(
        self, name: object, setting: str = "", besides: Sequence[str] = (), *, saved: bool = False
    ) -> ConfigError:
        """Return the error for a name without a class: what there is, or how to add what is missing.

        Args:
            name: the name.
            setting: the setting that has it, for the message.
            besides: other values of the setting.
            saved: whether the name was written by a program, so that it has no typing error.
        """
        packages = f"entry points of the group 'twotower.{self.kind}'"
        if not isinstance(name, str) or ":" not in name:
            known = [*besides, *self.names()]
            hint = "" if saved else nearest(str(name), known)
            hint = hint or f" The package that adds it may be missing (by {packages}): install it."
            return ConfigError(
                f"{setting or self.kind} must be one of {', '.join(known)}; got {name!r}.{hint}"
            )
        module, _, within = name.partition(":")
        home, registry = self._home()
        there = f"from {home} import {registry}; {registry}.register"
        if module == "__main__" or "<locals>" in within:
            fix = "define it in a module and train again, or define it in this program and register it: "
            fix += f"{there}({within.rpartition('.')[2]}, {name!r})"
        else:
            fix = (
                f"import and register it: from {module} import {within.partition('.')[0]}; {there}({within})"
            )
        return ConfigError(
            f"{self.kind} {name!r} is a class that this program doesn't have; {fix}. Commands have the "
            f"classes of installed packages, by {packages}"
        )

    def _home(self) -> tuple[str, str]:
        """Return the module that has this registry, and its name there."""
        for place in (self._package, f"{self._package}.registry"):
            for name, value in vars(sys.modules.get(place, self)).items():
                if value is self:
                    return place, name
        return __name__, "Registry"

    def _keep(self, name: str, part: type[T]) -> type[T]:
        self._named(part, name)
        self._loaded[name] = part
        return part

    def _added(self) -> dict[str, Any]:
        if self._others is None:
            self._others = {found.name: found for found in entry_points(group=f"twotower.{self.kind}")}
        return self._others

    def _load(self, name: str) -> type[T]:
        found: type[T]
        if name in self._built_in:
            module, _, within = self._place(self._built_in[name]).partition(":")
            found = getattr(import_module(module), within)
        elif name in self._added():
            found = self._added()[name].load()
        else:
            raise self.unknown(name)
        return found

    def _place(self, given: str) -> str:
        module, _, within = given.partition(":")
        return f"{self._package}.{module}:{within}" if module else f"{self._package}:{within}"


def reference(part: type) -> str:
    """Return where a class is, as ``module:Class``."""
    return f"{part.__module__}:{part.__qualname__}"
