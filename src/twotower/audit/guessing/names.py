"""Guesses from the names of columns and files."""

from __future__ import annotations

import re
from typing import Final

_USER = (
    "user uid u userid usersha1 customer client member account person people profile buyer shopper "
    "consumer guest household patient player student learner subscriber listener viewer reader "
    "reviewer rater visitor kunde kunden nutzer benutzer utilisateur cliente usuario utente klant "
    "gebruiker username device cookie session"
)
_ITEM = (
    "item iid itemid i product artikel produkt produit producto prodotto articulo article sku asin "
    "stock gtin ean upc isbn isbn13 isbn10 movie film video book livre libro buch track song recipe "
    "game app news story post photo clip podcast episode show anime manga joke beer wine doc document "
    "content course job offer ad creative listing hotel restaurant place poi venue business artist "
    "album"
)
_LABELS = (
    "rating ratings stars star_rating bewertung nota watch_ratio label target score overall grade "
    "preference reward liked like is_click click clicked is_liked purchased playcount play_count "
    "plays listens scrobbles n_plays views clicks quantity qty menge anzahl units amount count counts "
    "cnt frequency freq weight strength confidence value"
)
_TIMES = (
    "timestamp unix_timestamp unix_review_time ts datetime event_time time created_at rated_at "
    "created at date day t_dat dat event_date datum"
)
_IDS = "id ids key code no nr number num idx index hash uuid uri raw nummer"
_EVENTS = (
    "event event_type eventtype event_name behavior behaviour behavior_type behaviour_type action "
    "action_type interaction interaction_type type activity verb feedback reaction"
)

USER: Final = tuple(_USER.split())
"""Words for users, the likeliest first."""
ITEM: Final = tuple(_ITEM.split())
"""Words for items, the likeliest first."""
_ID: Final = frozenset(_IDS.split())
EMAILS: Final = ("email", "mail")
"""Words for an address that stands for the user where no column is named like one."""
LABELS: Final = tuple(_LABELS.split())
"""Names of labels, the likeliest first."""
TIMES: Final = tuple(_TIMES.split())
EVENTS: Final = tuple(_EVENTS.split())
"""Names of columns with the action."""
WEIGHTS: Final = ("sample_weight", "importance", "weight")
_ORDERS = "position pos order seq sequence step rank seconds elapsed idx index"
ORDERS: Final = tuple(_ORDERS.split())
"""Names of columns that may be a position in the user's sequence."""
RATIOS: Final = ("ratio", "rate", "share", "percent", "pct", "watched", "dwell", "progress", "completion")
"""Words of labels that measure consumption."""
COUNTS: Final = (
    *("weight", "plays", "play", "playcount", "count", "counts", "cnt", "quantity", "qty", "menge", "anzahl"),
    *("amount", "units", "listens", "scrobbles", "views", "clicks", "frequency", "freq", "purchases"),
)
"""Words of labels that are counts or amounts."""
SCALES: Final = ("rating", "ratings", "stars", "star", "score", "overall", "grade", "bewertung", "nota")
"""Words of labels on a scale."""
PRICES: Final = ("price", "preis", "prix", "precio", "cost", "discount", "tax", "revenue", "sales")
CLOCK: Final = (
    "hour",
    "weekday",
    "dow",
    "dayofweek",
    "month",
    "stunde",
    "wochentag",
    "monat",
    "heure",
    "hora",
)
"""Words of columns that say when something was by what recurs."""
DISLIKES: Final = (
    *("skip", "skipped", "dislike", "disliked", "return", "returned", "refund", "refunded"),
    *("cancelled", "canceled", "dismissed", "hidden", "blocked", "reported"),
)
"""Words of columns in which "yes" is negative."""
TITLES: Final = (
    *("title", "name", "caption", "headline", "titel", "titre", "titulo"),
    *("produktname", "artikelname", "bezeichnung", "artikelbezeichnung", "produktbezeichnung"),
)
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
    "desc",
)

_FILES: Final = {
    table: frozenset(words.split())
    for table, words in {
        "interactions": "inter interaction rating event click view log purchase order transaction review "
        "play listen sale invoice train test valid validation val dev bestellung",
        "users": "user customer member people person visitor account reader listener profile kunde nutzer "
        "client",
        "items": "item movie film video product book song track article news game business course job recipe "
        "artist album produkt artikel catalogue catalog sku metadata meta",
    }.items()
}


def tokens(name: str) -> list[str]:
    """Return the words of a name.

    >>> [tokens(name) for name in ("userId", "user-id", "USER_ID", "visitorid", "StockCode", "t_dat")]
    [['user', 'id'], ['user', 'id'], ['user', 'id'], ['visitor', 'id'], ['stock', 'code'], ['t', 'dat']]
    """
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [part for word in re.split(r"[\W_]+", snake.lower()) if word for part in _unglued(word)]


def _unglued(word: str) -> list[str]:
    """Return ``visitor``, ``id`` for ``visitorid``; other words are not split."""
    for ending in ("id", "code", "key", "no", "nr", "hash", "uuid", "number"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 1 and (stem in USER or stem in ITEM):
            return [stem, ending]
    return [word]


def names_id(name: str, words: tuple[str, ...]) -> bool:
    """Return whether a name is that of an id: ``movieId``, but not ``movie_title``.

    >>> [names_id(name, ITEM) for name in ("movieId", "item", "parent_asin", "video_duration", "userId")]
    [True, True, True, False, False]
    """
    parts = [part for part in tokens(name) if part != "parent"]
    return any(part in words for part in parts) and all(part in words or part in _ID for part in parts)


def ends_like_id(name: str) -> bool:
    """Return whether a name ends like that of any id or code.

    >>> [ends_like_id(name) for name in ("transactionid", "session_id", "zip_code", "InvoiceNo", "paid")]
    [True, True, True, True, False]
    """
    parts = tokens(name)
    if parts and parts[-1] in _ID - {"number", "num", "index", "idx", "raw"}:
        return True
    return (
        re.search(r"(transaction|order|invoice|session|event|row|tag)(id|no|nr)$", "".join(parts)) is not None
    )


def likelihood(name: str, words: tuple[str, ...]) -> int:
    """Return the position of an id's name among the words; lower is likelier."""
    return min((words.index(part) for part in tokens(name) if part in words), default=len(words))


def rank(name: str, known: tuple[str, ...]) -> int | None:
    """Return the position of a name among known ones, as a whole or by its last words; None if unknown."""
    whole = "_".join(tokens(name))
    for place, word in enumerate(known):
        if whole == word:
            return place
    for place, word in enumerate(known):
        if whole.endswith("_" + word):
            return len(known) + place
    return None


def has_word(name: str, words: tuple[str, ...] | list[str]) -> bool:
    """Return whether one of a name's words is among these."""
    return any(part in words for part in tokens(name))


def table_of(file: str) -> str | None:
    """Return the table that a file's name suggests: interactions, users, items; None if none.

    >>> [table_of(name) for name in ("ratings.csv", "ml-100k.user", "films.parquet", "data.csv")]
    ['interactions', 'users', 'items', None]
    >>> table_of("user_artists.dat")
    'interactions'
    """
    stem, _, suffix = re.sub(r"\.(gz|bz2|xz|zst)$", "", file.lower()).rpartition(".")
    by_suffix = {"inter": "interactions", "user": "users", "item": "items"}
    if suffix in by_suffix:
        return by_suffix[suffix]
    found = {
        table
        for table, words in _FILES.items()
        for word in tokens(stem)
        if word in words or word.removesuffix("s") in words or word.removesuffix("n") in words
    }
    if "interactions" in found or {"users", "items"} <= found:
        return "interactions"
    return found.pop() if found else None
