"""The page: one file that needs nothing beside it, in which every figure is one that was measured."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from taste_tables import ITEMS, SCRIPT

from twotower.metrics import Interval
from twotower.report import Case, examine, html_of
from twotower.report.case import DataState
from twotower.report.charts import draw
from twotower.report.content import content_of
from twotower.report.wording import bounds, metric_name, number

VOID = {"meta", "link", "br", "img", "hr", "input", "rect", "circle", "path", "line"}


class Page(HTMLParser):
    """Reads a page into tags, text and tables, and refuses one that is not well nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.headings: list[int] = []
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("th", "td"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text.append(data)
        if "caption" in self._open:
            self._caption += data
        elif self._rows and self._rows[-1] and ({"th", "td"} & set(self._open)):
            self._rows[-1][-1] += f" {data}" if self._open[-1] == "small" else data

    @property
    def words(self) -> str:
        """All that can be read, in a line."""
        return " ".join(" ".join(self.text).split())


def cells(of: Interval) -> str:
    within = bounds(of)
    return f"{number(of.value)} {within}" if within else number(of.value)


@pytest.fixture(scope="module")
def htmls(rated: Case, ranked: Case) -> dict[str, str]:
    return {"rated": html_of(rated, title="rated & so on"), "ranked": html_of(ranked)}


@pytest.fixture(params=["rated", "ranked"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(htmls: dict[str, str], kind: str) -> Page:
    return Page(htmls[kind])


def test_nothing_outside_is_asked_for(htmls: dict[str, str], kind: str, page: Page) -> None:
    html = htmls[kind]
    assert not re.search(r"https?:|//[a-z]", html)
    assert not re.search(r"@import|url\((?!#)", html)
    assert not {"script", "iframe", "object", "embed", "form", "base", "img"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'")
    assert len(html) < 3e6


def test_what_users_wrote_is_text(htmls: dict[str, str], kind: str, page: Page) -> None:
    assert "<script" not in htmls[kind].lower()
    assert page.words.count(SCRIPT) >= ITEMS  # in the titles, and once for the user's column
    assert "genre & 0" in page.words


def test_it_can_be_read_without_seeing_it(page: Page) -> None:
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    charts = [a for tag, a in page.tags if tag == "svg" and a.get("aria-hidden") != "true"]
    assert len(charts) >= 5
    assert all(a.get("role") == "img" and len(a.get("aria-label") or "") > 20 for a in charts)
    heads = [a for tag, a in page.tags if tag == "th"]
    assert all(a.get("scope") in ("row", "col") for a in heads)
    assert sum(tag == "caption" for tag, _ in page.tags) == sum(tag == "table" for tag, _ in page.tags)
    assert dict(page.tags)["html"] == {"lang": "en"}
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    jumps = {str(a["href"])[1:] for tag, a in page.tags if tag == "a"}
    assert jumps <= set(ids)


def test_every_metric_is_there_as_measured(page: Page, kind: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(kind)
    evaluation, tables = case.evaluation, page.tables
    if evaluation.rating is not None:
        rows = tables["Predicted labels, all metrics"]
        assert rows[1:] == [[metric_name(n), cells(of)] for n, of in evaluation.rating.metrics.items()]
    assert evaluation.ranking is not None
    head, *rows = tables["Ranked catalogue, all metrics"]
    assert head == ["Metric", "top 5", "top 10"]
    by_name = {row[0]: row[1:] for row in rows}
    for name in ("ndcg", "recall", "hit_rate", "precision", "map", "mrr", "coverage", "gini", "novelty"):
        metrics = evaluation.ranking.metrics
        assert by_name[metric_name(name)] == [cells(metrics[f"{name}@{k}"]) for k in (5, 10)]
    assert cells(case.score).split()[0] in page.words
    assert evaluation.popularity is not None
    assert " ".join(evaluation.popularity.says.split()) in " ".join(page.words.split())


def test_what_is_left_out_and_a_ranking_below_popularity_are_said(ranked: Case) -> None:
    evaluation = ranked.evaluation
    assert evaluation.ranking is not None
    assert evaluation.popularity is not None
    worse = {name: Interval(-0.2, -0.3, -0.1) for name in evaluation.popularity.difference}
    case = replace(
        ranked,
        evaluation=replace(
            evaluation,
            ranking=replace(evaluation.ranking, left_out={"repeated": 0, "not_candidates": 2, "seen": 7}),
            popularity=replace(evaluation.popularity, difference=worse),
        ),
    )
    content = content_of(case, (), "a title")
    assert "WARNING: its ranking is worse than popularity" in content["verdict"]
    assert (
        f"{evaluation.ranking.positives:,} test positives are ranked for; left out: 2 that are not among "
        "the candidates, 7 that the user has in the training set"
    ) in content["measured_notes"]
    assert case.evaluation.popularity.says in content["measured_notes"]
    assert not {*content["notes"]} & {*content["measured_notes"]}


def test_baselines_are_beside_it_as_measured(page: Page, kind: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(kind)
    assert case.compared is not None
    comparison = case.compared.comparison
    head, *rows = page.tables["Models on the same test set"]
    assert head[1:3] == ["Trained on", metric_name(case.main)]
    assert head[-1].endswith("ours minus this")
    assert {row[0] for row in rows} == set(comparison.models)
    for name, given, value, *_, gap in rows:
        assert given == case.compared.given[name]
        assert value == cells(comparison.models[name].metrics[case.main])
        if name != comparison.against:
            of = comparison.differences[name][case.main]
            assert gap.split()[0].replace("−", "-") == f"{-of.value:+.4f}"
    values = [float(row[2].split()[0]) for row in rows]
    assert values == sorted(values, reverse=kind == "ranked")
    best = next(row for row in rows if row[0] != comparison.against)
    ours = case.compared.given[comparison.against]
    assert (
        f"the best baseline here, {best[0]} with {best[2].split()[0]}, trained on {best[1]} "
        f"(ours on {ours})" in page.words
    )
    assert f"Not compared: {', '.join(case.left_out)}." in page.words
    for name, choice in case.compared.choices.items():
        for given, worth in choice.worth.items():
            assert f"{number(worth)} with {given}" in page.words[page.words.index(f"{name} (") :]
    for why in set(case.left_out.values()):
        alike = [name for name, reason in case.left_out.items() if reason == why]
        assert f"{', '.join(alike)} ({why})" in page.words
    assert "--all-baselines" in page.words


def test_slices_features_and_deciles_are_there_as_measured(
    page: Page, kind: str, request: pytest.FixtureRequest
) -> None:
    case: Case = request.getfixturevalue(kind)
    caption = "Ranking by slice, in figures" if kind == "ranked" else "Error by slice, in figures"
    values = [row[-1] for row in page.tables[caption]]
    for group, members in case.measured.slices.items():
        for part in members.values():
            assert cells(part.metrics[case.main]) in values, group
    assert {"user_activity", "item_duration", "item_popularity"} <= set(case.measured.slices)
    features = {row[0]: row[1:] for row in page.tables["The first in figures"][1:]}
    assert len(features) == len(case.importance.features)
    for worth in case.importance.features:
        loss = features[f"{worth.side[:-1]}: {worth.column}"][0]
        assert float(loss.split()[0].replace("−", "-")) == pytest.approx(worth.loss.value, abs=5e-5)
    if case.calibration is not None:
        rows = page.tables["Deciles of the predictions"][1:]
        assert [row[3] for row in rows] == [cells(b.actual) for b in case.calibration.bins]
        assert [row[1] for row in rows] == [number(b.rows) for b in case.calibration.bins]
    else:
        assert "Deciles of the predictions" not in page.tables


def test_the_parts_and_the_settings(page: Page, kind: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(kind)
    rows = {row[0]: row[1:] for row in page.tables["Training, validation and test set"][1:]}
    for name, part in (("training", "train"), ("validation", "validation"), ("test", "test")):
        events = getattr(case.parts, part).interactions
        assert rows[name][:3] == [
            number(len(events)),
            number(events["person"].n_unique()),
            number(events["film"].n_unique()),
        ]
    words = page.words
    towers = case.config.model
    hidden = f", hidden layers of {' and '.join(map(str, towers.widths))}" if towers.widths else ""
    assert f"Towers {towers.kind}{hidden}" in words
    assert case.config.objective.name in words
    assert case.data.now in words
    assert "the same as when it was trained" in words
    assert f"Seed {case.config.seed}" in words
    assert f"Version {case.recorded['version']}" in words
    assert f"epoch {case.recorded['validation']['epoch']} was the best" in words


def test_points_people_and_charts(htmls: dict[str, str], page: Page, kind: str) -> None:
    assert sum(tag == "circle" for tag, _ in page.tags) == ITEMS + 1  # and one in the page's sign
    assert sum(tag == "article" for tag, _ in page.tags) == 3
    assert "because this user rated" in page.words
    # light and dark: whatever colour a chart has, the style sheet knows
    html = htmls[kind]
    style = html[html.index("<style>") : html.index("</style>")]
    for attribute, colour in set(re.findall(r'(fill|stroke)="(#[0-9a-f]{3,6})"', html)):
        assert f'svg [{attribute}="{colour}"]' in style, (attribute, colour)


def test_findings_are_shown_with_evidence_and_advice(rated: Case, htmls: dict[str, str]) -> None:
    changed = replace(rated, data=DataState("a" * 64, "b" * 64, 0.5))
    findings = examine(changed)
    page = Page(html_of(changed, findings))
    words = page.words
    assert "The data has changed since this model was trained." in words
    assert "not the one it was trained on (aaaaaaaaaaaaaaaa)" in words
    for finding in findings:
        assert finding.evidence in words
        assert finding.fix.replace("`", "") in words.replace("` ", "").replace("`", "")
    assert "! 1 to fix" in words
    assert "No problems found." in Page(htmls["rated"]).words


def test_without_baselines(rated: Case) -> None:
    page = Page(html_of(replace(rated, compared=None, left_out={"biases": "baselines were switched off"})))
    assert [row[0] for row in page.tables["Models on the same test set"]] == ["Model", "two-tower"]
    assert "biases (baselines were switched off)" in page.words


def test_charts_escape_and_bring_no_script() -> None:
    chart: dict[str, Any] = {
        "data": {"values": [{"a": SCRIPT, "b": 1}]},
        "mark": "bar",
        "encoding": {"y": {"field": "a", "type": "nominal"}, "x": {"field": "b", "type": "quantitative"}},
    }
    svg = draw(chart, f'{SCRIPT} "quoted"')
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
    assert 'aria-label="&lt;script&gt;' in svg
    assert "http" not in svg


playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed")
def test_it_opens_on_a_phone_and_in_the_dark_without_a_complaint(
    htmls: dict[str, str], tmp_path: Path
) -> None:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        papers = {}
        for name, html in htmls.items():
            path = tmp_path / f"{name}.html"
            path.write_text(html, encoding="utf-8")
            for width, scheme in ((375, "dark"), (1280, "light")):
                context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
                tab = context.new_page()
                wrong: list[str] = []
                tab.on("console", lambda message, wrong=wrong: wrong.append(message.text))
                tab.on("pageerror", lambda error, wrong=wrong: wrong.append(str(error)))
                tab.on(
                    "request",
                    lambda asked, wrong=wrong: (
                        None if asked.url.startswith(("file:", "data:")) else wrong.append(asked.url)
                    ),
                )
                tab.goto(path.as_uri())
                assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
                beyond = tab.evaluate(
                    "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, pre, svg') &&"
                    " e.getBoundingClientRect().right > window.innerWidth + 1).map(e => e.outerHTML)"
                )
                assert beyond == []
                papers[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
                assert wrong == []
                context.close()
        assert papers["dark"] != papers["light"]
        browser.close()
