"""`TransformName`: a registered label transform. The registry lies above, so it is looked up when needed."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticKnownError


def _names() -> tuple[str, ...]:
    names: tuple[str, ...] = import_module("twotower.targets.registry").TRANSFORMS.names()
    return names


def _known(name: str) -> str:
    if name not in _names():
        raise PydanticKnownError("literal_error", {"expected": ", ".join(map(repr, _names()))})
    return name


def _listed(schema: dict[str, Any]) -> None:
    schema["enum"] = list(_names())


TransformName = Annotated[str, AfterValidator(_known), Field(json_schema_extra=_listed)]
