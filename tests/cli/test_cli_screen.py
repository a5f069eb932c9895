"""The last screen of train, evaluate, compare and demo: it fits 80 x 24 and needs no colours."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from twotower.cli import endings
from twotower.cli.screen import LINES, Screen, Table, Verdict, lines_of, print_screen, wrapped
from twotower.cli.verdict import Beside, cells, judged, table_of
from twotower.config import Config, load_config

WIDTHS = (80, 100, 160)
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m")
SHORT = "runs/first"
LONG = "/home/somebody/projects/recommenders/experiments/2026/november/" + "a-long-name-" * 12


def interval(value: float | None, half: float | None = 0.02) -> dict[str, float | None]:
    if value is None or half is None:
        return {"value": value, "low": None, "high": None}
    return {"value": value, "low": value - half, "high": value + half}


def results(
    *, ranks: bool, gap: float | None, half: float | None = 0.01, scale: float = 1.0
) -> dict[str, Any]:
    """Return what training measures, ours ahead of the baseline by ``gap``, in the metric's own direction."""
    names = ("ndcg@10", "recall@10", "ndcg@20", "recall@20") if ranks else ("mae", "rmse", "r2", "xauc")
    ours = {name: interval(0.5 * scale) for name in names}
    theirs = {name: interval(None if gap is None else 0.5 * scale - gap) for name in names}
    found = {
        "metrics": theirs,
        "difference": {name: interval(gap, half) for name in names},
        "verdict": "better",
    }
    return {
        "rating": {} if ranks else ours,
        "ranking": ours if ranks else {},
        "biases": {} if ranks else found,
        "popularity": found if ranks else {},
        "data": {
            "rows": {"train": 93_690, "validation": 9_169, "test": 11_711},
            "users": 1_411,
            "items": 1,
            "notes": ["one"] * 12,
        },
        "notes": [],
        "seconds": {"train": 12.3},
    }


def comparison(*, ranks: bool, gap: float | None, baseline: str = "EASE") -> dict[str, Any]:
    of = results(ranks=ranks, gap=gap)
    kind = "ranking" if ranks else "rating"
    beside = of["popularity" if ranks else "biases"]
    others = {
        name: {"metrics": beside["metrics"]} for name in (baseline, "popularity", "item kNN", "iALS", "BPR")
    }
    return {
        "against": "two-tower",
        "models": {"two-tower": {"metrics": of[kind]}, **others},
        "ours_minus": dict.fromkeys(others, beside["difference"]),
        "skipped": {"category popularity": "all items are in the training set"},
        "popularity": {} if ranks else {"verdict": "worse", "says": ""},
        "data": of["data"],
        "seconds": 301.2,
    }


def configs() -> dict[bool, Config]:
    return {True: load_config("kuairec-sample-ranking"), False: load_config("kuairec-sample")}


def screens(gap: float | None, path: str = SHORT, caption: str = "片名") -> list[Screen]:
    """Return every kind of last screen, of a difference that is found."""
    found = []
    for ranks, config in configs().items():
        measured, beside = results(ranks=ranks, gap=gap), comparison(ranks=ranks, gap=gap)
        typed = [path, "--set", "objective.name=all_pairs", "--set", "positive.threshold=3.5"]
        spread = {"mean": 0.5, "sd": 0.1, "min": 0.4, "max": 0.6}
        seeds = {
            "seeds": [1, 2, 3],
            "runs": ["seed-1", "seed-2", "seed-3"],
            **{kind: dict.fromkeys(measured[kind], spread) for kind in ("rating", "ranking")},
        }
        found += [
            endings.trained(config, measured, Path(path), "user 用户 🎬"),
            endings.evaluated(config, measured, measured, Path(path)),
            endings.compared(config, beside, typed),
            endings.compared(config, beside, typed, Path(path)),
            endings.seeded(config, seeds, Path(path), typed),
        ]
    both = tuple(reversed(configs().values()))
    captions = [caption, "🎬 فيلم " * 40, "a caption"]
    found.append(
        endings.demonstrated(
            (both[0], both[1]), comparison(ranks=False, gap=gap), comparison(ranks=True, gap=gap),
            Path(path), 14, captions,
        )
    )  # fmt: skip
    return found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", [SHORT, LONG])
@pytest.mark.parametrize("gap", [0.2, -0.2, 0.0001, None])
def test_every_screen_fits(width: int, path: str, gap: float | None) -> None:
    for screen in screens(gap, path):
        lines = [line.plain for line in lines_of(screen, width)]
        assert len(lines) <= LINES, "\n".join(lines)
        assert max(map(cell_len, lines)) <= width
        assert not any(line != line.rstrip() for line in lines)
        for line in lines:  # nothing is shortened but a path and a caption
            assert "…" not in line or line.startswith("saved in") or "فيلم" in line or "…" in line[:90], line
        if path == SHORT:
            assert not any("…" in line and "فيلم" not in line for line in lines)


@pytest.mark.parametrize(
    ("ranks", "gap", "says", "word"),
    [
        (True, 0.174, "Beats popularity: NDCG@10 0.500 vs 0.326, +0.174 [+0.164, +0.184].", "better"),
        (True, -0.1, "Loses to popularity: NDCG@10 0.500 vs 0.600, -0.100 [-0.110, -0.090].", "worse"),
        (
            True,
            0.005,
            "Not clearly better or worse than popularity: NDCG@10 0.500 vs 0.495, +0.005 "
            "[-0.005, +0.015]; the interval contains 0.",
            "unclear",
        ),
        (
            False,
            -0.1,
            "Beats biases: RMSE 0.500 vs 0.600, -0.100 [-0.110, -0.090] (lower is better).",
            "better",
        ),
        (
            False,
            0.1,
            "Loses to biases: RMSE 0.500 vs 0.400, +0.100 [+0.090, +0.110] (lower is better).",
            "worse",
        ),
    ],
)
def test_the_verdict_in_words_with_its_interval(ranks: bool, gap: float, says: str, word: str) -> None:
    screen = endings.trained(configs()[ranks], results(ranks=ranks, gap=gap), Path(SHORT))
    assert screen.verdicts[0] == Verdict(says, word)
    assert screen.table is not None
    main = "NDCG@10" if ranks else "RMSE"
    row = next(row for row in screen.table.rows if row[0] == main)
    assert row[-1] == word
    assert row[3].startswith(("+", "-"))
    text = " ".join(line.plain for line in lines_of(screen, 80))
    assert says in text
    assert "12 notes" in text
    assert "1 item" in text
    assert "1 items" not in text


def test_the_second_stage_is_said_after_the_baseline() -> None:
    measured = results(ranks=True, gap=0.2) | {"stages": {"says": "The second stage changes it"}}
    said = [one.says for one in endings.trained(configs()[True], measured, Path(SHORT)).verdicts]
    assert said[0].startswith("Beats popularity")
    assert said[1].startswith("That is the only baseline")
    assert said[2:] == ["The second stage changes it."]


def test_both_directions_are_marked_in_one_table() -> None:
    screen = endings.trained(configs()[False], results(ranks=False, gap=-0.1), Path(SHORT))
    assert screen.table is not None
    assert {row[0]: row[-1] for row in screen.table.rows} == {
        "RMSE": "better",
        "MAE": "better",
        "R2": "worse",
    }


@pytest.mark.parametrize("no_color", [True, False])
def test_colour_adds_to_the_words(no_color: bool) -> None:
    for gap, colour in ((0.2, "32"), (-0.2, "31")):
        out = io.StringIO()
        console = Console(
            file=out,
            force_terminal=True,
            width=80,
            no_color=no_color,
            color_system="standard",
            highlight=False,
        )
        print_screen(console, endings.trained(configs()[True], results(ranks=True, gap=gap), Path(SHORT)))
        assert (f"{colour}m" in out.getvalue()) != no_color
        assert (COLOUR.search(out.getvalue()) is None) == no_color
        assert ("better" if gap > 0 else "worse") in out.getvalue()
        assert f"{gap:+.3f}" in out.getvalue()


def test_a_piped_screen_has_no_escapes() -> None:
    out = io.StringIO()
    for screen in screens(0.2):
        print_screen(Console(file=out, width=160, highlight=False), screen)
    assert "\x1b" not in out.getvalue()


def test_commands_can_be_copied() -> None:
    run = Path("my runs/it's")
    lines = [
        line.plain
        for line in lines_of(endings.trained(configs()[True], results(ranks=True, gap=0.1), run, 7), 80)
    ]
    assert any("twotower compare 'my runs/it'\"'\"'s'" in line for line in lines)


def test_full_output_asks_for_nothing_that_is_above() -> None:
    config, measured, run = configs()[True], results(ranks=True, gap=0.1), Path(SHORT)
    beside = comparison(ranks=True, gap=0.1)
    for made, short, long in (
        (endings.trained, (config, measured, run), ""),
        (endings.evaluated, (config, measured, measured, run), ""),
        (endings.compared, (config, beside, [SHORT]), "Nothing is saved."),
    ):
        words = " ".join(map(str, [made(*short).ends, *made(*short).commands]))
        assert "--full" in words
        screen = made(*short, full=True)
        assert screen.ends == long
        assert not any("--full" in map(str, command) for command in screen.commands)


def test_what_is_left_out_is_named() -> None:
    ends = endings.compared(configs()[True], comparison(ranks=True, gap=0.1), [SHORT]).ends
    assert ends.startswith(
        "Nothing is saved; --full prints every model and metric, and why category popularity is left out."
    )


def test_an_evaluation_does_not_show_the_time_of_the_training() -> None:
    config, measured, run = configs()[True], results(ranks=True, gap=0.1), Path(SHORT)
    measured["seconds"] = {"train": 44.5}
    assert dict(endings.trained(config, measured, run).facts)["model"].endswith("; 44.5 s")
    assert "44.5" not in dict(endings.evaluated(config, measured, measured, run).facts)["model"]


@given(
    name=st.text(min_size=1, max_size=60),
    numbers=st.tuples(*[st.one_of(st.none(), st.floats(-1e12, 1e12)) for _ in range(3)]),
    half=st.one_of(st.none(), st.floats(0, 1e9)),
    metric=st.sampled_from(["rmse", "ndcg@10"]),
    width=st.sampled_from(WIDTHS),
)
def test_any_name_and_number_fits(
    name: str, numbers: tuple[float | None, ...], half: float | None, metric: str, width: int
) -> None:
    ours, theirs, gap = numbers
    beside = Beside(name, {metric: interval(ours)}, {metric: interval(theirs)}, {metric: interval(gap, half)})
    assert len(cells(metric, beside)) == 3
    screen = Screen(
        "done", (("data", name),), (judged(beside),), table_of(beside), (name, (name, name)), name
    )
    lines = [line.plain for line in lines_of(screen, width)]
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= LINES
    assert all(line.isprintable() for line in lines)


@given(text=st.text(max_size=300), width=st.integers(3, 60))
@example(text="🏻", width=3)
def test_wrapping_keeps_every_letter(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(cell_len(line) <= width for line in lines)
    kept = "".join("".join(lines).split())
    assert kept == "".join(c for c in text if c.isprintable() and not c.isspace())


@given(st.lists(st.tuples(*[st.text("片名فيلم🎬ab ", max_size=12)] * 3), min_size=1, max_size=4))
def test_columns_line_up_in_any_script(rows: list[tuple[str, str, str]]) -> None:
    screen = Screen("t", table=Table(("metric", "片", "c", ""), tuple((*row, "|") for row in rows)))
    lines = [line.plain for line in lines_of(screen, 100)][3:]
    assert len({cell_len(line) for line in lines}) == 1


def test_the_commands_end_in_their_screens(call: Any, tables: Path, tmp_path: Path) -> None:
    ranking = ["--set", "objective.name=all_pairs", "--set", "positive.threshold=3.5"]
    for more in ([], ranking):
        run = tmp_path / f"run-{len(more)}"
        for words in (
            ["train", tables / "config.toml", *more, "--out", run],
            ["evaluate", run],
            ["compare", run],
        ):
            answer = call(*words)
            assert answer.code == 0, answer.err
            lines = answer.out.splitlines()
            assert len(lines) <= LINES
            assert max(map(cell_len, lines)) <= 100
            assert lines[0].split()[0] in ("Trained", "Evaluated", "Compared")
            assert any(line.startswith("next  ") for line in lines)
            assert "[" in answer.out
    full = call("evaluate", tmp_path / "run-0", "--full").out.splitlines()
    assert len(full) > 2 * LINES
    assert sum(line.startswith("Evaluated") for line in full[-LINES:]) == 1


def test_many_notes_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    from twotower.cli.notes import Notes

    few, every = Notes(full=False), Notes(full=True)
    for log in (few, every):
        for number in range(5):
            log(f"note: {number}")
        log("rows: 3")
    assert (few.hidden, every.hidden) == (2, 0)
    assert len(capsys.readouterr().err.splitlines()) == 4 + 6
