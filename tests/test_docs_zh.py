"""The Chinese README says what the English one says: block by block, with the same commands, values, figures and links.

``pytest --update tests/test_docs_zh.py`` writes the generated tables anew, from the catalog of the reports.
"""

import re
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest

from audit.errors import EXIT_CODES, PRECEDENCE
from audit.outcome import ANOTHER_RUN, Outcome, exit_code
from audit.report.language import language
from audit.rules import RULES
from tests import test_docs
from tests.test_docs import CHINESE, README, anchors, rows, text

_PART = re.compile(
    r"^(?:(?P<code>```[\s\S]*?\n```|<!--[^\n]*)|(?P<told>[#|][^\n]*|[^\n]+(?:\n(?!- |\||#|```|<!--)[^\n]+)*))$",
    re.MULTILINE,
)
_HEADING = re.compile(r"(#+) (.*)")
_CODE = re.compile(r"`[^`]+`")
_LINK = re.compile(r"""(?:\]\(|src=")(?P<target>[^)"\s]+)[)"]""")
_FIGURE = re.compile(r"(?<![\w.])\d[\d,.]*(?<![,.])", re.ASCII)
_CELL = re.compile(r"(?<!\\)\|")
OTHER = {README: CHINESE.name, CHINESE: README.name}


# What is generated --------------------------------------------------------------------------------------------------


def say(told: str) -> str:
    return language("zh")(told)


def rules() -> str:
    told = ((r.id, say(r.kind.value), say(r.sentence), say(r.citation)) for r in RULES)
    return rows("| 编号 | 类别 | 密钥符合以下条件时匹配 | 依据 |", told)


def outcomes() -> str:
    told = (
        (f"`{outcome}`", say(outcome.meaning), str(exit_code({outcome: 1})), "是" if outcome in ANOTHER_RUN else "")
        for outcome in Outcome
    )
    return rows("| 结果 | 含义 | 退出码 | 列入 `failed.csv` |", told)


def exit_codes() -> str:
    told = rows("| 退出码 | 含义 |", ((str(code), say(meaning)) for code, meaning in EXIT_CODES))
    return f"{told}\n\n同时适用多个退出码时，取以下顺序中的第一个：{', '.join(map(str, PRECEDENCE))}。"


def regions() -> str:
    return test_docs.regions().replace("| Endpoint | Regions |", "| 终端节点 | 区域 |")


GENERATED: dict[str, Callable[[], str]] = {
    "rules": rules,
    "outcomes": outcomes,
    "exit codes": exit_codes,
    "regions": regions,
}


@pytest.mark.parametrize("block", GENERATED)
def test_a_generated_table_is_in_step(block: str, pytestconfig: pytest.Config) -> None:
    """A table that the program knows is word for word what the program says, in the words of the catalog."""
    generated = re.compile(rf"(?<=<!-- generated: {block} -->\n).*?(?=\n<!-- end -->)", re.DOTALL)
    if pytestconfig.getoption("--update"):
        CHINESE.write_text(generated.sub(lambda _: GENERATED[block](), text(CHINESE)), encoding="utf-8")
    assert generated.findall(text(CHINESE)) == [GENERATED[block]()]


def test_what_is_generated_in_english_is_generated_in_chinese() -> None:
    """Every generated block of the README has its Chinese one."""
    assert re.findall(r"<!-- generated: (.*?) -->", text(README)) == list(GENERATED)


# What is compared ---------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A paragraph, an item, a row of a table, a heading, a comment, or a block of code.

    ``kind``: with the level of a heading, the cells of a row, the text of what is not translated. ``values``: code in
    the text. ``links``: targets, one within the document as the number of its heading. ``bold``: ends of passages.
    """

    kind: str
    values: list[str]
    figures: list[str]
    links: list[str]
    bold: int


def blocks(path: Path) -> Iterator[tuple[Block, str]]:
    """The blocks of a document and their text, in order."""
    headings = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles(path)]
    for kind, told in parts(text(path)):
        prose = _CODE.sub("", told)
        targets = [found["target"] for found in _LINK.finditer(told)]
        links = [f"heading {headings.index(t[1:])}" if t.startswith("#") else t for t in targets]
        links = ["the other" if target == OTHER[path] else target for target in links]
        figures = _FIGURE.findall(_LINK.sub("", prose))
        yield Block(kind, sorted(_CODE.findall(told)), sorted(figures), sorted(links), told.count("**")), told


def titles(path: Path) -> list[str]:
    return [told for kind, told in parts(text(path)) if kind.startswith("heading")]


def parts(document: str) -> Iterator[tuple[str, str]]:
    """Kind and text of every block; of what is not translated, code and comments, the text is the kind."""
    for code, told in ((found["code"], found["told"]) for found in _PART.finditer(document)):
        if code:
            yield code, ""
        elif found := _HEADING.fullmatch(told):
            yield f"heading {len(found[1])}", found[2]
        elif told.startswith("|"):
            yield f"row of {len(_CELL.findall(told)) - 1}", told
        else:
            yield ("item" if told.startswith("- ") else "paragraph"), told


def test_the_two_readmes_are_in_step() -> None:
    """Headings, paragraphs, items, rows and code come in the same order, with the same values, figures and links."""
    ours, theirs = ([block for block, _ in blocks(path)] for path in (README, CHINESE))
    for number, (english, chinese) in enumerate(zip_longest(ours, theirs)):
        assert chinese == english, f"block {number}, after {ours[max(0, number - 3) : number]}"


def test_the_chinese_readme_is_in_chinese() -> None:
    """Every heading, paragraph and item holds Chinese, but for names and what is generated from data alone."""
    ideograph = re.compile("[\u4e00-\u9fff]")
    same = {"kms-rotation", "[English](README.md)"}
    told = [line for block, line in blocks(CHINESE) if line and not block.kind.startswith("row")]
    assert not [line for line in told if not ideograph.search(line) and line not in same]


def test_the_readmes_lead_to_each_other() -> None:
    """Whoever opens one finds the other in its first lines, and every link within the Chinese one leads somewhere."""
    assert f"({CHINESE.name})" in text(README)[:100]
    assert f"({README.name})" in text(CHINESE)[:100]
    assert {found["target"][1:] for found in _LINK.finditer(text(CHINESE)) if found["target"][0] == "#"} <= anchors(
        CHINESE
    )
    outside = {found["target"].partition("#")[0] for found in _LINK.finditer(text(CHINESE))}
    assert not [target for target in outside if "://" not in target and not (CHINESE.parent / target).exists()]
