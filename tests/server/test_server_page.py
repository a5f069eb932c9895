"""The page in a real browser: the whole path of a visitor, by mouse and by keyboard, wide and narrow."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import pytest
from small_server import ServerProcess, run_of, uvicorn_of

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which is not installed"),
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",  # a name of another site that leads here
]


@pytest.fixture(scope="module")
def address(model, tmp_path_factory) -> Iterator[str]:
    process = ServerProcess(run_of(model, tmp_path_factory.mktemp("page") / "run"))
    yield process.address
    process.stop()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(params=[(1440, 900, "light"), (390, 844, "dark")], ids=["wide", "phone"])
def page(browser, address, request):
    width, height, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    found = context.new_page()
    found.set_default_timeout(10_000)
    wrong: list[str] = []
    found.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    found.on("pageerror", lambda error: wrong.append(str(error)))
    found.on(
        "request", lambda asked: None if asked.url.startswith((address, "data:")) else wrong.append(asked.url)
    )
    found.browser_errors = wrong
    found.goto(address)
    found.wait_for_selector("#list .card")
    found.wait_for_load_state("networkidle")  # the map is asked for after the list
    yield found
    context.close()
    assert wrong == []


def until(page, condition, arg=None):
    """Wait until a condition in JavaScript holds; asked from here, since the page's policy lets nothing be
    evaluated in it."""
    deadline = time.monotonic() + 15
    while not page.evaluate(condition, arg):
        assert time.monotonic() < deadline, condition
        time.sleep(0.03)


def items(page):
    return page.eval_on_selector_all("#list .card", "cards => cards.map(card => card.dataset.item)")


def settled(page, before):
    """Return the list once it is another one and nothing is on its way."""
    deadline = time.monotonic() + 15
    while (found := items(page)) == before or page.locator(".leaving").count():
        assert time.monotonic() < deadline, "the list did not change"
        time.sleep(0.03)
    return found


def test_the_path_of_a_visitor(page):
    # the first user, with history and reasons
    assert "User 1000" in page.inner_text("#about")
    assert page.locator("#history li").count() > 5
    assert "because this user rated" in page.inner_text("#list")
    # another one, searched
    page.fill("#query", "1003")
    page.wait_for_selector("#found [role=option]:has-text('1003')")
    page.click("#found [role=option]:has-text('1003')")
    until(page, "document.querySelector('#about').textContent.includes('User 1003')")
    # a new one, who watches and skips
    page.click("#new")
    until(page, "document.querySelector('#about').textContent.startsWith('A new user')")
    before = items(page)
    page.click(f"#list .card[data-item='{before[1]}'] button:has-text('Rate')")
    after = settled(page, before)
    assert before[1] not in after
    assert "because this user rated" in page.inner_text("#list")
    page.click(f"#list .card[data-item='{after[0]}'] button:has-text('Skip')")
    later = settled(page, after)
    assert after[0] not in later
    assert page.inner_text("#history li:first-child").endswith("skipped")
    assert page.locator("#history li").count() == 2
    # one item, one like it, and watching that
    page.click(f"#list .card[data-item='{later[0]}'] .title")
    page.wait_for_selector("#item[open]")
    first = page.inner_text("#item-title")
    page.click("#item .alike li:first-child button")
    until(page, "first => document.querySelector('#item-title').textContent != first", first)
    page.click("#item .acts .strong")
    until(page, "document.querySelectorAll('#history li').length == 3")
    # the reload of the page keeps the new user
    page.reload()
    page.wait_for_selector("#list .card")
    assert "2 items rated so far" in page.inner_text("#about")
    assert page.locator("#history li").count() == 3


def test_by_keyboard_alone(page):
    page.focus("#query")
    page.wait_for_selector("#found [role=option]")
    page.keyboard.type("1005")
    page.wait_for_selector("#found [aria-selected=true]:has-text('1005')")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#about').textContent.includes('User 1005')")
    page.focus("#new")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#about').textContent.startsWith('A new user')")
    before = items(page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("r")
    after = settled(page, before)
    assert before[1] not in after
    page.keyboard.press("s")
    settled(page, after)
    page.keyboard.press("Enter")
    page.wait_for_selector("#item[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#item", state="hidden")


def test_nothing_is_wider_than_the_screen_and_all_can_be_named(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input')].filter(e => !(e.textContent.trim() ||"
        " e.getAttribute('aria-label') || e.labels?.length)).map(e => e.outerHTML)"
    )
    assert nameless == []


def test_the_map_opens_items(page):
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#tip:not([hidden])")
    named = page.inner_text("#tip").split(" · ")
    assert named[1] in ("recommended", "rated")
    page.keyboard.press("Enter")
    page.wait_for_selector("#item[open]")
    assert page.inner_text("#item-title").startswith(named[0])
    assert "% of the variance" in page.inner_text("#map-note")


def test_the_map_zooms_and_moves(page):
    def drawn():
        return page.evaluate("document.querySelector('#map').toDataURL()")

    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    first = drawn()
    page.mouse.move(*middle)
    page.mouse.wheel(0, -300)
    until(page, "first => document.querySelector('#map').toDataURL() != first", first)
    zoomed = drawn()
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 40, steps=4)
    page.mouse.up()
    assert drawn() != zoomed
    assert not page.locator("#item[open]").count(), "a drag is not a click"
    page.mouse.move(0, 0)
    page.click("#whole")
    page.evaluate("document.activeElement.blur()")
    until(page, "first => document.querySelector('#map').toDataURL() == first", first)
    page.focus("#map")
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowLeft")
    assert drawn() != first
    page.keyboard.press("0")
    until(page, "first => document.querySelector('#map').toDataURL() == first", first)
    page.click("#closer")
    assert drawn() != first


def test_items_are_found_and_lead_to_similar_items_and_users(page):
    page.fill("#query", "电影 17")
    page.wait_for_selector("#found [role=option]:has-text('电影 17')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#item[open]")
    assert page.inner_text("#item-title") == "电影 17 <b>"
    assert page.locator("#item .alike li").count() == 8
    user = page.locator("#item .people button").first
    name = user.inner_text()
    user.click()
    page.wait_for_selector("#item", state="hidden")
    until(page, "name => document.querySelector('#about').textContent.startsWith(`User ${name}:`)", name)


def test_a_user_who_is_not_known_starts_as_a_new_one(page):
    width = page.viewport_size["width"]  # the server remembers the users of other pages
    one, other = f"one {width}", f"other {width}"
    page.fill("#query", one)
    page.wait_for_selector(f"#found [role=option]:has-text('{one}')")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#about').textContent.includes('not in the training set')")
    page.wait_for_selector("#list .card")
    before = items(page)
    page.click(f"#list .card[data-item='{before[0]}'] button:has-text('Rate')")
    after = settled(page, before)
    assert before[0] not in after
    until(page, "document.querySelector('#status').textContent.endsWith('; list updated.')")
    page.evaluate("user => location.hash = `user=${encodeURIComponent(user)}`", other)
    until(
        page, "text => document.querySelector('#about').textContent.startsWith(text)", f"User {other} is not"
    )
    page.wait_for_selector("#list .card")
    page.click("#list .card:first-child button:has-text('Skip')")
    until(page, "document.querySelectorAll('#history .skip').length == 1")


def test_errors_are_shown_as_words_and_clicks_reach_nobody_else(page):
    page.evaluate("location.hash = 'user=' + 'x'.repeat(300)")
    until(page, "document.querySelector('#status.wrong')?.textContent.includes('1 to 256 characters')")
    assert items(page) == []
    assert page.locator("#history li").count() == 0
    page.browser_errors.clear()  # Chromium itself notes a request that was refused


def test_the_docs_of_the_api(page, address):
    page.goto(f"{address}docs")
    page.wait_for_selector("summary:has-text('/v1/recommend')")
    paths = page.evaluate(
        "fetch('openapi.json').then(answer => answer.json()).then(api => Object.keys(api.paths))"
    )
    shown = page.eval_on_selector_all("summary code", "codes => codes.map(code => code.textContent)")
    assert set(shown) == set(paths)
    page.click("summary:has-text('/v1/score')")
    score = page.locator("details[open]")
    score.locator("textarea").fill('{"pairs": [{"user_id": 1003, "item_id": 503}]}')
    score.locator("button").click()
    score.locator("pre[role=status]:has-text('\"user_id\": 1003')").wait_for()
    page.click("summary:has-text('/v1/users-for')")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_markup_in_titles_is_text(page):
    assert page.locator("#list b").count() == 0
    assert "<b>" in page.inner_text("#list")


def test_dark_and_light(page):
    def paper():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    before = paper()
    page.click("#theme")
    assert paper() != before
    page.reload()
    page.wait_for_selector("#list .card")
    assert paper() != before


def test_a_token_is_asked_for_and_used(browser, model, tmp_path):
    server = ServerProcess(run_of(model, tmp_path / "run"), TWOTOWER_TOKEN="open sesame")
    try:
        page = browser.new_page()
        page.goto(server.address)
        page.wait_for_selector("#token[open]")
        page.fill("#token-value", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#token[open]")
        page.fill("#token-value", "open sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("#list .card")
    finally:
        server.stop()


@pytest.mark.parametrize("how", ["mounted", "stripped by a proxy"])
def test_it_works_wherever_it_is_mounted_and_asks_for_a_token_there(browser, model, tmp_path, how):
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.testclient import TestClient

    from twotower.server import Settings, create_app

    model.save(tmp_path / "bundle")
    app = create_app(Settings(tmp_path / "bundle", str(tmp_path / "events.db"), token="open sesame, please"))
    outer = Starlette(routes=[Mount("/some/rec", app)])

    async def stripping(scope, receive, send):
        if scope["type"] == "http":
            scope = {**scope, "path": scope["path"].removeprefix("/some/rec")}
        await app(scope, receive, send)

    with TestClient(app), uvicorn_of(outer if how == "mounted" else stripping) as port:
        page = browser.new_page()
        failed: list[str] = []
        page.on("response", lambda got: failed.append(got.url) if got.status == 404 else None)
        page.goto(f"http://localhost:{port}/some/rec/")
        page.wait_for_selector("#token[open]")
        page.fill("#token-value", "open sesame, please")
        page.keyboard.press("Enter")
        page.wait_for_selector("#list .card")
        page.click("#list .card:first-child .title")
        page.wait_for_selector("#item[open]")
        assert failed == []
        page.close()


def test_a_page_of_another_site_gets_nothing(browser, model, tmp_path):
    """DNS rebinding: the other site's name leads here, so that to the browser it is one site."""
    server = ServerProcess(run_of(model, tmp_path / "run"))
    port = server.address.rstrip("/").rsplit(":", 1)[1]
    asked = """async () => {
        const found = [];
        for (const [path, method, body] of [["v1/users/1003", "GET"], ["v1/items/503", "DELETE"],
              ["v1/events", "POST", '{"events": [{"id": "x", "user_id": 1003, "item_id": 503}]}']])
            found.push((await fetch("/" + path, {method, body})).status);
        return found;
    }"""
    page = browser.new_page()
    try:
        for host, statuses in (("evil.example", [403] * 3), ("localhost", [200, 204, 200])):
            page.goto(f"http://{host}:{port}/healthz")
            assert page.evaluate(asked) == statuses, host
    finally:
        page.close()
        server.stop()
