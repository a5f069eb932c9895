"""`Id`: an id of a user or an item in a body or an answer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

_Whole = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]

_Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=4096)]

Id = _Whole | _Text
