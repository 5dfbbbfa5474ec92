"""Reports in other languages: every text has its translation, and what the ledger says in English is told in them.

``pytest tests/test_language.py --update`` brings the catalogs into step with the texts: new ones are added, to be
translated in the ``.po``, and those that are gone are dropped.
"""

import ast
import csv
import gettext
import html
import io
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import DEFAULT_KEYWORDS, extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2.ext import babel_extract

from audit.assess import load
from audit.conclude import conclude
from audit.errors import EXIT_CODES, GuardRefused, ReportFault
from audit.halt import Halt
from audit.inventory import Defaults, open_inventory
from audit.ledger import Ledger
from audit.model import Facts, Policy
from audit.outcome import Outcome
from audit.plan import guard
from audit.replay import Replay
from audit.report import controls, forms, render, view
from audit.report.language import ENGLISH, LANGUAGES, Language, language
from audit.reversal import Doubt, reversal
from audit.rules import RULES, Kind, judge
from audit.rundir import LEDGER, note_crash
from audit.scrub import Scrubber
from audit.verdict import Undecided, verdict_reason
from tests import test_conclude, test_inventory, test_outcome, test_replay, test_reversal, test_rules
from tests.command import Operator, results, rows
from tests.test_inventory import A, B

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "inventory.example.csv"
WAIVERS = ROOT / "waivers.example.csv"
WAIVED = ("--waivers", str(WAIVERS))
OTHERS = [code for code in LANGUAGES if code != "en"]
PYTHON = {"say": None, "_say": None, "counted": (1, 2), "gettext": None, "ngettext": (1, 2), "form": None}
JINJA = {
    "trimmed": "true",
    "newstyle_gettext": "true",
    "silent": "false",
    "trim_blocks": "true",
    "lstrip_blocks": "true",
}
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_KEPT = re.compile(r"%\(\w+\)s|%%|\{\w+\}|</?[a-z]+[^>]*>|&\w+;")


def po(code: str) -> Path:
    return ROOT / "reports" / "locale" / code / "LC_MESSAGES" / "messages.po"


# The catalogs -------------------------------------------------------------------------------------------------------


def texts() -> Iterator[tuple[str | tuple[str, ...], str]]:
    """Every text of a report, with the file that it stands in: of templates, of Python, and of the core's tables."""
    for path in sorted((ROOT / "reports" / "templates").glob("*.j2")):
        with path.open("rb") as file:
            found = list(extract(babel_extract, file, DEFAULT_KEYWORDS, (), JINJA))
        yield from ((text, path.relative_to(ROOT).as_posix()) for _, text, _, _ in found)
    for path in sorted((ROOT / "audit" / "report").rglob("*.py")):
        with path.open("rb") as file:
            found = list(extract("python", file, PYTHON))
        yield from ((text, path.relative_to(ROOT).as_posix()) for _, text, _, _ in found)
    for rule in RULES:
        yield from ((text, "audit/rules.py") for text in (rule.sentence, rule.citation))
    yield from ((kind.value, "audit/rules.py") for kind in Kind)
    yield from ((text, "audit/outcome.py") for outcome in Outcome for text in (outcome.words, outcome.meaning))
    yield from ((meaning, "audit/errors.py") for _, meaning in EXIT_CODES)


def wanted() -> Catalog:
    template = Catalog()
    for text, where in texts():
        template.add(text, locations=[(where, 0)])
    return template


def written(catalog: Catalog) -> bytes:
    file = io.BytesIO()
    write_po(file, catalog, width=120, include_lineno=False, ignore_obsolete=True)
    return re.sub(rb'"Generated-By: [^\n]*\n', b"", file.getvalue())  # the release of Babel is no matter of the text


@pytest.fixture(scope="module", params=OTHERS)
def code(request: pytest.FixtureRequest) -> str:
    """A language other than English; with ``--update`` its catalog is brought into step first."""
    path = po(request.param)
    if request.config.getoption("--update"):
        with path.open("rb") as file:
            catalog = read_po(file, locale=request.param)
        catalog.update(wanted(), no_fuzzy_matching=True, update_creation_date=False)
        catalog.obsolete.clear()
        path.write_bytes(written(catalog))
        with path.with_suffix(".mo").open("wb") as compiled:
            write_mo(compiled, catalog)
    return str(request.param)


@pytest.fixture
def catalog(code: str) -> Catalog:
    with po(code).open("rb") as file:
        return read_po(file, locale=code, abort_invalid=True)


@pytest.fixture
def say(code: str) -> Language:
    return language(code)


def many(text: object) -> tuple[str, ...]:
    """A message's forms."""
    return (text,) if isinstance(text, str) else tuple(text) if isinstance(text, list | tuple) else ()


def messages(catalog: Catalog) -> Iterator[Message]:
    return (message for message in catalog if message.id)


def test_every_text_is_in_the_catalog(catalog: Catalog) -> None:
    """The catalog has every text of the reports and no other; ``--update`` adds and drops."""
    there = {many(message.id) for message in messages(catalog)}
    needed = {many(message.id) for message in messages(wanted())}
    assert needed - there == set()
    assert there - needed == set()
    assert not catalog.obsolete


def test_every_text_is_translated(catalog: Catalog) -> None:
    """No text is left without its translation, or with one that was only guessed."""
    assert [m.id for m in messages(catalog) if m.fuzzy or not all(many(m.string)) or not many(m.string)] == []


def test_a_translation_keeps_placeholders_and_markup(catalog: Catalog) -> None:
    """Every translation has the values and the markup of its text, each as often, and is a proper format."""
    for message in messages(catalog):
        told = many(message.id)[-1]
        for translated in many(message.string):
            assert sorted(_KEPT.findall(translated)) == sorted(_KEPT.findall(told)), told
            assert translated.strip() == translated or told.strip() != told, told
        assert not list(message.check(catalog)), told


def test_a_text_is_written_where_it_is_said() -> None:
    """What ``say`` and ``say.counted`` are handed is the text itself: one in a variable would not be in the catalog."""
    for path in sorted((ROOT / "audit" / "report").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="counted"), args=[ast.Constant(), ast.Constant(), *_]):
                    pass
                case ast.Call(func=ast.Name(id="say" | "form") | ast.Attribute(attr="_say"), args=[ast.Constant(), *_]):
                    pass
                case ast.Call(func=ast.Attribute(attr="counted" | "_say") | ast.Name(id="say" | "form")):
                    pytest.fail(f"{path.name}:{node.lineno}: {ast.unparse(node)}")


def test_the_file_is_written_as_update_writes_it(code: str, catalog: Catalog) -> None:
    """Whoever translates sees in a difference nothing but what was translated."""
    assert po(code).read_bytes() == written(catalog)


def test_what_is_installed_is_the_catalog(catalog: Catalog, say: Language) -> None:
    """The compiled catalog is that of the checkout; ``make`` compiles it anew where the ``.po`` has changed."""
    for message in filter(lambda message: all(many(message.string)), messages(catalog)):
        one, *more = many(message.id)
        assert (say.ngettext(one, more[0], 2) if more else say.gettext(one)) == many(message.string)[0]


def test_a_language_writes_as_it_is_written(say: Language) -> None:
    """Texts come with their values; a number is told in figures; the empty text is empty, no header of a catalog."""
    assert say("") == say.gettext("") == say.recorded("") == ""
    assert say("rotation is off") != "rotation is off"
    assert "90" in say("rotates every %(days)s days, the policy allows %(limit)s", days=90, limit="30 %")
    assert "30 %" in say("rotates every %(days)s days, the policy allows %(limit)s", days=90, limit="30 %")
    assert say.counted("%(n)s none", "%(n)s such text", 1234) == "1,234 such text"
    assert say.tag == LANGUAGES[say.code]


def test_english_is_as_written() -> None:
    """English needs no catalog: a text is what it is, and so is what the ledger says."""
    assert language("en") is ENGLISH
    assert ENGLISH("%(n)s of them", n=3) == "3 of them"
    assert [ENGLISH.counted("%(n)s key", "%(n)s keys", n) for n in (0, 1, 2000)] == ["0 keys", "1 key", "2,000 keys"]
    assert ENGLISH.recorded("rotation is off; key is frozen") == "rotation is off; key is frozen"


def test_a_language_without_a_catalog_is_a_fault(tmp_path: Path) -> None:
    """A catalog that is missing or broken is named; nothing is told in English instead."""
    with pytest.raises(ReportFault, match=r"zh-CN: .*messages\.mo cannot be read \(No such file"):
        language("zh", tmp_path)
    broken = tmp_path / "zh" / "LC_MESSAGES" / "messages.mo"
    broken.parent.mkdir(parents=True)
    for content in (b"", b"msgid", b"\xde\x12\x04\x95" + b"\xff" * 24):
        broken.write_bytes(content)
        with pytest.raises(ReportFault, match="cannot be read"):
            language("zh", tmp_path)


# What the ledger says -----------------------------------------------------------------------------------------------

TECHNICAL = {
    # of the service and of protocols
    "KMS", "HMAC", "HTTP", "API", "ASCII", "JSON", "ID", "SIGINT", "SIGTERM", "list-keys", "kms-rotation",
    "apply", "ledger", "sqlite3",
    # options, fields and their values
    "max-changes", "max-failures", "max-new-versions", "require-complete", "region", "project-id", "account",
    "project_id", "key_id", "key_details", "key_info", "next_marker",
    "origin", "external", "default_key_flag", "key_alias", "keystore_id",
    "domain_id", "key_state", "key_spec", "key_rotation_enabled", "rotation_interval", "multi_region_key_type", "true",
    "false",
}  # fmt: skip


def english(told: str, *values: str) -> list[str]:
    """The words of English that are left in a text: what is neither technical, nor a value, nor holds a figure."""
    for value in sorted(values, key=len, reverse=True):
        told = told.replace(value, " ") if value else told
    words = re.findall(r"[A-Za-z][\w-]+", told, re.ASCII)
    return [word for word in words if word not in TECHNICAL and not any(map(str.isdigit, word))]


def reasons() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Sentences that the core makes, and the values in them."""
    for _, changed in test_rules.MATCHES:
        facts, policy = Facts.of(test_rules.GOOD | changed), Policy(365, None, test_rules.OURS)
        for finding in judge(facts, policy).findings:
            yield finding.evidence, tuple(facts)
    for verdict, _, _ in test_outcome.VERDICTS:
        if (reason := verdict_reason(verdict)) != "default key":  # made up, for the order of findings
            yield reason, ("mars", "KMS.0207", "being replaced", "Meier")
    yield verdict_reason(Undecided((), tuple(Facts._fields))), Facts._fields
    for _, history, run, _ in test_conclude.CASES:
        met = tuple(attempt.code for attempt in history.attempts)
        yield conclude(history, **{"begun": True, "ended": "", **run}).reason, met
    for before, steps, _ in test_reversal.CASES:
        if isinstance(change := reversal(before, steps), Doubt):
            yield f"not undone: {change.why}", ()
    yield "changed since that run: it rotates every 60 days, that run left it at 90 or 365", ()


SHAPED = {"column": "key_alias", "count": "12", "number": "20", "place": "acme/cn-north-4/0a3cd1"}


def test_every_form_keeps_its_values(say: Language) -> None:
    """Each form, filled in, is told in the other language, with each of its values and no word of English."""
    for text in forms.FORMS:
        values = {name: SHAPED.get(name, f"{n}0{n}") for n, name in enumerate(_PLACEHOLDER.findall(text), 1)}
        told = say.recorded(text % values if values else text)
        assert told == say(text, **values), text
        assert not english(told, *values.values()), told
        assert all(value in told for value in values.values()), text


def test_the_core_has_no_sentence_without_a_form(say: Language) -> None:
    """What rules, verdicts and endings of steps say is told without a word of English."""
    assert not [told for reason, values in reasons() if english(told := say.recorded(reason), *values)]


def test_what_the_core_says_in_its_tables_is_told(say: Language) -> None:
    """Rules with their sources, outcomes and exit codes are told as a whole, without a word of English."""
    rules = [text for rule in RULES for text in (rule.sentence, rule.citation, rule.kind.value)]
    outcomes = [text for outcome in Outcome for text in (outcome.words, outcome.meaning)]
    for text in [*rules, *outcomes, *(meaning for _, meaning in EXIT_CODES)]:
        told = say.recorded(text)
        assert told == say(text) != text
        assert not english(
            told, "DEW", "EnableKeyRotation", "UpdateKeyRotationInterval", "plan", "dry-run", "max-interval"
        )


CALLS = {
    **dict.fromkeys(("stop", "end_steps", "Interrupted", "RunStopped", "LedgerFault", "Unreadable"), 0),
    **dict.fromkeys(("Unread", "_changed"), 0),
    **dict.fromkeys(("give_up", "Ending"), 1),
}
"""What is handed a sentence that a ledger keeps, and as which of its arguments."""
SAYING = ("halt", "verify", "stages", "signals", "ledger", "walk", "undo", "kms/link", "kms/client", "kms/wire")


def sentences(path: Path) -> Iterator[str]:
    """What a module hands to whatever ends a run, a step or a place, or calls an answer unreadable; values as ``7``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        called = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
        for argument in node.args[CALLS[called] :][:1] if called in CALLS else ():
            match argument:
                case ast.Constant(value=str(text)):
                    yield text
                case ast.JoinedStr(values=parts):
                    yield "".join(map(filled, parts))


def filled(part: ast.expr) -> str:
    match part:
        case ast.Constant(value=str(text)):
            return text
        case ast.FormattedValue(value=ast.Name(id="minutes" as unit)):
            return f"7 {unit}"
        case ast.FormattedValue(value=ast.Attribute(attr="path") | ast.BinOp(right=ast.Name(id="LEDGER"))):
            return "7/ledger.sqlite3"
        case _:
            return "7"


def test_every_stop_has_a_form(say: Language) -> None:
    """Why a run, a step or a place ended, or an answer could not be read, is told without a word of English."""
    found = [text for stem in SAYING for text in sentences(ROOT / "audit" / f"{stem}.py")]
    assert len(found) >= 20
    assert not [text for text in found if english(say.recorded(text))]


def test_a_guard_and_a_crash_have_forms(say: Language, tmp_path: Path) -> None:
    """What a guard says, and what is said of an unforeseen error, is told without a word of English."""
    with pytest.raises(GuardRefused) as refused:
        guard(30, 100, "10%")
    crash = note_crash(tmp_path, ValueError("x"), Scrubber(()))
    assert not [told for told in map(say.recorded, (str(refused.value), str(crash))) if english(told, "ValueError")]


@pytest.mark.parametrize("what", test_replay.TAMPERING)
def test_a_broken_ledger_has_forms(what: str, say: Language, tmp_path: Path) -> None:
    """Where the chain of a ledger breaks, and what happened there, is told without a word of English."""
    db = sqlite3.connect(test_replay.written(tmp_path) / LEDGER)
    db.executescript("DROP TRIGGER events_stay; DROP TRIGGER events_are_kept; PRAGMA foreign_keys = OFF;")
    db.executescript(test_replay.TAMPERING[what])
    db.close()
    with Replay(tmp_path) as replay:
        fault = replay.proof().fault
    assert fault
    assert not english(say.recorded(fault))


FAULTY = [
    *(f'key_id,{"" if column == "key_id" else column}\n"{A}","{text}"\n' for column, text, _ in test_inventory.UNUSABLE
      if column != "key_id" and '"' not in text),
    "key_id,owner\nabc,x\n,x\n",
    f"key_id,owner\n{A}\n{B},a,b\n",
    f"key_id\n{A}\n{A.upper()}\n",
    f'key_id,owner\n{A},"open\n{B},b\n',
    f'key_id,owner\n{A},a\n{B},"open\n',
    f'key_id,owner\n{A},"x"y\n{B},a\rb\n',
    f"key_id,owner\n{A},{'x' * 70_000}\n",
    f"key_id,owner\n{A},\u5bc6\u94a5\n".encode("gb18030"),
]  # fmt: skip


def judged(inventory: str | bytes, folder: Path, *, live: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The reasons in a ledger, and the warnings, of an inventory; each with the values that it may hold."""
    file = folder / "keys.csv"
    file.write_bytes(inventory.encode() if isinstance(inventory, str) else inventory)
    with (
        Ledger(folder / LEDGER, lambda: "", Scrubber(()), create=True) as ledger,
        open_inventory(str(file), Defaults(), live=live) as opened,
    ):
        load(opened, ledger, Policy(), Halt(), live=live)
        found = ledger.db.execute("SELECT reason, cells FROM records").fetchall()
        yield from ((warning, (str(file),)) for warning in opened.warnings)
    yield from ((reason, (ascii(cells),)) for reason, cells in found)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("inventory", FAULTY, ids=range(len(FAULTY)))
def test_a_record_that_cannot_be_used_has_a_form(
    inventory: str | bytes, live: bool, say: Language, tmp_path: Path
) -> None:
    """Why a record was rejected, and what was changed or assumed, is told without a word of English."""
    found = list(judged(inventory, tmp_path, live=live))
    assert any(reason for reason, _ in found)
    for reason, values in found:
        told = say.recorded(reason)
        assert not english(re.sub('".*"', " ", told, flags=re.DOTALL), *values), told
        assert re.findall('".*"', reason) == re.findall('".*"', told)


def waived() -> set[str]:
    """What the example of waivers states."""
    with WAIVERS.open(encoding="utf-8", newline="") as file:
        return {cell for line in csv.reader(file) for cell in line if cell}


def test_a_rehearsal_has_forms(say: Language, operator: Operator) -> None:
    """What runs, waivers and a rollback record of the example is told without a word of English."""
    commands = (["check"], ["check", "--simulate"], ["plan", "--simulate", *WAIVED])
    runs = [operator.run(*command, EXAMPLE).directory for command in commands]
    changed = operator.run("remediate", "--simulate", "--yes", EXAMPLE).directory
    runs += [changed, *(operator.run("rollback", changed, "--yes").directory for _ in range(2))]
    for directory in runs:
        for row in rows(directory):
            values = {*row.values(), *waived()} - {row["reason"], ""}
            assert not english(say.recorded(row["reason"]), *values), row
        for warning in results(directory)["run"]["input"]["warnings"]:
            assert not english(say.recorded(warning), changed.name), warning


class Asked(gettext.NullTranslations):
    """A catalog that keeps what it was asked for."""

    def __init__(self, catalog: gettext.NullTranslations) -> None:
        super().__init__()
        self.catalog = catalog
        self.texts: set[tuple[str, ...]] = set()

    def gettext(self, message: str) -> str:
        self.texts.add((message,))
        return self.catalog.gettext(message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        self.texts.add((msgid1, msgid2))
        return self.catalog.ngettext(msgid1, msgid2, n)


def leaves(told: object) -> Iterator[str]:
    """Every text in nested data, names too."""
    match told:
        case dict():
            yield from (text for pair in told.items() for each in pair for text in leaves(each))
        case list() | tuple():
            yield from (text for each in told for text in leaves(each))
        case str():
            yield told


ON_THE_PAGE = {
    "SIMULATED", "kms-rotation", "SHA-256", "UTC", "DEW", "CTS", "Config", "kms-rotation-enabled", "cmk",
    "EnableKeyRotation", "UpdateKeyRotationInterval", "enableKeyRotation", "updateKeyRotationInterval",
    "disable-key-rotation", "rotate-on-demand", "rotateOnDemand", "enable", "set-interval", "check", "plan", "apply",
    "disable", "restore-interval", "rollback", "dry-run", "yes", "kms", "AWS", "Prowler", "CNY",
}  # fmt: skip


def test_a_page_has_no_english_left(catalog: Catalog, say: Language, operator: Operator, tmp_path: Path) -> None:
    """A whole report in another language has no word of English, and asks for no text that is not in the catalog."""
    earlier, check, plan = (
        operator.run(*command, EXAMPLE).directory
        for command in (["remediate", "--simulate", "--yes"], ["check", "--simulate"], ["plan", "--simulate", *WAIVED])
    )
    operator.run("apply", plan, "--yes")
    undone = operator.run("rollback", plan, "--yes").directory
    asked = Asked(say.catalog)
    tongue = Language(say.code, say.tag, asked)
    with Replay(earlier) as baseline, Replay(check) as first, Replay(plan) as second, Replay(undone) as third:
        runs = [first, second, third]
        records = [record for run in (baseline, *runs) for record in run.records()]
        noted = [baseline.about, *(run.about for run in runs)]
        values = {*leaves([noted, records])} - {*(record.reason for record in records), *Outcome}
        told = view.build(runs, report_id="r1", version="9", now="", say=tongue, baseline=baseline, price="1.5 CNY")
        (page,) = [path for path in render.write(told, tmp_path, {"html"}) if path.suffix == ".html"]
    unknown = asked.texts - {many(message.id) for message in messages(catalog)}
    assert not [texts for texts in unknown if say.recorded(texts[0]) == texts[0]]
    text = re.sub(r"<(style|script|code)[^>]*>.*?</\1>|<[^>]*>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    frameworks = [text for line in controls.lines(say) for text in (line.framework, line.id)]
    words = english(
        html.unescape(text),
        *frameworks,
        *(value for value in values if len(value) > 4 and not re.fullmatch("[A-Za-z]+", value)),
    )
    assert set(words) - ON_THE_PAGE - values == set()


@given(st.data())
def test_no_sentence_breaks_and_no_value_is_lost(data: st.DataObject) -> None:
    """Whatever fills a form, telling it never fails, and the values stand in what is told as they stood before."""
    say = language("zh")
    text = data.draw(st.sampled_from(forms.FORMS))
    values = {name: SHAPED.get(name) or data.draw(VALUES) for name in _PLACEHOLDER.findall(text)}
    told = say.recorded(text % values if values else text)
    assert all(value in told for value in values.values())


VALUES = st.text(min_size=1).filter(lambda text: text not in forms.FORMS)


OTHERS_SAID = [
    "HTTP 400 KMS.0101 the request cannot be read: bad; x (y)",
    "HTTP 403 KMS.0307 my key could not be read: see policy (7), when asked",
    "HTTP 400 X origin is not stated",
]


@pytest.mark.parametrize("words", OTHERS_SAID)
def test_what_kms_said_is_told_word_for_word(words: str, say: Language) -> None:
    """KMS's words stand in what is told as KMS said them, though they look like ours."""
    assert words in say.recorded(f"KMS refused: {words}")
    assert words in say.recorded(
        f"no answer on record and no read-back that shows a change; the last attempt met {words}"
    )


def test_a_waiver_tells_its_findings(say: Language) -> None:
    """What a waiver waives is told finding by finding, whatever commas stand in them."""
    found = ["C02 (rotates every 400 days, the policy allows 365)", "what is not stated (origin, key_spec)"]
    told = say.recorded(f"waives E08 (key is disabled), {', '.join(found)}")
    assert not english(told)
    parts = ("key is disabled", "rotates every 400 days, the policy allows 365", found[1])
    assert all(say.recorded(part) in told for part in parts)


@given(st.text(st.sampled_from("ab;: %(),"), max_size=60) | st.text())
@example("; ")
@example("; ; key is frozen")
@example("%(why)s")
@example("list-keys: " * 60)
@example("KMS refused: a; b; " * 60)
def test_what_has_no_form_is_told_as_it_is(text: str) -> None:
    """A server's own words are told unchanged, whatever they are, alone and behind what has a form."""
    say = language("zh")
    known = say.recorded("rotation is off")
    if say.gettext(text) == text and not any(piece in forms.FORMS for piece in text.split("; ")) and ": " not in text:
        assert say.recorded(text) == text
        assert say.recorded(f"rotation is off; {text}") == f"{known}; {text}"
    assert isinstance(say.recorded(text), str)


# The option ---------------------------------------------------------------------------------------------------------


def tag(directory: Path) -> str:
    """The language that report.html says it is in."""
    (found,) = re.findall(r'<html lang="([\w-]+)">', (directory / "report.html").read_text(encoding="utf-8"))
    return str(found)


@pytest.mark.parametrize(
    "command", [["check"], ["plan", "--simulate"], ["remediate", "--simulate", "--yes"]], ids=lambda command: command[0]
)
def test_a_run_reports_in_the_language_asked_for(command: list[str], operator: Operator) -> None:
    """Whatever begins a run writes report.html in the language of ``--lang``, and notes that it was asked to."""
    ended = operator.run(*command, EXAMPLE, "--lang", "zh")
    assert tag(ended.directory) == "zh-CN"
    assert results(ended.directory)["arguments"]["lang"] == "zh"


def test_the_language_is_given_anew(operator: Operator) -> None:
    """``apply`` and ``report`` write in the language that they are given themselves, by option or variable."""
    run = operator.run("plan", "--simulate", EXAMPLE, "--lang", "zh").directory
    operator.run("apply", run, "--yes")
    assert tag(run) == "en"
    assert tag(operator.run("report", run, KMS_ROTATION_LANG="zh").directory) == "zh-CN"


def test_data_is_the_same_in_every_language(operator: Operator) -> None:
    """CSV, JSON and what standard error says are in English, whatever the language of report.html."""
    run = operator.run("plan", "--simulate", EXAMPLE).directory
    applied = operator.run("apply", run, "--yes", "--lang", "zh")
    ours, theirs = (operator.run("report", run, "--lang", code) for code in ("en", "zh"))
    assert [tag(directory) for directory in (run, ours.directory, theirs.directory)] == ["zh-CN", "en", "zh-CN"]
    for name in ("report.csv", "failed.csv"):
        assert (ours.directory / name).read_bytes() == (theirs.directory / name).read_bytes()
        assert (ours.directory / name).read_bytes() == (run / name).read_bytes()
    told = [results(ended.directory) | {"run": {}} for ended in (ours, theirs)]
    assert told[0] == told[1]
    said = [ended.stderr.replace(ended.directory.name, "").split() for ended in (ours, theirs)]
    assert said[0] == said[1]
    assert (applied.stderr + theirs.stderr).isascii()


def test_a_template_of_ones_own_is_told_the_language(operator: Operator) -> None:
    """Templates of the user's own have the language at hand: its tag, its texts, and what the ledger says in it."""
    (operator.home / "own").mkdir()
    content = "{{ view.say.tag }}|{{ _('key is frozen') }}|{{ view.say.recorded('key is frozen; <b>') }}"
    operator.write("own/report.html.j2", content)
    run = operator.run("check", EXAMPLE).directory
    ended = operator.run("report", run, "--templates", "own", "--lang", "zh")
    frozen = language("zh").gettext("key is frozen")
    assert (ended.directory / "report.html").read_text(encoding="utf-8") == f"zh-CN|{frozen}|{frozen}; &lt;b&gt;"


def test_an_unknown_language_is_a_usage_error(operator: Operator) -> None:
    """A language that reports are not written in ends the command before it begins, with the ones that there are."""
    ended = operator.run("check", EXAMPLE, "--lang", "fr")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "'en', 'zh'" in ended.stderr
