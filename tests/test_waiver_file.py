"""The file of waivers: taken as a whole or refused as a whole, with a message that says where, what and what to do."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.cells import guard
from audit.errors import WaiverFault
from audit.inventory.waivers import read_waivers
from audit.report.render import record
from audit.waiver import COLUMNS, Waiver

ID, OTHER = "f1260ebc-7d56-4b56-b714-dc919b27dbdf", "004498f4-b987-47c1-8c9c-26a813678d7a"
HEADER = "key_id,region,key_alias,rule,reason,approver,ticket,expires"
GOOD = f"{ID},,,C01,being replaced,A. Meier,SEC-7,2026-12-31"


def read(content, day="2026-11-24", clean=lambda text: text, warn=lambda _: None):
    """The waivers of these bytes, or of this text, on standard input."""
    content = content.encode() if isinstance(content, str) else content
    return read_waivers("-", day, clean=clean, warn=warn, stdin=io.BytesIO(content))


def refused(content):
    """The message with which a file is refused, from its line on."""
    with pytest.raises(WaiverFault) as fault:
        read(content)
    assert fault.value.exit_code == 2
    message = str(fault.value)
    assert message.startswith("standard input:")
    assert "\n" not in message
    return message.removeprefix("standard input:")


# What is taken ------------------------------------------------------------------------------------------------------


def test_a_file_states_waivers():
    """Every line is one waiver, with its line; ids are lowered, blanks and our apostrophe go, blank lines are none."""
    lines = [
        HEADER,
        f" {ID.upper()} ,,,C01,being replaced,A. Meier,SEC-7, 2026-12-31 ",
        "",
        " , ,,,,,,",
        ',cn-*,\'-legacy*,,"late, at last",宇宙,,2027-01-31',
    ]
    found = read("\n".join(lines))
    assert list(found.entries) == [
        Waiver(2, ID, "", "", "", "C01", "being replaced", "A. Meier", "SEC-7", "2026-12-31"),
        Waiver(5, "", "", "cn-*", "-legacy*", "", "late, at last", "宇宙", "", "2027-01-31"),
    ]
    assert (found.day, found.name, len(found.sha256)) == ("2026-11-24", "standard input", 64)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_file_is_read_as_an_inventory_is(delimiter, encoding, ending):
    """The same encodings, delimiters and line endings, and names of columns in any case with blanks around them."""
    said = []
    lines = [HEADER.replace("key_id", " Key_ID ").replace("rule", "RULE"), GOOD.replace("A. Meier", "财务部"), ""]
    content = ending.join(lines).replace(",", delimiter).encode(encoding)
    (found,) = read(content, warn=said.append).entries
    assert (found.line, found.key_id, found.approver, found.expires) == (2, ID, "财务部", "2026-12-31")
    assert len(said) == (encoding == "gb18030")


def test_a_header_alone_is_no_waiver_and_no_fault():
    """Nothing is waived, and the file is noted all the same."""
    for content in (HEADER, f"{HEADER}\n", f"{HEADER}\r\n\r\n ,,,,,,, \r\n"):
        found = read(content)
        assert found.entries == ()
        assert found.noted()["name"] == "standard input"


def test_a_secret_does_not_come_in():
    """What the scrubber knows is gone before anything is made of a cell, so that every digest agrees."""
    (found,) = read(f"{HEADER}\n{GOOD}", clean=lambda text: text.replace("SEC-7", "[redacted]")).entries
    assert found.ticket == "[redacted]"


plain = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).map(lambda text: f"x{text}")
stated = st.fixed_dictionaries({
    "key_id": st.sampled_from(["", ID, OTHER]), "account": plain, "region": plain, "key_alias": plain,
    "rule": st.sampled_from(["", "C01", "C02", "E08", "E09", "E10", "E11", "E12"]), "reason": plain, "approver": plain,
    "ticket": plain | st.just(""), "expires": st.dates().map(str),
}).map(lambda cells: {**cells, "key_alias": ""} if cells["key_id"] else cells)  # fmt: skip


@given(st.lists(stated, max_size=5, unique_by=lambda cells: tuple(cells.values())), st.permutations(COLUMNS))
def test_what_is_written_by_the_house_is_read_back(rows, columns):
    """Whatever stands in the cells, and in whatever order, a file of ours gives the same waivers."""
    lines = [record(columns), *(record([row[column] for column in columns]) for row in rows)]
    assert [dict(zip(COLUMNS, one.cells, strict=True)) for one in read("".join(lines)).entries] == rows


@given(st.text(max_size=200) | st.text("key_id,exprs;\"'\n\r\t20-", max_size=60).map(lambda text: f"{HEADER}\n{text}"))
def test_anything_is_taken_or_refused_in_words(content):
    """No text makes anything but waivers or a fault with line and column."""
    try:
        found = read(content.encode("utf-8", "replace"))
    except WaiverFault as fault:
        assert str(fault).startswith("standard input:")  # noqa: PT017  # either way is right
        assert str(fault).split(":")[1].isdigit()  # noqa: PT017
        assert str(fault).split(":")[2].isdigit()  # noqa: PT017
    else:
        assert all(one.reason and one.approver and one.expires and one.keys for one in found.entries)


# What is refused ----------------------------------------------------------------------------------------------------

NEVER = "cannot be waived: such a key can never rotate and is ineligible without a waiver; take this line out"
RULE = "is none of ours; write one of E08, E09, E10, E11, E12, C01, C02, or nothing for every finding"
DATE = "is no day; write YYYY-MM-DD, as in 2026-12-31"
WIDTH = 'the header has 8; put a text that holds "," into double quotes'
QUOTE = "a quote is not closed on this line; close it, and write a cell without line breaks"
PLAIN = "holds a control character; write plain text"
FAULTS = {
    "another form of the date": (GOOD.replace("2026-12-31", "31.12.2026"), f'2:74: expires "31.12.2026" {DATE}'),
    "a day that is not": (GOOD.replace("2026-12-31", "2026-02-30"), f'2:74: expires "2026-02-30" {DATE}'),
    "no date": (
        GOOD.replace("2026-12-31", " "),
        "2:74: expires is not stated; write the last day on which it counts, as in 2026-12-31",
    ),
    "no reason": (
        GOOD.replace("being replaced", ""),
        "2:44: reason is not stated; say why these keys are left as they are",
    ),
    "no approver": (GOOD.replace("A. Meier", '""'), "2:59: approver is not stated; name who approved it"),
    "a never rule": (GOOD.replace("C01", "E02"), f"2:40: rule E02 (has imported material) {NEVER}"),
    "an unknown rule": (GOOD.replace("C01", "C1"), f'2:40: rule "C1" {RULE}'),
    "a rule in lower case": (GOOD.replace("C01", "c01"), f'2:40: rule "c01" {RULE}'),
    "no key": (
        GOOD.replace(ID, ""),
        "2:1: names no key; state key_id, or a pattern in any of account, region, key_alias",
    ),
    "id and alias": (
        GOOD.replace(f"{ID},,", f"{ID},,app/*"),
        "2:39: key_alias is stated beside key_id, which names one key already; leave one of them empty",
    ),
    "no id": (
        GOOD.replace(ID, "f1260ebc-*"),
        (
            '2:1: key_id "f1260ebc-*" is no key id: 8-4-4-4-12 digits and letters a to z; a pattern belongs into '
            "key_alias, region or account"
        ),
    ),
    "a control character": (GOOD.replace("being replaced", '"be\ring"'), f'2:44: reason "be\\ring" {PLAIN}'),
    "one that is not ASCII": (GOOD.replace("SEC-7", "SEC\x857"), f'2:68: ticket "SEC\\x857" {PLAIN}'),
    "too few fields": (GOOD.replace(",SEC-7", ""), f"2:1: has 7 fields, {WIDTH}"),
    "too many fields": (GOOD.replace("A. Meier", "Meier, A."), f"2:1: has 9 fields, {WIDTH}"),
    "one field": (ID, f"2:1: has 1 field, {WIDTH}"),
    "an open quote": (GOOD.replace("being", '"being'), f"2:1: {QUOTE}"),
    "a line break": (
        GOOD.replace("being replaced", '"being\nreplaced"'),
        f"2:1: {QUOTE}; 1 more line is at fault",
    ),
    "text behind a quote": (
        GOOD.replace("being", '"being"x'),
        "2:1: text follows a closing quote; double a quote that belongs to the text",
    ),
    "the same twice": (f"{GOOD}\n{GOOD.replace(ID, ID.upper())}", "3:1: states the same as line 2; keep one of them"),
    "several": (
        "\n".join([GOOD, GOOD.replace("C01", "E01"), GOOD.replace(ID, ""), OTHER, f"{OTHER},,,,r,a,,2027-01-01"]),
        f"3:40: rule E01 (is a default key) {NEVER}; 2 more lines are at fault",
    ),
    "too long": (GOOD.replace("being", "b" * 70_000), "2:1: the line is longer than 65,536 characters; is it a CSV?"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_line_that_cannot_be_used_refuses_the_file(name):
    """The first line at fault is told with its cell and what to write, the others are counted."""
    lines, message = FAULTS[name]
    assert refused(f"{HEADER}\n{lines}\n") == message


LIST = ",".join(COLUMNS)
HEADERS = {
    "empty": ("", f"1:1: the file is empty; it needs at least a header: {LIST}"),
    "blank": (f"\n{GOOD}", f"1:1: the first line is blank; it must be the header: {LIST}"),
    "misspelt": (
        HEADER.replace("expires", "expiry"),
        '1:53: "expiry" is no column of a waiver; did you mean expires?',
    ),
    "misspelt behind a delimiter": (
        HEADER.replace("key_id", '"rea,son"'),
        '1:1: "rea,son" is no column of a waiver; did you mean reason?',
    ),
    "another": (
        HEADER.replace("ticket", "owner"),
        f'1:46: "owner" is no column of a waiver; the columns are {", ".join(COLUMNS)}',
    ),
    "nameless": (HEADER.replace("ticket", ""), f"1:46: column 7 has no name; the columns are {', '.join(COLUMNS)}"),
    "twice": (HEADER.replace("ticket", "Reason"), '1:46: column "reason" is there twice: 5 and 7; keep one'),
    "lacking": (
        HEADER.replace(",approver", ""),
        "1:1: no column approver in the header; add it, and in every line name who approved it",
    ),
    "no keys": (
        "rule,reason,approver,expires",
        "1:1: no column of the header says which keys; add key_id, or any of account, region, key_alias",
    ),
    "another file": (
        "name,price\nx,1",
        f'1:1: no column of a waiver in the header: the columns are "name, price"; write {LIST}',
    ),
    "an open quote": (
        '"key_id,reason',
        "1:1: the header cannot be read: a quote is not closed, or text follows a closing quote",
    ),
    "too long": ("x" * 70_000, "1:1: the line is longer than 65,536 characters; is it a CSV?"),
    "binary": (b"PK\x03\x04\x00\x00", "1:5: binary data (a NUL), not a CSV; save a spreadsheet as CSV UTF-8"),
    "no text": (
        f"{HEADER}\n".encode() + b"\xff\xff",
        "2:1: byte 0xFF is neither UTF-8 nor GB18030; save the file as UTF-8",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_what_is_no_file_of_waivers_is_refused(name):
    """A header that lacks a column, has one twice or one that is none of ours, and what is no text at all."""
    content, message = HEADERS[name]
    assert refused(content) == message


def test_a_path_that_leads_nowhere_is_told(tmp_path):
    """A missing file, a folder and a path that is none are told by their path, as the inventory's are."""

    def said(path):
        with pytest.raises(WaiverFault) as fault:
            read_waivers(str(path), "2026-11-24", clean=str, warn=print)
        return str(fault.value).removeprefix(f"{path}: ")

    assert said(tmp_path / "no.csv") == "no such file; check the path, or give - for standard input"
    assert said(tmp_path) == "this is a folder; give the CSV file in it"
    assert said("a\0b").startswith("a\\x00b: cannot be read (")


def test_a_cell_is_guarded_like_every_other():
    """A pattern that a spreadsheet would run is stated with an apostrophe, and comes without it."""
    (found,) = read(f"{HEADER}\n{GOOD.replace(ID + ',,', ',,' + guard('@home/*'))}").entries
    assert found.key_alias == "@home/*"
