"""The page in a real browser: it asks for nothing, runs nothing, and can be read on any screen and on paper."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from audit.outcome import Outcome
from tests.test_report import WAITING, Rendered, Story, full, key_id, planned

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


def test_every_key_can_be_linked_to(page: Page, whole: Rendered) -> None:
    """Every record has an anchor of its own, and every link of the page leads somewhere."""
    opened(page, whole)
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(node => node.id)")
    assert len(ids) == len(set(ids))
    rows = whole.csv()
    keys = {row["key_id"] for row in rows if len(row["key_id"]) == 36}
    assert {f"key-{key}" for key in keys} <= set(ids)
    assert len([id_ for id_ in ids if id_.startswith(("key-", "line-"))]) == len(rows)
    targets = page.evaluate("[...document.querySelectorAll('a')].map(node => node.getAttribute('href'))")
    assert {target.removeprefix("#") for target in targets} <= set(ids)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(page: Page, tmp_path: Path, text: str) -> None:
    """Whatever an alias, an owner or a refused key id holds, the page shows it and does nothing else."""
    story = Story(tmp_path)
    story.key(1, WAITING, key_alias=text, owner=text)
    story.end(Outcome.REJECTED, text, text)
    opened(page, Rendered(tmp_path / "out", story.write(approved=False)))
    assert page.locator(f"#key-{key_id(1)} .alias").text_content() == text
    assert page.locator(f"#key-{key_id(1)} .own").first.text_content() == text
    assert page.locator("#line-3 code").text_content() == text
    assert page.locator("script, img, iframe, object, [onclick], [style]").count() == 0
    assert page.locator("style").count() == 1


def test_what_cannot_be_seen_is_marked(page: Page, tmp_path: Path) -> None:
    """Characters that hide, reorder or control text do not reach the screen."""
    story = Story(tmp_path)
    story.key(1, WAITING, key_alias="safe\u202etxt.exe", owner="a\u200bb\nc\x07d")
    opened(page, Rendered(tmp_path / "out", story.write(approved=False)))
    mark = "\N{REPLACEMENT CHARACTER}"
    assert page.locator(".alias").text_content() == f"safe{mark}txt.exe"
    assert page.locator(".own").first.text_content() == f"a{mark}b{mark}c{mark}d"


def test_a_screen_reader_finds_its_way(page: Page, whole: Rendered) -> None:
    """One title, headings without a gap, and a caption and headers for every table."""
    opened(page, whole)
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(node => Number(node.tagName[1]))")
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.locator("h2").all_text_contents() == [
        "Verdict Action needed", "Who, when, against what", "Population", "What needs attention first",
        "What was changed", "What cannot rotate, and why", "Compliant keys", "How to check this report",
    ]  # fmt: skip
    tables = page.locator("table").count()
    assert page.locator("table > caption").count() == tables == page.locator("[role=region][tabindex='0']").count()
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("html[lang=en] main#main").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    chart = page.get_by_role("img", name="Records by outcome")
    assert "remediated: 7" in (chart.locator("desc").text_content() or "")
    assert chart.locator(".bar").count() == chart.locator("text").count() == 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(page: Page, tmp_path: Path, scheme: str) -> None:
    """Every text stands out at 4.5 to 1 or better, in both colour schemes (WCAG 2.2, 1.4.3)."""
    page.emulate_media(color_scheme=scheme)
    opened(page, Rendered(tmp_path / "out", full(tmp_path, simulated=True).write()))
    found = page.evaluate(TEXTS)
    assert len(found) > 400
    assert [line for line in found if contrast(line[1], line[2]) < 4.5] == []
    (background,) = {line[2] for line in found if line[0] == "KMS key rotation report"}
    assert (luminance(background) < 0.1) is (scheme == "dark")


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, from 0 to 1."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_a_telephone_scrolls_tables_and_not_the_page(page: Page, whole: Rendered) -> None:
    """At 320 pixels nothing but the tables is wider than the screen."""
    page.set_viewport_size({"width": 320, "height": 640})
    opened(page, whole)
    assert page.evaluate("document.documentElement.scrollWidth") == 320
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
