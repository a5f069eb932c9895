"""`PartName`: the annotation of a setting that names a registered part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticKnownError
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from twotower.core.registry import Registry


@dataclass(frozen=True)
class PartName:
    """The names of a registry as the values of a setting, in its validation and its JSON schema.

    The packages of the parts lie above the config, so the registry is looked up when it is first needed.

    Attributes:
        place: where the registry is, as ``module:name``.
        besides: values that are no names.
    """

    place: str
    besides: tuple[str, ...] = ()

    @cached_property
    def registry(self) -> Registry[Any]:
        """The registry."""
        module, _, name = self.place.partition(":")
        found: Registry[Any] = getattr(import_module(module), name)
        return found

    def names(self) -> list[str]:
        """Return the values that are valid."""
        return [*self.besides, *self.registry.names()]

    def _known(self, value: str) -> str:
        if value not in self.names():
            if ":" in value:
                self.registry.get(value)  # says that the class is not there
            raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, self.names()))})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> Any:
        return handler(schema) | {"enum": self.names()}
