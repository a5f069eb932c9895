"""What the names of columns and files say about them."""

from __future__ import annotations

import re
from typing import Final

_USER = (
    "account client customer listener member patient person player reader reviewer session student "
    "subscriber u uid user userid viewer visitor"
)
_ITEM = (
    "ad anime app article artist asin book business clip content course doc document episode film game "
    "hotel i iid isbn item itemid job movie news offer photo place podcast poi post product recipe "
    "restaurant show sku song track venue video"
)
_LABELS = (
    "rating ratings stars star_rating watch_ratio label target score overall preference value reward "
    "liked like is_click click clicked purchased playcount play_count plays listens quantity amount count "
    "cnt"
)
_TIMES = (
    "timestamp unix_timestamp unix_review_time ts datetime event_time time created_at rated_at created at "
    "date day event_date"
)

USER: Final = frozenset(_USER.split())
ITEM: Final = frozenset(_ITEM.split())
_ID: Final = frozenset(
    ("id", "ids", "key", "code", "no", "nr", "number", "num", "idx", "index", "hash", "uuid", "raw")
)
LABELS: Final = tuple(_LABELS.split())
"""Names of labels, the likeliest first."""
TIMES: Final = tuple(_TIMES.split())
WEIGHTS: Final = ("weight", "sample_weight", "importance")
TITLES: Final = ("title", "name", "caption", "headline")
TEXTS: Final = (
    *TITLES,
    "description",
    "text",
    "summary",
    "abstract",
    "overview",
    "plot",
    "review",
    "comment",
)

_FILES: Final = {
    table: frozenset(words.split())
    for table, words in {
        "interactions": "inter interaction rating event click view log purchase order transaction review "
        "matrix train test valid validation val dev",
        "users": "user customer member people person visitor account reader listener",
        "items": "item movie film video product book song track article news game business course job recipe",
    }.items()
}


def tokens(name: str) -> list[str]:
    """Return the words of a name: ``userId``, ``user-id`` and ``USER_ID`` are all user, id."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^a-z0-9]+", snake.lower()) if word]


def names_id(name: str, words: frozenset[str]) -> bool:
    """Say whether a name is that of an id: ``movieId``, but not ``movie_title``.

    >>> [names_id(name, ITEM) for name in ("movieId", "item", "video_duration", "userId")]
    [True, True, False, False]
    """
    parts = tokens(name)
    return any(part in words for part in parts) and all(part in words or part in _ID for part in parts)


def rank(name: str, known: tuple[str, ...]) -> int | None:
    """Return the place of a name among known ones, as a whole or by its last words, or none."""
    whole = "_".join(tokens(name))
    for place, word in enumerate(known):
        if whole == word:
            return place
    for place, word in enumerate(known):
        if whole.endswith("_" + word):
            return len(known) + place
    return None


def has_word(name: str, words: tuple[str, ...]) -> bool:
    """Say whether one of a name's words is one of these."""
    return any(part in words for part in tokens(name))


def table_of(file: str) -> str | None:
    """Return which table a file's name says it is: interactions, users, items; none if it doesn't.

    >>> [table_of(name) for name in ("ratings.csv", "ml-100k.user", "films.parquet", "data.csv")]
    ['interactions', 'users', 'items', None]
    """
    stem, _, suffix = file.lower().removesuffix(".gz").rpartition(".")
    by_suffix = {"inter": "interactions", "user": "users", "item": "items"}
    if suffix in by_suffix:
        return by_suffix[suffix]
    for table, words in _FILES.items():
        if any(word in words or word.removesuffix("s") in words for word in tokens(stem)):
            return table
    return None
