"""The page in a real browser: it asks for nothing, runs nothing, and can be read on any screen and on paper."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from audit.outcome import Outcome
from audit.replay import Replay
from audit.report import render, view
from tests.test_report import (
    AWAY,
    HOME,
    NOW,
    ON,
    REFUSED,
    WAITING,
    Rendered,
    Story,
    accompanied,
    full,
    key_id,
    planned,
)

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><svg onload=alert(1)>",
    "javascript:alert(1)//' onclick='alert(1)",
    "</style><style>*{background:url(//evil.example)}</style>",
    "{{ 7 * 7 }}{% include 'x' %}",
    "&lt;b&gt;&amp;",
)

TEXTS = """() => [...document.querySelectorAll('main *, header *, footer *')].filter(
    node => [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())
    && node.checkVisibility() && !node.closest('svg')
).map(node => {
    let behind = node;
    while (getComputedStyle(behind).backgroundColor === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
    return [node.textContent.trim(), getComputedStyle(node).color, getComputedStyle(behind).backgroundColor];
})"""
"""Every element with a text of its own: the text, its colour, and the colour behind it."""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page without a network, that fails the test if anything is requested, complained about or asked."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    heard: list[str] = []
    page.on("request", lambda request: heard.append(f"request {request.url}"))
    page.on("console", lambda message: heard.append(f"console {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error {error}"))
    page.on("dialog", lambda dialog: (heard.append(f"dialog {dialog.message}"), dialog.dismiss()))
    yield page
    context.close()
    assert [line for line in heard if not re.fullmatch(r"request file://.*/report\.html(#.*)?", line)] == []
    assert heard, "the page was never opened"


@pytest.fixture
def whole(tmp_path: Path) -> Rendered:
    return Rendered(tmp_path / "out", full(tmp_path).write())


def opened(page: Page, report: Rendered) -> Page:
    page.goto((report.directory / "report.html").as_uri())
    return page


def kept(request: pytest.FixtureRequest, size: int) -> Path:
    """A report of so many keys, made once for this module."""
    folder = request.getfixturevalue("tmp_path_factory").mktemp(f"keys{size}")
    story = Story(folder)
    for number in range(1, size + 1):
        place = HOME if number % 3 else AWAY
        if number % 100 == 0:
            story.key(number, REFUSED, place=place)
        else:
            story.key(number, place=place, owner=f"team-{number % 7}", **ON)
    return Rendered(folder / "out", story.write(), formats=["html"]).directory / "report.html"


@pytest.fixture(scope="module")
def thousand(request: pytest.FixtureRequest) -> Path:
    return kept(request, 1000)


@pytest.fixture(scope="module")
def many(request: pytest.FixtureRequest) -> Path:
    return kept(request, 2500)


# What is there ------------------------------------------------------------------------------------------------------


def test_every_key_can_be_linked_to(page: Page, whole: Rendered) -> None:
    """Every record has an anchor of its own, and every link of the page leads somewhere."""
    opened(page, whole)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(node => node.id)")
    assert len(ids) == len(set(ids))
    rows = whole.csv()
    keys = {row["key_id"] for row in rows if len(row["key_id"]) == 36}
    assert {f"key-{key}" for key in keys} <= set(ids)
    assert len([id_ for id_ in ids if id_.startswith(("key-", "line-"))]) == len(rows)
    targets = page.evaluate("[...document.querySelectorAll('a[href]')].map(node => node.getAttribute('href'))")
    assert {target.removeprefix("#") for target in targets} <= set(ids)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(page: Page, tmp_path: Path, text: str) -> None:
    """Whatever an alias, an owner or a refused key id holds, the page shows it, plain and by script, and no more."""
    story = Story(tmp_path)
    story.key(1, WAITING, key_alias=text, owner=text)
    story.end(Outcome.REJECTED, text, text)
    opened(page, Rendered(tmp_path / "out", story.write(approved=False)))
    plain, key = page.locator(f"[id='key-{key_id(1)}']"), page.locator("#planned .key")
    assert plain.locator(".alias").text_content() == key.locator(".alias").text_content() == text
    assert f"owner: {text}" in (plain.locator(".small").first.text_content() or "")
    assert page.locator("#line-3 code").text_content() == text
    page.locator("#rows .open").nth(0).click()
    page.locator("#rows .open").nth(1).click()
    assert page.locator("#rows .open code").all_text_contents() == [text, key_id(1)]
    assert page.locator("#rows .details [data-fact=alias] dd").text_content() == text
    assert page.locator("#rows .details dt:text-is('owner') + dd").text_content() == text
    assert page.locator("#rows .details [data-fact=reason] dd").first.text_content() == text
    assert page.locator("img, iframe, object, [onclick], [onload], [onerror]").count() == 0
    assert (page.locator("style").count(), page.locator("script").count()) == (1, 1)


def test_what_cannot_be_seen_is_marked(page: Page, tmp_path: Path) -> None:
    """Characters that hide, reorder or control text do not reach the screen, neither plain nor by script."""
    story = Story(tmp_path)
    story.key(1, WAITING, key_alias="safe\u202etxt.exe", owner="a\u200bb\nc\x07d")
    opened(page, Rendered(tmp_path / "out", story.write(approved=False)))
    mark = "\N{REPLACEMENT CHARACTER}"
    assert set(page.locator(".alias").all_text_contents()) == {f"safe{mark}txt.exe"}
    page.locator("#rows .open").click()
    owner = f"a{mark}b{mark}c{mark}d"
    assert page.locator("#planned .own").nth(0).text_content() == owner
    assert page.locator("#rows .details dt:text-is('owner') + dd").text_content() == owner


def test_a_screen_reader_finds_its_way(page: Page, whole: Rendered) -> None:
    """One title, headings without a gap, and a caption and headers for every table."""
    opened(page, whole)
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(node => Number(node.tagName[1]))")
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("h2").all_text_contents() == [
        "Verdict", "Who, when, against what", "Population", "What needs attention first 13", "What was changed 7",
        "What cannot rotate, and why 12", "Compliant keys 10", "What it costs",
        "Controls", "How to check this report", "Every key 42",
    ]  # fmt: skip
    tables = page.locator("table").count()
    assert page.locator("table > caption").count() == tables == page.locator("[role=region][tabindex='0']").count()
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("html[lang=en] main#main").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    chart = page.get_by_role("img", name="Records by outcome")
    assert "remediated: 7" in (chart.locator("desc").text_content() or "")
    assert chart.locator(".bar").count() == 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, tmp_path: Path, scheme: str) -> None:
    """The page with open rows and everything that can accompany them breaks none of axe's rules, light and dark."""
    with Replay(full(tmp_path, simulated=True).write()) as replay:
        told = view.build([replay], report_id=replay.about["id"], version="0.1.0", now=NOW)
        render.write(accompanied(told), tmp_path, ["html"])
    page.emulate_media(color_scheme=scheme)
    page.goto((tmp_path / "report.html").as_uri())
    for number in (0, 3):
        page.locator("#rows .open").nth(number).click()
    results = Axe().run(page)
    assert results.response["passes"]
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(page: Page, tmp_path: Path, scheme: str) -> None:
    """Every text stands out at 4.5 to 1 or better, in both colour schemes (WCAG 2.2, 1.4.3)."""
    page.emulate_media(color_scheme=scheme)
    opened(page, Rendered(tmp_path / "out", full(tmp_path, simulated=True).write()))
    page.locator("#rows .open").first.click()
    found = page.evaluate(TEXTS)
    assert len(found) > 400
    assert [line for line in found if contrast(line[1], line[2]) < 4.5] == []
    (background,) = {line[2] for line in found if line[0] == "KMS key rotation report"}
    assert (luminance(background) < 0.1) is (scheme == "dark")


# Every key ----------------------------------------------------------------------------------------------------------


def test_without_a_script_every_row_of_a_thousand_is_there(browser: Browser, thousand: Path) -> None:
    """A page of 1,000 keys is whole where no script runs: all rows, all links, and nothing that needs the script."""
    context = browser.new_context(offline=True, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{thousand.as_uri()}#key-{key_id(700)}")
    assert page.locator("#plain tbody tr").count() == 1000
    assert page.locator("#compliant tbody tr").count() == 990
    assert page.locator("#plain tbody tr").first.locator(".tag").text_content() == "refused"
    assert not page.locator("#live").is_visible()
    assert page.locator(f"#key-{key_id(700)}").is_visible()
    links = set(page.locator("main a").evaluate_all("links => links.map(link => link.getAttribute('href'))"))
    ids = set(page.locator("[id]").evaluate_all("nodes => nodes.map(node => `#${node.id}`)"))
    assert len(links) > 1000
    assert links <= ids
    context.close()


def test_only_the_rows_in_sight_exist(page: Page, many: Path) -> None:
    """Of 2,500 rows some dozen are drawn; their number, and the place of each, are told to assistive technology."""
    page.goto(many.as_uri())
    table, region = page.locator("#rows"), page.locator("#region")
    assert table.get_attribute("aria-rowcount") == "2501"
    assert page.locator("#matches").text_content() == "2,500 of 2,500 records"
    assert table.locator("[data-row]").count() < 60
    assert table.locator("[data-row]").first.get_attribute("aria-rowindex") == "2"
    assert table.locator("[data-row]").first.locator(".tag").text_content() == "refused"
    region.evaluate("node => node.scrollTop = node.scrollHeight")
    page.locator("[aria-rowindex='2501']").wait_for()
    assert table.locator("[data-row]").count() < 60
    assert page.locator("[aria-rowindex='2501'] code").text_content() == key_id(2499)
    assert not page.locator("#plain").is_visible()
    links = page.locator("#compliant .key a")
    assert links.count() == 100


def test_a_filter_shows_what_matches_and_says_how_many(page: Page, many: Path) -> None:
    """Outcome, region and free text narrow the table together; that nothing matches is said; all can be shown again."""
    page.goto(many.as_uri())
    says, rows = page.locator("#matches"), page.locator("#rows [data-row]")
    page.locator("#by-outcome").select_option(label="refused (25)")
    expect(says).to_have_text("25 of 2,500 records")
    page.locator("#by-region").select_option(label="eu-west-101 (833)")
    expect(says).to_have_text("8 of 2,500 records")
    expect(rows).to_have_count(8)
    page.get_by_label("Text", exact=True).fill(key_id(300).upper())
    expect(says).to_have_text("1 of 2,500 records")
    page.get_by_label("Text", exact=True).fill("nothing of that kind")
    expect(says).to_have_text("No record matches.")
    expect(rows).to_have_count(0)
    page.get_by_role("button", name="Show all").click()
    expect(says).to_have_text("2,500 of 2,500 records")
    for text, count in (
        ("TEAM-3", "354"),
        ("no permission", "25"),
        ("403d2b1c9e", "25"),
        ("app/2500", "1"),
        ("compliant", "2,475"),
    ):
        page.get_by_label("Text", exact=True).fill(text)
        expect(says).to_have_text(f"{count} of 2,500 records")
    assert not page.locator("#by-account").is_visible()


def test_a_column_sorts_both_ways_and_back(page: Page, many: Path) -> None:
    """The head of a column sorts, turns round, and gives the order of the report back; it says which holds."""
    page.goto(many.as_uri())
    line = page.get_by_role("button", name="Line", exact=True)
    head, first = page.locator("th", has=line), page.locator("#rows [data-row] .number").first
    assert head.get_attribute("aria-sort") is None
    line.click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(first).to_have_text("2")
    line.click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(first).to_have_text("2,501")
    line.click()
    expect(first).to_have_text("101")
    assert head.get_attribute("aria-sort") is None
    page.get_by_role("button", name="Key", exact=True).click()
    expect(first).to_have_text("2")
    assert page.locator("[aria-sort]").count() == 1


def test_a_link_to_a_key_opens_it(page: Page, many: Path) -> None:
    """A link leads to its row wherever that is, and opens it; where a filter hides it, and when used again, as well."""
    page.goto(f"{many.as_uri()}#key-{key_id(2222)}")
    target, button = page.locator("tr.target"), page.locator("tr.target .open")
    expect(target).to_be_in_viewport()
    assert target.locator("code").text_content() == key_id(2222)
    assert button.get_attribute("aria-expanded") == "true"
    assert page.evaluate("document.activeElement.textContent") == key_id(2222)
    assert page.locator("#rows").get_attribute("aria-rowcount") == "2502"
    page.get_by_label("Text", exact=True).fill("app/001")
    expect(page.locator("#matches")).to_have_text("1 of 2,500 records")
    link = page.locator(f"#attention a[href='#key-{key_id(100)}']")
    for _ in range(2):
        link.click()
        expect(page.locator("#matches")).to_have_text("2,500 of 2,500 records")
        expect(target.locator("code")).to_have_text(key_id(100))
        expect(target).to_be_in_viewport()
        page.locator("#region").evaluate("node => node.scrollTop = 90000")
        page.locator("tr.target").wait_for(state="detached")


def test_an_open_row_tells_everything(page: Page, many: Path) -> None:
    """Request, sequence, times, rules, reason and own columns stand under the row, and what is not known does not."""
    page.goto(many.as_uri())
    page.locator("#rows .open").first.click()
    facts = page.locator("#rows .details")
    texts = dict(zip(facts.locator("dt").all_text_contents(), facts.locator("dd").all_text_contents(), strict=True))
    assert (texts["Key id"], texts["Outcome"], texts["Rules"].strip()) == (key_id(100), "refused", "C01")
    assert texts["Why"] == "KMS refused: HTTP 403 KMS.0307 no permission; ask the administrator"
    assert (texts["Request"], texts["HTTP status"], texts["Attempts"]) == ("enable", "403", "1")
    assert re.fullmatch("[0-9a-f-]{36}", texts["Sequence"])
    assert texts["Sent (UTC)"] == "2026-11-24T03:35:10Z"
    assert "Read back (UTC)" not in texts
    page.get_by_label("Text", exact=True).fill("app/001")
    expect(page.locator("#rows [data-row]")).to_have_count(1)
    page.locator("#rows .open").click()
    assert "team-1" in page.locator("#rows .details dd").all_text_contents()
    page.locator("#rows .open").click()
    expect(page.locator("#rows .details")).to_have_count(0)


def test_a_key_can_be_copied(page: Page, many: Path) -> None:
    """Key id and link go to the clipboard, and the page says so, on the button and in a live region."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(many.as_uri())
    page.locator("#rows .open").first.click()
    page.get_by_role("button", name="Copy key id").click()
    expect(page.locator("#said")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == key_id(100)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("[data-copy=link]")).to_have_attribute("data-said", "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == f"{many.as_uri()}#key-{key_id(100)}"


def test_the_table_is_used_with_the_keyboard(page: Page, many: Path) -> None:
    """Tab enters the table once; arrows, Page, Home and End go from row to row; Enter and Space open; none is lost."""
    page.goto(many.as_uri())
    page.locator("#region").focus()
    for _ in range(7):  # six heads, then the row
        page.keyboard.press("Tab")
    where = "document.activeElement.closest('tr')?.getAttribute('aria-rowindex')"
    assert page.evaluate(where) == "2"
    assert page.locator("#rows .open[tabindex='0']").count() == 1
    page.keyboard.press("ArrowDown")
    assert page.evaluate(where) == "3"
    page.keyboard.press("Enter")
    expect(page.locator("#rows .details")).to_have_count(1)
    page.keyboard.press("Space")
    expect(page.locator("#rows .details")).to_have_count(0)
    page.keyboard.press("End")
    assert page.evaluate(where) == "2501"
    expect(page.locator(":focus")).to_be_in_viewport()
    page.keyboard.press("PageUp")
    assert 2480 < int(page.evaluate(where)) < 2500
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Home")
    assert page.evaluate(where) == "2"
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.dataset.sort") == "line"
    page.locator("#rows .open").first.focus()
    page.locator("#region").evaluate("node => node.scrollTop = node.scrollHeight / 2")
    expect(page.locator("#region")).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


# Screens and paper --------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, from 0 to 1."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_a_telephone_scrolls_tables_and_not_the_page(page: Page, whole: Rendered) -> None:
    """At 320 pixels nothing but the plain tables is wider than the screen, and an open row is not either."""
    page.set_viewport_size({"width": 320, "height": 640})
    opened(page, whole)
    page.locator("#rows .open").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert page.evaluate("(node => node.scrollWidth <= node.clientWidth)(document.getElementById('region'))")
    scrolls = page.evaluate(
        "[...document.querySelectorAll('.scroll')].some(node => node.scrollWidth > node.clientWidth)"
    )
    assert scrolls


def test_it_prints(page: Page, tmp_path: Path) -> None:
    """On paper: several A4 pages, dark ink on white even from a dark screen, no table wider than the sheet."""
    page.emulate_media(color_scheme="dark")
    opened(page, Rendered(tmp_path / "out", planned(tmp_path, simulated=True)))
    pdf = page.pdf(prefer_css_page_size=True, tagged=True, outline=True)
    assert re.search(rb"/MediaBox \[0 0 59[45]\S* 84[12]\S*\]", pdf)
    assert pdf.count(b"/Type /Page\n") >= 2
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 within its margins
    assert page.evaluate("document.documentElement.scrollWidth") == 688
    found = page.evaluate(TEXTS)
    assert [line for line in found if contrast(line[1], "rgb(255, 255, 255)") < 4.5] == []
    assert page.evaluate("getComputedStyle(document.querySelector('thead')).display") == "table-header-group"


def test_paper_holds_the_plain_rows_and_the_id_of_the_run(page: Page, thousand: Path) -> None:
    """With or without the script the same rows are printed, and the foot of every sheet names run and page."""
    page.goto(thousand.as_uri())
    page.emulate_media(media="print")
    assert page.locator("#plain tbody tr").count() == 1000
    assert page.locator("#plain tbody tr").last.is_visible()
    assert not page.locator("#live").is_visible()
    sheet = page.evaluate(
        "[...document.styleSheets[0].cssRules].filter(rule => rule instanceof CSSPageRule).map(rule => rule.cssText)"
    )
    assert '"20261124T033400Z-5d0c2a"' in sheet[0]
    assert "counter(page)" in sheet[0]
    pdf = page.pdf(prefer_css_page_size=True)
    assert pdf.count(b"/Type /Page\n") > 40
