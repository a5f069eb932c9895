"""Every code block of the documentation and of the README runs, in the order in which a reader meets it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from markdown.extensions.toc import slugify
from typer.testing import CliRunner

from doc_blocks import NOT_RUN, ROOT, Workshop, blocks_of, make_quick, matches
from twotower.cli import app

DOCS = ROOT / "docs"
README = ROOT / "README.md"


class _Loader(yaml.SafeLoader):
    """Reads mkdocs.yml."""


def pages() -> list[Path]:
    """Return the written pages, in the order of the navigation."""
    site = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Loader)
    names: list[str] = []

    def walk(part: object) -> None:
        if isinstance(part, str):
            names.append(part)
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            walk(inner)

    walk(site["nav"])
    found = [DOCS / name for name in names if (DOCS / name).is_file()]
    assert set(found) == set(DOCS.rglob("*.md")), "a page is not in mkdocs.yml"
    return found


@pytest.mark.slow
def test_every_block_of_the_pages_runs(tmp_path, monkeypatch, subtests):
    # One folder for all, as a reader has one: later pages use the runs that the quick start makes.
    monkeypatch.chdir(tmp_path)
    make_quick(monkeypatch)
    workshop = Workshop(tmp_path)
    for page in sorted(pages(), key=lambda path: path.name != "quick-start.md"):
        with subtests.test(page=page.name):
            workshop.page(page)


@pytest.fixture
def films(tmp_path, monkeypatch):
    """Work where the README's own data lies: ratings.csv and films.parquet."""
    rng = np.random.default_rng(0)
    user, film = np.divmod(rng.permutation(60 * 40)[:1500], 40)  # nobody rates a film twice
    rating = np.clip(np.round(3 + (film % 5 - 2) / 2 + rng.normal(size=1500)), 1, 5).astype(int)
    pl.DataFrame(
        {
            "user_id": [f"u{i}" for i in user],
            "film_id": film,
            "rating": rating,
            "rated_at": 1_600_000_000 + np.arange(1500) * 60,
        }
    ).write_csv(tmp_path / "ratings.csv")
    pl.DataFrame(
        {
            "film_id": np.arange(40),
            "title": [f"Film {i}" for i in range(40)],
            "genres": [[("drama", "comedy", "crime")[i % 3]] for i in range(40)],
            "year": 1960 + np.arange(40),
        }
    ).write_parquet(tmp_path / "films.parquet")
    pl.DataFrame({"user_id": [14], "video_id": [3649]}).write_csv(tmp_path / "pairs.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_every_block_of_the_readme_runs(films, monkeypatch):
    make_quick(monkeypatch)
    Workshop(films).page(README)


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_quick(monkeypatch)
    (block,) = (block for block in blocks_of(README) if block.language == "text")
    shown = block.code.rstrip().removesuffix("...")
    found = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, ["demo", "--out", "runs/demo"])
    assert found.exit_code == 0, found.output
    # The figures differ on a part of the sample; how lines begin does not.
    begins = [line.split()[0].rstrip(":") for line in found.stdout.splitlines() if line.strip()]
    wanted = [line.split()[0].rstrip(":") for line in shown.splitlines() if line.strip()]
    rest = iter(begins)
    missing = [word for word in wanted if not word.startswith("[") and word not in rest]
    assert missing == [], found.stdout


def test_what_does_not_run_says_why():
    for page in [*pages(), README]:
        for block in blocks_of(page):
            if not block.runs:
                assert re.match(NOT_RUN + r"( of the documentation)?: \w+", block.title), block


def test_every_command_is_written_about():
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    text = README.read_text(encoding="utf-8")
    assert {name for name in names if f"`{name}`" not in text} == set()
    shown = "\n".join(block.code for page in [*pages(), README] for block in blocks_of(page))
    assert {name for name in names if f"twotower {name}" not in shown} <= {"demo"}


def test_expected_output_is_compared():
    assert matches("a ... c\n...\nd", "a b c\nx\ny\nd\n")
    assert matches("a\n...\nb", "a\nb\n")
    assert not matches("a\nb", "a\nb\nc\n")
    assert not matches("a ... c", "a b\nc\n")


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return {slugify(title, "-") for title in re.findall(r"^#+ (.*)$", text, flags=re.M)}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name):
    # Those of the pages are checked where the site is built.
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        page = ROOT / path if path else ROOT / name
        assert page.exists(), target
        assert not anchor or anchor in anchors_of(page), target
