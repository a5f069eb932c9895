"""Made-up data with tastes to learn, in the layouts in which well-known data sets are published.

Each layout has the quirks of the real one: names, separators, encodings, missing ids, leading zeros,
sentinels, units of time. Users choose items by a taste of few dimensions and by how well known they are, so a
model that learns tastes ranks better than popularity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

_TASTES = 6
_START = datetime(2018, 9, 20, tzinfo=UTC)


@dataclass(frozen=True)
class Size:
    """How many users and items there are, and rows a user in the mean."""

    users: int = 1500
    items: int = 1000
    each: int = 30


SMALL = Size(120, 80, 12)


@dataclass(frozen=True, eq=False)
class Tastes:
    """Who met what, how much they like it, and when.

    Attributes:
        user: (n,) from 0, in the order of time.
        item: (n,) from 0.
        liking: (n,) about standard normal.
        seconds: (n,) since 1970, ascending.
        group: (n_items,) which of the tastes an item is of most.
        rng: for what the layout adds.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    liking: NDArray[np.float64]
    seconds: NDArray[np.int64]
    group: NDArray[np.int64]
    rng: np.random.Generator

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.user)

    def times(self, form: str) -> list[str]:
        """Return the times as strings."""
        return [datetime.fromtimestamp(int(s), UTC).strftime(form) for s in self.seconds]


def tastes(size: Size, seed: int) -> Tastes:
    """Draw who met what: each user without repeats, by taste and by how well known an item is."""
    rng = np.random.default_rng(seed)
    users, items = rng.normal(size=(size.users, _TASTES)), rng.normal(size=(size.items, _TASTES))
    affinity = users @ items.T / np.sqrt(_TASTES)  # (users, items), about standard normal
    fame = -0.8 * np.log1p(rng.permutation(size.items))
    appeal = 2.0 * affinity + fame + rng.gumbel(size=affinity.shape)
    counts = np.clip(np.round(size.each * rng.lognormal(-0.18, 0.6, size.users)), 3, size.items // 2).astype(
        int
    )
    order = np.argsort(-appeal, axis=1)
    user = np.repeat(np.arange(size.users), counts)
    item = np.concatenate([order[u, :n] for u, n in enumerate(counts)])
    shuffled = rng.permutation(len(user))
    user, item = user[shuffled], item[shuffled]
    liking = 0.8 * (affinity[user, item] - affinity[user, item].mean()) + 0.6 * rng.normal(size=len(user))
    steps = rng.integers(1, 4000, len(user))
    return Tastes(
        user, item, liking, int(_START.timestamp()) + np.cumsum(steps), np.abs(items).argmax(axis=1), rng
    )


def last_fm(folder: Path, size: Size) -> list[Path]:
    """HetRec's Last.fm: play counts up to 350,000 called weight, artists keyed by id, tagging beside them."""
    t = tastes(size, 1)
    plays = np.ceil(np.exp(5.3 + 1.2 * t.liking + 0.8 * t.rng.normal(size=t.rows))).astype(int)
    plays[0] = 324_660
    events = pl.DataFrame({"userID": t.user + 2, "artistID": t.item + 51, "weight": plays})
    events.sort("userID").write_csv(folder / "user_artists.dat", separator="\t")
    names = [f"Artist number {i}" for i in range(size.items)]
    artists = pl.DataFrame({"id": np.arange(size.items) + 51, "name": names})
    artists = artists.with_columns(url=pl.format("http://www.last.fm/music/{}", "name"))
    artists.write_csv(folder / "artists.dat", separator="\t")
    friends = pl.DataFrame({"userID": t.user[:200] + 2, "friendID": t.user[200:400] + 2})
    friends.write_csv(folder / "user_friends.dat", separator="\t")
    return [folder]


def rectools(folder: Path, size: Size) -> list[Path]:
    """RecTools' columns: a heavy-tailed count called weight, and ISO times."""
    t = tastes(size, 2)
    weight = np.ceil(np.exp(2.0 + 1.5 * t.liking + t.rng.normal(size=t.rows))).astype(int)
    pl.DataFrame(
        {"user_id": t.user, "item_id": t.item, "weight": weight, "datetime": t.times("%Y-%m-%d %H:%M:%S")}
    ).write_csv(folder / "interactions.csv")
    return [folder / "interactions.csv"]


def retailrocket(folder: Path, size: Size) -> list[Path]:
    """Events in milliseconds: views, some again, additions to the cart and transactions; item properties."""
    t = tastes(size, 3)
    again = t.rng.random(t.rows) < 0.3
    cart = t.liking > 1.0
    bought = t.liking > 1.6
    parts = [
        (np.ones(t.rows, dtype=bool), 0, "view"),
        (again, 60_000, "view"),
        (cart, 120_000, "addtocart"),
        (bought, 300_000, "transaction"),
    ]
    frames = []
    for where, later, event in parts:
        n = int(where.sum())
        frames.append(
            pl.DataFrame(
                {
                    "timestamp": t.seconds[where] * 1000 + later + t.rng.integers(0, 999, n),
                    "visitorid": t.user[where] * 7 + 3,
                    "event": [event] * n,
                    "itemid": t.item[where] + 100_000,
                    "transactionid": np.arange(n) if event == "transaction" else [None] * n,
                },
                schema_overrides={"transactionid": pl.Int64},
            )
        )
    pl.concat(frames).sort("timestamp").write_csv(folder / "events.csv")
    properties = pl.DataFrame(
        {
            "timestamp": np.tile(t.seconds[: size.items] * 1000, 2)[: 2 * size.items],
            "itemid": np.tile(np.arange(size.items) + 100_000, 2)[: 2 * min(size.items, t.rows)],
            "property": ["categoryid", "available"] * min(size.items, t.rows),
            "value": ["1016", "n552.000 639502"] * min(size.items, t.rows),
        }
    )
    properties.write_csv(folder / "item_properties_part1.csv")
    pl.DataFrame({"categoryid": [1016, 809], "parentid": [213, 169]}).write_csv(folder / "category_tree.csv")
    return [folder]


def online_retail(folder: Path, size: Size) -> list[Path]:
    """Invoices with ``;``, decimal commas, customers as floats, a quarter missing, and returns."""
    t = tastes(size, 4)
    quantity = np.ceil(np.exp(1.0 + t.liking + 0.5 * t.rng.normal(size=t.rows))).astype(int)
    returned = t.rng.random(t.rows) < 0.02
    customer = pl.Series((t.user + 12_346).astype(float)).set(pl.Series(t.rng.random(t.rows) < 0.25), None)
    price = np.round(t.rng.lognormal(1.0, 0.7, size.items), 2)
    pl.DataFrame(
        {
            "InvoiceNo": [("C" if r else "") + str(536_365 + i // 8) for i, r in enumerate(returned)],
            "StockCode": [f"{84_000 + i}{'A' if i % 3 == 0 else ''}" for i in t.item],
            "Description": [f"GLASS LANTERN No {i}" for i in t.item],
            "Quantity": np.where(returned, -quantity, quantity),
            "InvoiceDate": t.times("%d.%m.%Y %H:%M"),
            "UnitPrice": [f"{p:.2f}".replace(".", ",") for p in price[t.item]],
            "CustomerID": customer,
            "Country": np.where(t.user % 7 == 0, "France", "United Kingdom"),
        }
    ).write_csv(folder / "online_retail.csv", separator=";")
    return [folder / "online_retail.csv"]


def book_crossing(folder: Path, size: Size) -> list[Path]:
    """Latin-1 files with ``;`` and quotes; ISBNs with leading zeros and X; ratings 1 to 10, 0 where none."""
    t = tastes(size, 5)
    isbn = [_isbn(i) for i in range(size.items)]
    rating = np.clip(np.round(7.6 + 1.4 * t.liking), 1, 10).astype(int)
    rating[t.rng.random(t.rows) < 0.6] = 0
    _quoted(
        folder / "BX-Book-Ratings.csv",
        ["User-ID", "ISBN", "Book-Rating"],
        zip(t.user + 2, [isbn[i] for i in t.item], rating, strict=True),
    )
    _quoted(
        folder / "BX-Books.csv",
        ["ISBN", "Book-Title", "Book-Author", "Year-Of-Publication", "Publisher", "Image-URL-S"],
        (
            (
                code,
                f"Le caf\xe9 no {i}",
                f"Ren\xe9 Author {t.group[i]}",
                1950 + i % 50,
                f"Press &amp; Sons {i % 9}",
                f"http://images.example/{code}.jpg",
            )
            for i, code in enumerate(isbn)
        ),
    )
    _quoted(
        folder / "BX-Users.csv",
        ["User-ID", "Location", "Age"],
        ((u + 2, f"k\xf6ln, nrw, germany {u % 5}", 18 + u % 60) for u in range(size.users)),
    )
    return [folder]


def goodbooks(folder: Path, size: Size) -> list[Path]:
    """Ratings, books with counts of what was to be predicted, tags of another key, and a list to read."""
    t = tastes(size, 6)
    rating = np.clip(np.round(3.9 + 0.9 * t.liking), 1, 5).astype(int)
    pl.DataFrame({"user_id": t.user + 1, "book_id": t.item + 1, "rating": rating}).write_csv(
        folder / "ratings.csv"
    )
    ids = np.arange(size.items)
    pl.DataFrame(
        {
            "book_id": ids + 1,
            "goodreads_book_id": 2_767_052 + 7 * ids,
            "work_id": 2_792_775 + 5 * ids,
            "isbn": [_isbn(i) for i in ids],
            "authors": [f"Author {g}, Author {i % 9}" for i, g in enumerate(t.group)],
            "original_publication_year": 1900.0 + ids % 110,
            "title": [f"The book of {i}" for i in ids],
            "language_code": [("eng", "en-US", "fre")[i % 3] for i in ids],
            "average_rating": np.round(t.rng.normal(4, 0.2, size.items), 2),
            "ratings_count": t.rng.integers(1000, 100_000, size.items),
            "image_url": [f"https://images.example/books/{i}m/{i}.jpg" for i in ids],
        }
    ).write_csv(folder / "books.csv")
    tags = {
        "goodreads_book_id": 2_767_052 + 7 * np.repeat(ids, 2),
        "tag_id": np.tile([30574, 11305], size.items),
    }
    pl.DataFrame(tags | {"count": np.tile([900, 40], size.items)}).write_csv(folder / "book_tags.csv")
    pl.DataFrame({"tag_id": [30574, 11305], "tag_name": ["to-read", "fantasy"]}).write_csv(
        folder / "tags.csv"
    )
    pl.DataFrame({"user_id": t.user[:300] + 1, "book_id": t.item[:300] + 1}).write_csv(folder / "to_read.csv")
    return [folder]


def h_and_m(folder: Path, size: Size) -> list[Path]:
    """Transactions of customers that are hashes, articles with leading zeros, days, and no label."""
    t = tastes(size, 7)
    people = [hashlib.sha256(str(u).encode()).hexdigest() for u in range(size.users)]
    article = [f"{108_775_000 + i:010d}" for i in range(size.items)]
    days = [(_START + timedelta(days=int(d))).strftime("%Y-%m-%d") for d in np.arange(t.rows) * 700 // t.rows]
    again = np.arange(t.rows)[t.rng.random(t.rows) < 0.05]  # the same article bought twice
    which = np.sort(np.concatenate([np.arange(t.rows), again]))
    pl.DataFrame(
        {
            "t_dat": [days[i] for i in which],
            "customer_id": [people[t.user[i]] for i in which],
            "article_id": [article[t.item[i]] for i in which],
            "price": np.round(t.rng.lognormal(-3.6, 0.4, len(which)), 6),
            "sales_channel_id": t.rng.integers(1, 3, len(which)),
        }
    ).write_csv(folder / "transactions_train.csv")
    ids = np.arange(size.items)
    pl.DataFrame(
        {
            "article_id": article,
            "product_code": [code[:7] for code in article],
            "prod_name": [f"Strap top {i}" for i in ids],
            "product_type_no": 250 + t.group,
            "product_type_name": [f"Type {g}" for g in t.group],
            "colour_group_name": [("Black", "White", "Dark Blue")[i % 3] for i in ids],
            "detail_desc": [f"Jersey top no {i} with narrow shoulder straps." for i in ids],
        }
    ).write_csv(folder / "articles.csv")
    pl.DataFrame(
        {
            "customer_id": people,
            "FN": [1.0 if u % 3 else None for u in range(size.users)],
            "Active": [1.0 if u % 4 else None for u in range(size.users)],
            "club_member_status": ["PRE-CREATE" if u % 9 == 0 else "ACTIVE" for u in range(size.users)],
            "fashion_news_frequency": [("NONE", "Regularly")[u % 2] for u in range(size.users)],
            "age": [18.0 + u % 60 if u % 11 else None for u in range(size.users)],
            "postal_code": [hashlib.sha256(f"p{u}".encode()).hexdigest() for u in range(size.users)],
        }
    ).write_csv(folder / "customers.csv")
    return [folder]


def recbole(folder: Path, size: Size) -> list[Path]:
    """RecBole's atomic files, the types of columns in their headers."""
    t = tastes(size, 8)
    rating = np.clip(np.round(3.7 + t.liking), 1, 5)
    pl.DataFrame(
        {
            "user_id:token": t.user + 1,
            "item_id:token": t.item + 1,
            "rating:float": rating,
            "timestamp:float": t.seconds.astype(float),
        }
    ).write_csv(folder / "films.inter", separator="\t")
    pl.DataFrame(
        {
            "item_id:token": np.arange(size.items) + 1,
            "movie_title:token_seq": [f"Film {i}" for i in range(size.items)],
            "class:token_seq": [f"Genre{g} Genre{i % 5}" for i, g in enumerate(t.group)],
        }
    ).write_csv(folder / "films.item", separator="\t")
    return [folder / "films.inter", folder / "films.item"]


def amazon_reviews(folder: Path, size: Size) -> list[Path]:
    """JSON lines of reviews: reviewerID, asin, overall, unixReviewTime, and texts."""
    t = tastes(size, 9)
    stars = np.clip(np.round(4.3 + t.liking), 1, 5)
    with (folder / "reviews_Beauty.jsonl").open("w", encoding="utf-8") as stream:
        for u, i, s, seconds in zip(t.user, t.item, stars, t.seconds, strict=True):
            row = {
                "reviewerID": f"A{u:012d}",
                "asin": f"B{i:09d}",
                "reviewText": f'It is fine, "really" no {i}',
                "overall": float(s),
                "unixReviewTime": int(seconds),
                "reviewTime": datetime.fromtimestamp(int(seconds), UTC).strftime("%m %d, %Y"),
            }
            stream.write(json.dumps(row) + "\n")
    return [folder / "reviews_Beauty.jsonl"]


def german_shop(folder: Path, size: Size) -> list[Path]:
    """Orders of a shop: ``;``, quantities with decimal commas, German names, products keyed by produkt."""
    t = tastes(size, 10)
    amount = np.round(np.exp(t.liking + 0.4 * t.rng.normal(size=t.rows)), 1) + 0.5
    pl.DataFrame(
        {
            "kunde": [f"K{u:05d}" for u in t.user],
            "produkt": [f"{i:04d}" for i in t.item],
            "menge": [f"{a:.1f}".replace(".", ",") for a in amount],
            "bestellt": t.times("%Y-%m-%d %H:%M:%S"),
        }
    ).write_csv(folder / "bestellungen.csv", separator=";")
    pl.DataFrame(
        {
            "produkt": [f"{i:04d}" for i in range(size.items)],
            "bezeichnung": [f"Kaffee Sorte {i} gemahlen und geröstet" for i in range(size.items)],
            "warengruppe": [f"Gruppe {g}" for g in t.group],
            "preis": [f"{3 + i % 17},{i % 10}0" for i in range(size.items)],
        }
    ).write_csv(folder / "stammdaten.csv", separator=";")
    return [folder / "bestellungen.csv", folder / "stammdaten.csv"]


def _isbn(number: int) -> str:
    """Return an ISBN-10 with its check digit, which may be X: most begin with 0."""
    digits = f"{(19_515 + 331 * number) % 10**9:09d}" if number % 5 else f"{360_000_000 + 331 * number:09d}"
    check = sum((place + 1) * int(digit) for place, digit in enumerate(digits)) % 11
    return digits + ("X" if check == 10 else str(check))


def _quoted(path: Path, names: list[str], rows: object) -> None:
    """Write cells in quotes with ``;`` between them, in Latin-1 and with CR LF, as Book-Crossing's are."""
    assert not isinstance(rows, str)
    lines = [names, *rows]  # type: ignore[misc]
    text = "".join(";".join(f'"{cell}"' for cell in line) + "\r\n" for line in lines)
    path.write_bytes(text.encode("latin-1"))


TASTE_LAYOUTS: dict[str, Callable[[Path, Size], list[Path]]] = {
    layout.__name__: layout
    for layout in (
        last_fm,
        rectools,
        retailrocket,
        online_retail,
        book_crossing,
        goodbooks,
        h_and_m,
        recbole,
        amazon_reviews,
        german_shop,
    )
}
