"""Tables as people have them, and what `init` makes of them: roles, kinds, positives, or one clear error."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from input_case import Case, Error
from twotower.audit.guessing import Told, draft_config

_RNG = np.random.default_rng(0)
_PAIRS = _RNG.permutation(20 * 15)[:200]
USER, ITEM = _PAIRS // 15 + 1, _PAIRS % 15 + 1  # (200,), no pair twice
NOISE = _RNG.normal(size=200)
SECONDS = 1_600_000_000 + 977 * np.arange(200)
PLAYS = np.ceil(np.exp(4 + 3 * NOISE)).astype(int)  # heavy-tailed
STARS = np.clip(np.round(3.5 + NOISE), 1, 5).astype(int)
PLACE = np.array([(USER[:i] == u).sum() for i, u in enumerate(USER)])  # 0, 1, ... of each user


def table(columns: Mapping[str, Any], separator: str = ",") -> str:
    """Return a CSV of columns of one length."""
    cells = zip(*columns.values(), strict=True)
    lines = [columns, *cells]
    return "".join(separator.join("" if c is None else str(c) for c in line) + "\n" for line in lines)


def events(**columns: Any) -> str:
    """Return a CSV of user_id, item_id and further columns."""
    return table({"user_id": USER, "item_id": ITEM, **columns})


def guess(*files: str, want: str = "", **told: Any) -> Callable[[Path], Any]:
    """Return what drafts a config for files and gives its roles; or one section of it."""

    def ask(folder: Path) -> Any:
        paths = [folder / file for file in files] or [folder]
        config = tomllib.loads(draft_config(paths, folder, told=Told(**told)).text)
        if want:
            section = config
            for key in want.split("."):
                section = section.get(key, {})
            return section
        roles = ("user", "item", "label", "timestamp", "weight")
        found = {role: config["schema"][role] for role in roles if role in config["schema"]}
        return found | config.get("positive", {}) | config.get("objective", {})

    return ask


def ranks(user: str = "user_id", item: str = "item_id", **others: Any) -> dict[str, Any]:
    """Return the roles that are wanted of a config that ranks."""
    return {"user": user, "item": item, **others}


def said(*files: str, **told: Any) -> Callable[[Path], str]:
    """Return what drafts a config for files and gives its text."""
    return lambda folder: draft_config([folder / file for file in files], folder, told=Told(**told)).text


def holds(words: str, *files: str) -> Callable[[Path], bool]:
    """Return what says whether the config has these words, in a comment or elsewhere."""
    return lambda folder: words in said(*files)(folder)


KEYS = [f"P{i}" for i in ITEM]
ISBN = [f"01953{i:04d}X" for i in ITEM]
WORDS = np.where(NOISE > 1.2, "transaction", np.where(NOISE > 0.6, "addtocart", "view"))
ISO = [f"2020-{1 + i % 12:02d}-{1 + i % 28:02d} 10:{i % 60:02d}:00" for i in range(200)]

_TEAS = np.arange(200) % 40
_SHOP = {"Kunde": USER, "Artikelnr": [f"A-{i:04d}" for i in _TEAS], "Artikel": [f"Tee {i}" for i in _TEAS]}
_MAILS = [f"{user}@example.org" for user in USER]

CASES = [
    # names and words
    Case(
        "init: a play log with usernames and tracks by their URIs",
        {
            "a.csv": table(
                {
                    "ts": ISO,
                    "username": [f"üser{u}" for u in USER],
                    "spotify_track_uri": [f"spotify:track:{i:022d}" for i in ITEM],
                    "skipped": np.arange(200) % 5 == 0,
                }
            )
        },
        guess("a.csv"),
        ranks("username", "spotify_track_uri", timestamp="ts"),
    ),
    Case(
        "init: of two columns named like the item the code is the id",
        {"a.csv": table(_SHOP)},
        guess("a.csv"),
        ranks("Kunde", "Artikelnr"),
    ),
    Case(
        "init: e-mail addresses that begin with a number are no label",
        {"a.csv": events(customer_email=[f"{u}@example.org" for u in USER])},
        guess("a.csv"),
        ranks(),
    ),
    Case(
        "init: the other one is its title",
        {"a.csv": table(_SHOP)},
        guess("a.csv", want="schema"),
        {"user": "Kunde", "item": "Artikelnr", "display": ["Artikel"], "items": {}},
    ),
    Case(
        "init: an e-mail address is the user, and Produktname the title",
        {"a.csv": table({"E-Mail": _MAILS, "SKU": _SHOP["Artikelnr"], "Produktname": _SHOP["Artikel"]})},
        guess("a.csv", want="schema"),
        {"user": "E-Mail", "item": "SKU", "display": ["Produktname"], "items": {"Produktname": "text"}},
    ),
    Case(
        "init: an id is the user before an e-mail address",
        {"a.csv": table({"customer_email": _MAILS, "customer_id": USER, "sku": ITEM, "qty": PLAYS})},
        guess("a.csv"),
        ranks("customer_id", "sku", label="qty"),
    ),
    Case(
        "init: a skip is no positive",
        {"a.csv": events(skipped=np.arange(200) % 5 // 4)},
        guess("a.csv"),
        ranks(),
    ),
    Case(
        "init: a user_id beside a username is the user",
        {"a.csv": events(username=[f"x{u}" for u in USER])},
        guess("a.csv"),
        ranks(),
    ),
    Case(
        "init: numbers of days are no dates of 1970",
        {"a.csv": events(day=np.arange(200) % 70 + 1)},
        holds("# numbers from 1 to 70, later is larger; not dates", "a.csv"),
        True,
    ),
    Case(
        "init: 20210415 is a date and no number of days",
        {"a.csv": events(day=20210401 + np.arange(200) % 28)},
        holds("# from 2021-04-01 to 2021-04-28", "a.csv"),
        True,
    ),
    # how strong it was
    Case(
        "init: a heavy-tailed weight grades the positives",
        {"a.csv": events(weight=PLAYS, datetime=ISO)},
        guess("a.csv"),
        ranks(label="weight", timestamp="datetime"),
    ),
    Case(
        "init: play counts are the label, every row a positive",
        {"a.csv": events(plays=np.r_[324_660, PLAYS[1:]])},
        guess("a.csv"),
        ranks(label="plays"),
    ),
    Case(
        "init: weights around 1 beside a rating are sample weights",
        {"a.csv": events(rating=STARS, weight=np.round(1 + 0.2 * np.abs(NOISE), 2))},
        guess("a.csv"),
        ranks(label="rating", weight="weight", threshold=4.0),
    ),
    Case(
        "init: a heavy-tailed weight beside a rating is no sample weight",
        {"a.csv": events(rating=STARS, weight=PLAYS)},
        guess("a.csv"),
        ranks(label="rating", threshold=4.0),
    ),
    Case("init: a weight of 1 says nothing", {"a.csv": events(weight=[1] * 200)}, guess("a.csv"), ranks()),
    Case(
        "init: returns have a quantity below 0 and are no positives",
        {"a.csv": events(Quantity=np.where(np.arange(200) % 9 == 0, -STARS, STARS))},
        guess("a.csv"),
        ranks(label="Quantity", threshold=1.0),
    ),
    Case(
        "init: of a watch ratio the upper quarter are positives",
        {"a.csv": events(watch_ratio=np.round(np.exp(NOISE), 3))},
        guess("a.csv"),
        ranks(label="watch_ratio", quantile=0.75),
    ),
    Case(
        "init: half stars",
        {"a.csv": events(rating=np.clip(np.round(2 * (3.5 + NOISE)) / 2, 0.5, 5))},
        guess("a.csv"),
        ranks(label="rating", threshold=4.0),
    ),
    Case(
        "init: ratings from 1 to 10",
        {"a.csv": events(score=np.clip(np.round(7 + 2 * NOISE), 1, 10).astype(int))},
        guess("a.csv"),
        ranks(label="score", threshold=8.0),
    ),
    Case(
        "init: few high ratings, so the threshold goes down",
        {"a.csv": events(rating=np.where(np.arange(200) == 0, 5, np.clip(STARS, 1, 3)))},
        guess("a.csv"),
        ranks(label="rating", threshold=3.0),
    ),
    Case(
        "init: true and false",
        {"a.csv": events(liked=NOISE > 0)},
        guess("a.csv"),
        ranks(label="liked", threshold=1.0),
    ),
    Case(
        "init: a label of 0 and 1 is predicted by logistic",
        {"a.csv": events(click=(NOISE > 0).astype(int))},
        guess("a.csv", want="objective", predict=True),
        {"name": "logistic"},
    ),
    Case(
        "init: a label of which few rows own the variance is capped",
        {
            "a.csv": table(
                {
                    "user_id": np.tile(USER, 6),
                    "item_id": np.tile(ITEM, 6),
                    "plays": np.r_[PLAYS, PLAYS + 1, PLAYS + 2, PLAYS + 3, PLAYS + 4, [10**6] * 2, PLAYS[2:]],
                }
            )
        },
        lambda folder: sorted(guess("a.csv", want="objective", predict=True)(folder)),
        ["cap", "name", "transform"],
    ),
    # what was done
    Case(
        "init: retailrocket's events are levels, in milliseconds",
        {
            "events.csv": table(
                {
                    "timestamp": SECONDS * 1000 + 123,
                    "visitorid": USER,
                    "event": WORDS,
                    "itemid": ITEM,
                    "transactionid": [i if w == "transaction" else None for i, w in enumerate(WORDS)],
                }
            )
        },
        guess("events.csv"),
        ranks("visitorid", "itemid", label="event", timestamp="timestamp"),
    ),
    Case(
        "init: the order of what was done",
        {"a.csv": events(event=WORDS)},
        guess("a.csv", want="schema.levels"),
        ["view", "addtocart", "transaction"],
    ),
    Case(
        "init: an impression is no positive, a click is",
        {"a.csv": events(event_type=np.where(NOISE > 0.5, "click", "impression"))},
        guess("a.csv"),
        ranks(label="event_type", threshold=2.0),
    ),
    Case(
        "init: a dislike is no positive",
        {"a.csv": events(feedback=np.where(NOISE > -0.5, "like", "dislike"))},
        guess("a.csv"),
        ranks(label="feedback", threshold=2.0),
    ),
    Case(
        "init: words in no known order are no label",
        {"a.csv": events(action=np.where(NOISE > 0, "frobnicate", "view"))},
        guess("a.csv"),
        ranks(),
    ),
    Case(
        "init: codes for what was done are no rating",
        {"a.csv": events(behavior_type=1 + np.arange(200) % 4)},
        guess("a.csv"),
        ranks(),
    ),
    Case(
        "init: it says how to order words it doesn't know",
        {"a.csv": events(action=np.where(NOISE > 0, "frobnicate", "view"))},
        holds('levels = ["weakest", ..., "strongest"]', "a.csv"),
        True,
    ),
    Case(
        "init: a rating says more than what was done",
        {"a.csv": events(event=WORDS, rating=STARS)},
        guess("a.csv"),
        ranks(label="rating", threshold=4.0),
    ),
    # names
    Case(
        "init: USER_ID and ITEM_ID",
        {"a.csv": table({"USER_ID": USER, "ITEM_ID": ITEM, "TIMESTAMP": SECONDS})},
        guess("a.csv"),
        ranks("USER_ID", "ITEM_ID", timestamp="TIMESTAMP"),
    ),
    Case(
        "init: visitorid and sku",
        {"a.csv": table({"visitorid": USER, "sku": [f"00{i}" for i in ITEM]})},
        guess("a.csv"),
        ranks("visitorid", "sku"),
    ),
    Case(
        "init: Amazon's reviewerID and asin",
        {
            "a.csv": table(
                {
                    "reviewerID": [f"A{u}X" for u in USER],
                    "asin": [f"B00{i}" for i in ITEM],
                    "overall": STARS,
                    "unixReviewTime": SECONDS,
                }
            )
        },
        guess("a.csv"),
        ranks("reviewerID", "asin", label="overall", timestamp="unixReviewTime", threshold=4.0),
    ),
    Case(
        "init: User-ID, ISBN and Book-Rating, with semicolons",
        {
            "a.csv": table(
                {"User-ID": USER, "ISBN": [f"01953{i:04d}X" for i in ITEM], "Book-Rating": STARS}, ";"
            )
        },
        guess("a.csv"),
        ranks("User-ID", "ISBN", label="Book-Rating", threshold=4.0),
    ),
    Case(
        "init: H&M's transactions have no label: a price is none",
        {
            "a.csv": table(
                {
                    "t_dat": [iso[:10] for iso in ISO],
                    "customer_id": [f"{u:064x}" for u in USER],
                    "article_id": [f"0{108_775_000 + i}" for i in ITEM],
                    "price": np.round(np.exp(NOISE) / 50, 5),
                    "sales_channel_id": 1 + USER % 2,
                }
            )
        },
        guess("a.csv"),
        ranks("customer_id", "article_id", timestamp="t_dat"),
    ),
    Case(
        "init: CustomerID and StockCode",
        {
            "a.csv": table(
                {
                    "InvoiceNo": 536_365 + USER // 3,
                    "StockCode": [f"{i}A" for i in ITEM],
                    "Quantity": STARS,
                    "CustomerID": USER,
                }
            )
        },
        guess("a.csv"),
        ranks("CustomerID", "StockCode", label="Quantity"),
    ),
    Case(
        "init: a session is likelier no user than a customer",
        {"a.csv": table({"session_id": USER * 3 + ITEM % 3, "customer_id": USER, "product_id": ITEM})},
        guess("a.csv"),
        ranks("customer_id", "product_id"),
    ),
    Case(
        "init: sessions alone are users",
        {"a.csv": table({"session_id": USER, "item_id": ITEM})},
        guess("a.csv"),
        ranks("session_id"),
    ),
    Case(
        "init: a key of the second table is the item, whatever it is called",
        {
            "kaeufe.csv": table(
                {"kunde": [f"K{u}" for u in USER], "xyz": [f"P{i}" for i in ITEM], "menge": STARS}
            ),
            "stamm.csv": table({"xyz": [f"P{i}" for i in range(1, 16)], "preis": range(15)}),
        },
        guess("kaeufe.csv", "stamm.csv"),
        ranks("kunde", "xyz", label="menge"),
    ),
    Case(
        "init: the other id is the user, if nothing else can be",
        {
            "log.csv": table({"wer": [f"W{u}" for u in USER], "was": [f"P{i}" for i in ITEM], "wann": ISO}),
            "dinge.csv": table({"was": [f"P{i}" for i in range(1, 16)], "farbe": ["rot", "blau", "rot"] * 5}),
        },
        guess("log.csv", "dinge.csv"),
        ranks("wer", "was", timestamp="wann"),
    ),
    Case(
        "init: of asin and parent_asin the one that the catalogue is keyed by",
        {
            "reviews.csv": table(
                {
                    "user_id": USER,
                    "asin": [f"B{i}" for i in ITEM],
                    "parent_asin": [f"P{i}" for i in ITEM],
                    "rating": STARS,
                }
            ),
            "meta.csv": table({"parent_asin": [f"P{i}" for i in range(1, 16)], "brand": ["x", "y", "z"] * 5}),
        },
        guess("reviews.csv", "meta.csv"),
        ranks(item="parent_asin", label="rating", threshold=4.0),
    ),
    # times
    Case(
        "init: ISO times in a column that isn't called time",
        {"a.csv": events(gekauft=ISO)},
        guess("a.csv"),
        ranks(timestamp="gekauft"),
    ),
    Case(
        "init: milliseconds in a column that isn't called time",
        {"a.csv": events(zuletzt=SECONDS * 1000)},
        guess("a.csv"),
        ranks(timestamp="zuletzt"),
    ),
    Case(
        "init: a column with the time of day is preferred to one of its days",
        {"a.csv": events(day=[time[:10] for time in ISO], gekauft=ISO)},
        guess("a.csv"),
        ranks(timestamp="gekauft"),
    ),
    Case(
        "init: a column of days is the time if the other column has other days",
        {"a.csv": events(day=[time[:10] for time in ISO], geliefert=[*ISO[1:], ISO[0]])},
        guess("a.csv"),
        ranks(timestamp="day"),
    ),
    Case(
        "init: a place in the user's sequence is an order and no label",
        {"a.csv": events(position=PLACE)},
        guess("a.csv"),
        ranks(timestamp="position"),
    ),
    Case(
        "init: what is ordered for each user alone is split by its last",
        {"a.csv": events(position=PLACE, seconds=PLACE * 3600)},
        guess("a.csv", want="split.method"),
        "leave_last",
    ),
    Case(
        "init: seconds since the user's first event are no label",
        {"a.csv": events(seconds=PLACE * 3600)},
        guess("a.csv"),
        ranks(timestamp="seconds"),
    ),
    # what is no label
    Case(
        "init: a row number without a name is no label",
        {"a.csv": table({"": range(200), "user_id": USER, "item_id": ITEM})},
        guess("a.csv"),
        ranks(),
    ),
    Case(
        "init: an order's number is no label",
        {"a.csv": events(order_id=USER * 7)},
        guess("a.csv"),
        ranks(),
    ),
    Case(
        "init: a constant rating is refused",
        {"a.csv": events(rating=[3] * 200)},
        guess("a.csv"),
        Error("a label must have at least two values", "is 3 in all 200 rows", "--label none"),
    ),
    Case(
        "init: a word among the counts is named with its row",
        {"a.csv": events(plays=["many" if row == 7 else n for row, n in enumerate(PLAYS)])},
        guess("a.csv"),
        Error(
            "every row of a column of numbers needs a number",
            "a.csv, data row 8, column 'plays' has 'many'",
            "--label none",
        ),
    ),
    Case(
        "init: a word among the counts of --label, after a row without a user",
        {"a.csv": table({"user_id": [None, *USER[1:]], "item_id": ITEM, "plays": [*PLAYS[:-1], "n.a."]})},
        guess("a.csv", label="plays"),
        Error("a.csv, data row 200, column 'plays' has 'n.a.'", "Correct the value or drop the row"),
    ),
    Case(
        "init: a missing count after a row without a user",
        {"a.csv": table({"user_id": [None, *USER[1:]], "item_id": ITEM, "plays": [*PLAYS[:-1], None]})},
        guess("a.csv"),
        Error("every interaction needs a label", "a.csv, data row 200, column 'plays'"),
    ),
    Case(
        "init: a word among numbers that need not be a label",
        {"a.csv": events(altitude=["high" if row == 7 else n for row, n in enumerate(PLAYS)])},
        holds("altitude is not read: its numbers can't be read", "a.csv"),
        True,
    ),
    Case(
        "init: a column of words with some numbers is no label",
        {"a.csv": events(amount=["few" if n < 50 else n for n in PLAYS])},
        guess("a.csv"),
        ranks(),
    ),
    # what is told
    Case(
        "init: --label none",
        {"a.csv": events(rating=STARS)},
        guess("a.csv", label="none"),
        ranks(),
    ),
    Case(
        "init: --timestamp none",
        {"a.csv": events(timestamp=SECONDS)},
        guess("a.csv", timestamp="none"),
        ranks(),
    ),
    Case(
        "init: --user, --item, --label, --timestamp",
        {"a.csv": table({"a": USER, "b": ITEM, "c": STARS, "d": SECONDS})},
        guess("a.csv", user="a", item="b", label="c", timestamp="d"),
        ranks("a", "b", label="c", timestamp="d", threshold=4.0),
    ),
    Case(
        "init: a column that isn't there",
        {"a.csv": events(rating=STARS)},
        guess("a.csv", label="ratin"),
        Error("has no column 'ratin'", "Did you mean 'rating'?"),
    ),
    Case(
        "init: one column for two roles",
        {"a.csv": events(rating=STARS)},
        guess("a.csv", user="item_id"),
        Error("which column of a.csv is the item"),
    ),
    Case(
        "init: a timestamp that is not a time",
        {"a.csv": events(rating=STARS, colour=["red"] * 200)},
        guess("a.csv", timestamp="colour"),
        Error("'colour'", "a timestamp must be"),
    ),
    Case(
        "init: words can't be a label in an order nobody knows",
        {"a.csv": events(colour=["red", "blue"] * 100)},
        guess("a.csv", label="colour"),
        Error("words of known order", "red, blue"),
    ),
    Case(
        "init: nothing to predict",
        {"a.csv": events()},
        guess("a.csv", predict=True),
        Error("predicting needs a label"),
    ),
    Case(
        "init: names that say nothing are refused, with the flag that tells",
        {"a.csv": table({"a": USER, "b": ITEM})},
        guess("a.csv"),
        Error("can't tell which column of a.csv is the user", "--user COLUMN"),
    ),
    # several tables
    Case(
        "init: of a folder the ratings are the interactions, other keys are left out",
        {
            "ratings.csv": table({"user_id": USER, "book_id": ITEM, "rating": STARS}),
            "books.csv": table(
                {
                    "book_id": range(1, 16),
                    "goodreads_book_id": range(900, 915),
                    "authors": ["A", "B", "C"] * 5,
                }
            ),
            "book_tags.csv": table(
                {"goodreads_book_id": [900, 900, 901], "tag_id": [1, 2, 1], "count": [5, 6, 7]}
            ),
            "to_read.csv": table({"user_id": USER[:50], "book_id": ITEM[:50]}),
        },
        guess(),
        ranks(item="book_id", label="rating", threshold=4.0),
    ),
    Case(
        "init: item properties with several rows an item are no catalogue",
        {
            "events.csv": table({"visitorid": USER, "event": WORDS, "itemid": ITEM}),
            "item_properties.csv": table(
                {"itemid": [1, 1, 2], "property": ["a", "b", "a"], "value": [1, 2, 3]}
            ),
        },
        guess(want="data"),
        {"interactions": "events.csv"},
    ),
    Case(
        "init: parts of a table are read together",
        {f"events_{n}.csv": events(rating=STARS) for n in (1, 2, 10)},
        guess(want="data.interactions"),
        "events_*.csv",
    ),
    Case(
        "init: a folder of parts for each table",
        {
            "clicks/part-0.csv": events(rating=STARS),
            "clicks/part-1.csv": events(rating=STARS),
            "items/part-0.csv": table({"item_id": range(1, 16), "colour": ["red", "blue", "red"] * 5}),
        },
        guess(want="data"),
        {"interactions": "clicks", "items": "items"},
    ),
    Case(
        "init: Last.fm's artists are keyed by id",
        {
            "user_artists.dat": table({"userID": USER, "artistID": ITEM, "weight": PLAYS}, "\t"),
            "artists.dat": table({"id": range(1, 16), "name": [f"Band {i}" for i in range(15)]}, "\t"),
        },
        guess("user_artists.dat", "artists.dat", want="schema.items_id"),
        "id",
    ),
    Case(
        "init: userId in one table and user_id in another",
        {
            "ratings.csv": table({"userId": USER, "movieId": ITEM, "rating": STARS}),
            "users.csv": table({"user_id": range(1, 21), "age": range(30, 50)}),
        },
        guess("ratings.csv", "users.csv", want="schema.users_id"),
        "user_id",
    ),
    Case(
        "init: features that ride along are those of the id that they are a function of",
        {
            "a.csv": events(
                rating=STARS, genre=[f"g{i % 4}" for i in ITEM], age=USER + 20, mood=STARS * 2 + ITEM % 2
            )
        },
        lambda folder: [guess("a.csv", want=f"schema.{side}")(folder) for side in ("users", "items")],
        [{"age": "number"}, {"genre": "category"}],
    ),
    Case(
        "init: a column says train and test",
        {"a.csv": events(rating=STARS, subset=np.where(NOISE > 1, "Test", "Train"))},
        guess("a.csv", want="split"),
        {"column": "subset"},
    ),
    Case(
        "init: u.data has no header",
        {"u.csv": table({"7": USER, "8": ITEM, "3": STARS, "880606923": SECONDS}, "\t")},
        guess("u.csv", want="data.columns"),
        ["user_id", "item_id", "rating", "timestamp"],
    ),
    Case(
        "init: Taobao's behaviour has no header",
        {
            "UserBehavior.csv": table(
                {
                    "5": USER,
                    "6": ITEM,
                    "70": 4000 + ITEM,
                    "pv": np.where(NOISE > 1, "buy", np.where(NOISE > 0.5, "cart", "pv")),
                    "1511544070": SECONDS,
                }
            )
        },
        guess("UserBehavior.csv"),
        ranks(label="event", timestamp="timestamp"),
    ),
    Case(
        "init: text in Latin-1",
        {"a.csv": events(rating=STARS, ville=["Nîmes", "Orléans"] * 100).encode("latin-1")},
        guess("a.csv", want="data.encoding"),
        "cp1252",
    ),
    Case(
        "init: one table of two in Latin-1",
        {
            "a.csv": events(rating=STARS, stadt=["Köln", "Zürich"] * 100).encode(),
            "items.csv": table(
                {"item_id": sorted(set(ITEM)), "titel": [f"Möbel {item}" for item in sorted(set(ITEM))]}
            ).encode("latin-1"),
        },
        guess("a.csv", "items.csv", want="data.encoding"),
        {"items": "cp1252"},
    ),
    Case(
        "init: rows without a user are dropped, whose ids are floats then",
        {
            "a.csv": table(
                {"CustomerID": [None, *(f"{u}.0" for u in USER[1:])], "StockCode": ITEM, "Quantity": STARS}
            )
        },
        guess("a.csv", want="schema.missing_ids"),
        "drop",
    ),
    Case(
        "init: no row has a user",
        {"a.csv": table({"user_id": [None] * 200, "item_id": ITEM, "rating": STARS})},
        guess("a.csv", user="user_id"),
        Error("no row of a.csv has both"),
    ),
    Case(
        "init: a user that stands for nobody is named",
        {"a.csv": table({"user_id": ["NULL" if i % 3 else u for i, u in enumerate(USER)], "item_id": ITEM})},
        holds("of 'user_id' probably means 'none'", "a.csv"),
        True,
    ),
    Case(
        "init: Book-Crossing's 0 is no rating, and most rows have none",
        {"a.csv": events(rating=np.where(np.arange(200) % 3 > 0, 0, 2 * STARS))},
        guess("a.csv"),
        ranks(),
    ),
    Case(
        "init: a few -1 for no rating are no positives",
        {"a.csv": events(rating=np.where(np.arange(200) % 9 == 0, -1, STARS))},
        guess("a.csv"),
        ranks(label="rating", threshold=4.0),
    ),
    Case(
        "init: what is not rated can't be predicted",
        {"a.csv": events(rating=np.where(np.arange(200) % 9 == 0, -1, STARS))},
        guess("a.csv", predict=True),
        Error("is -1 in 12% of the rows", "it is missing"),
    ),
    Case(
        "init: ratings from 0 to 5 with few 0 are a scale",
        {"a.csv": events(rating=np.clip(STARS - 1, 0, 5))},
        guess("a.csv"),
        ranks(label="rating", threshold=3.0),
    ),
    Case(
        "init: a rating with a decimal comma",
        {"a.csv": table({"user_id": USER, "item_id": ITEM, "rating": [f"{s},5" for s in STARS]}, ";")},
        guess("a.csv"),
        ranks(label="rating", threshold=4.5),
    ),
    Case(
        "init: stars with their unit",
        {"a.csv": events(rating=[f"{s}.0 stars" for s in STARS])},
        guess("a.csv"),
        ranks(label="rating", threshold=4.0),
    ),
    Case(
        "init: UTC in words, days of months, days as numbers",
        {
            "a.csv": events(event_time=[f"{iso} UTC" for iso in ISO]),
            "b.csv": events(wann=[f"{iso[8:10]}.{iso[5:7]}.{iso[:4]} 08:26" for iso in ISO]),
            "c.csv": events(date=[int(iso[:10].replace("-", "")) for iso in ISO]),
        },
        lambda folder: [guess(f"{name}.csv", want="schema.timestamp")(folder) for name in "abc"],
        ["event_time", "wann", "date"],
    ),
    Case(
        "init: counts of one user and item at several places are added up",
        {
            "a.csv": table(
                {"user_id": np.tile(USER, 2), "item_id": np.tile(ITEM, 2), "plays": np.r_[PLAYS, PLAYS + 1]}
            )
        },
        guess("a.csv", want="data.repeats"),
        "sum",
    ),
    Case(
        "init: kinds of items as people write them",
        {
            "a.csv": events(),
            "items.csv": table(
                {
                    "item_id": range(1, 16),
                    "genres": ["Action; Comedy", "Comedy; Drama", "Drama; Action"] * 5,
                    "tags": ["['a' 'b']", "['b' 'c']", "['c' 'a']"] * 5,
                    "preis": [f"{n},{n % 7}0" for n in range(10, 25)],
                    "length": [f"{90 + n} min" for n in range(15)],
                    "released": [f"{1 + n}.12.2001" for n in range(10, 25)],
                    "product_type_name": ["Vest top", "Trousers", "Bra"] * 5,
                    "code": [f"0{n}" for n in (1, 2, 3)] * 5,
                },
                "|",
            ),
        },
        guess("a.csv", "items.csv", want="schema.items"),
        {
            "genres": {"kind": "categories", "separator": "; "},
            "tags": "categories",
            "preis": {"kind": "number", "decimal": ","},
            "length": {"kind": "number", "unit": "min"},
            "released": "timestamp",
            "product_type_name": "category",
            "code": "category",
        },
    ),
    Case(
        "init: reviews as JSON lines",
        {
            "reviews.jsonl": "".join(
                json.dumps({"reviewerID": f"A{u}", "asin": f"B{i}", "overall": float(s)}) + "\n"
                for u, i, s in zip(USER, ITEM, STARS, strict=True)
            )
        },
        guess("reviews.jsonl"),
        ranks("reviewerID", "asin", label="overall", threshold=4.0),
    ),
]
