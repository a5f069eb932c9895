"""What people do with items, as a word: watch, listen, buy, read. Texts for people use it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from twotower.config.schema import Schema

_PASTS = (
    "bid:bid buy:bought drink:drunk eat:eaten get:got read:read see:seen send:sent skip:skipped "
    "shop:shopped take:taken wear:worn"
)
_IRREGULAR: Final = dict(pair.split(":") for pair in _PASTS.split())
_NAMES: Final = {
    "watch": "watch watched watches video videos movie movies film films show shows episode anime",
    "listen to": "listen listened listens listening scrobbles playcount song songs track tracks artist "
    "artists album albums podcast podcasts music",
    "buy": "buy bought purchase purchases purchased basket order orders quantity qty product products sku "
    "asin transaction transactions",
    "read": "read reads book books article articles isbn news paper papers story stories",
    "play": "play plays played game games app",
    "rate": "rate rating ratings rated star stars review reviews",
    "click": "click clicks clicked ad ads",
    "like": "like likes liked favourite favorite",
    "cook": "recipe recipes",
    "visit": "visit visits visited place places restaurant restaurants hotel hotels poi venue",
    "view": "view views viewed",
}
"""Words in the names of columns and tables, and what they say of the interactions."""
_VERB: Final = {name: verb for verb, names in _NAMES.items() for name in names.split()}
_TOKENS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_AFTER: Final = {"to", "with", "at"}


@dataclass(frozen=True)
class Verb:
    """What an interaction is.

    Attributes:
        base: before an item: "watch", "listen to".
        past: "watched", "listened to".

    >>> Verb.of("listen to"), Verb.of("try")
    (Verb(base='listen to', past='listened to'), Verb(base='try', past='tried'))
    """

    base: str
    past: str

    @classmethod
    def of(cls, base: str) -> Verb:
        """Return a verb by its base form; words after the first one stay as they are."""
        first, space, rest = base.partition(" ")
        return cls(base, _past(first) + space + rest)

    @property
    def alone(self) -> str:
        """The base form without an item after it.

        >>> Verb.of("listen to").alone, Verb.of("check in").alone
        ('listen', 'check in')
        """
        words = self.base.split()
        return " ".join(words[:-1] if words[-1] in _AFTER else words)


def _past(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("e"):
        return f"{word}d"
    if len(word) > 1 and word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ied"
    return f"{word}ed"


NEUTRAL: Final = Verb.of("interact with")
"""Used where nothing says what people do."""


def guess_verb(names: Iterable[str]) -> Verb | None:
    """Return what names of columns and tables say of the interactions, the first that says something.

    >>> guess_verb(["watch_ratio"]).past, guess_verb(["value", "trackId"]).past, guess_verb(["label"])
    ('watched', 'listened to', None)
    """
    for name in names:
        tokens = _TOKENS.findall(name)
        for token in ("".join(tokens), *tokens):
            if (verb := _VERB.get(token.lower())) is not None:
                return Verb.of(verb)
    return None


def verb_of(schema: Schema, *tables: str) -> Verb:
    """Return what people do with the items of a schema: as it says, else guessed from names, else neutral.

    Names are looked at in this order: the label, the item's id, the weight, and names of tables.
    """
    if schema.verb is not None:
        return Verb.of(schema.verb)
    columns = (schema.label, schema.item, schema.weight)
    return guess_verb([*(name for name in columns if name is not None), *tables]) or NEUTRAL
