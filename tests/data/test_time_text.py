"""Times as people write them: every form of a moment is the same moment."""

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.core.where import Unreadable
from twotower.data.time_text import PER_SECOND, looks_like_times, read_times

MOMENTS = st.lists(
    st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2090, 1, 1)).map(lambda t: t.replace(microsecond=0)),
    min_size=1,
    max_size=10,
)
FORMS = (
    *("%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%dT%H:%M:%SZ", "%Y/%m/%d %H:%M:%S", "%Y%m%dT%H%M%SZ", "%Y%m%d%H%M%S"),
    *("%d %b %Y %H:%M:%S", "%a, %d %b %Y %H:%M:%S GMT", "%Y-%m-%d %H:%M:%S +00:00", "%B %d, %Y %I:%M:%S %p"),
)


@given(MOMENTS, st.sampled_from(FORMS))
def test_forms_come_back(moments: list[dt.datetime], form: str) -> None:
    want = [moment.replace(tzinfo=dt.UTC).timestamp() for moment in moments]
    found = read_times(pl.Series([moment.strftime(form) for moment in moments]))
    assert found.values.to_list() == want


@given(MOMENTS, st.sampled_from(["ms", "us", "ns", "s"]))
def test_units_come_back_and_are_told(moments: list[dt.datetime], unit: str) -> None:
    want = [moment.replace(tzinfo=dt.UTC).timestamp() for moment in moments]
    found = read_times(pl.Series([round(x * PER_SECOND[unit]) for x in want]))
    assert found.format == unit
    assert found.values.to_list() == pytest.approx(want)


@given(MOMENTS)
def test_day_and_month_are_never_exchanged(moments: list[dt.datetime]) -> None:
    """Read in the right order, or refused."""
    want = [dt.datetime.combine(t.date(), dt.time(), dt.UTC).timestamp() for t in moments]
    for form in ("%d.%m.%Y", "%m/%d/%Y"):
        texts = pl.Series([t.strftime(form) for t in moments])
        clear = max(t.day for t in moments) > 12 or all(t.day == t.month for t in moments)
        if clear:
            assert read_times(texts).values.to_list() == want
        else:
            with pytest.raises(Unreadable, match="day and month"):
                read_times(texts)


def test_plain_small_numbers_stay_as_they_are() -> None:
    found = read_times(pl.Series([1, 2, 300]))
    assert (found.values.to_list(), found.format) == ([1.0, 2.0, 300.0], "s")


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (["2019-10-01T00:00:00Z"], "iso"),
        ([20191001, 20191002], "%Y%m%d"),
        ([1_569_888_000_000], "ms"),
        ([1, 2], None),
        (["a"], None),
        ([True], None),
    ],
)
def test_columns_are_times_by_their_values(values: list[object], want: str | None) -> None:
    assert looks_like_times(pl.Series(values)) == want


@pytest.mark.parametrize("text", ["2014-12-01 05", "2014-12-01T05Z", "2014-12-01 04+00", "2014-12-01 07+02"])
def test_an_hour_without_minutes(text: str) -> None:
    hour = 4 if "04" in text else 5
    want = dt.datetime(2014, 12, 1, hour, tzinfo=dt.UTC).timestamp()
    assert read_times(pl.Series([text])).values.to_list() == [want]


@pytest.mark.parametrize("text", ["2014-12-01 24", "2014-12-01 5x", "2014-12-01 05:"])
def test_an_hour_that_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read_times(pl.Series([text]))
