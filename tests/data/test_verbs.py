"""The word for what people do with items."""

from __future__ import annotations

import pytest

from twotower.config.schema import Schema
from twotower.data.verbs import verb_of
from twotower.errors import ConfigError


@pytest.mark.parametrize(
    ("columns", "past"),
    [
        ({"label": "watch_ratio", "item": "video_id"}, "watched"),
        ({"label": "play_count"}, "listened to"),
        ({"label": "plays", "item": "gameId"}, "played"),
        ({"label": "listens"}, "listened to"),
        ({"item": "song_id"}, "listened to"),
        ({"label": "quantity", "item": "sku"}, "bought"),
        ({"label": "rating", "item": "movieId"}, "rated"),
        ({"item": "ISBN"}, "read"),
        ({"label": "n_clicks"}, "clicked"),
        ({"label": "value"}, "interacted with"),
        ({"label": "rating", "verb": "drink"}, "drunk"),
        ({"verb": "check in"}, "checked in"),
    ],
)
def test_it_is_the_configs_or_guessed_from_names(columns, past):
    assert verb_of(Schema(**columns)).past == past


def test_a_table_says_it_where_no_column_does():
    assert verb_of(Schema(label="value"), "data/purchases.csv").past == "bought"


@pytest.mark.parametrize("verb", ["", "Watch!", "x" * 41, "a  b"])
def test_a_verb_is_words(verb):
    with pytest.raises(ConfigError, match="verb"):
        Schema.parse({"verb": verb})
