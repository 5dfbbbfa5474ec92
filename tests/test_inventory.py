"""What an inventory may look like, what is made of each of its records, and what is no inventory at all."""

import hashlib
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from audit.errors import InventoryFault, UsageFault
from audit.inventory import KNOWN_COLUMNS, Defaults, extra_columns, open_inventory, stated_facts
from audit.model import Facts, Key, Place, Policy, RejectedRecord
from audit.rules import RULES, judge
from audit.verdict import Blocked, Compliant, Eligible, Ineligible, Undecided

EXAMPLE = Path(__file__).parent.parent / "inventory.example.csv"
NOTHING = Defaults()
A, B, C = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "abc")
PROJECT = "0123456789abcdef0123456789abcdef"
OURS = "8f2a64d1c07b4e3f9a5512d0b6e7c893"
FULL_WIDTH_1 = "\uff11"


class Read:
    """An inventory, read to its end."""

    def __init__(self, source, defaults=NOTHING, *, live=False, stdin=None):
        with open_inventory(str(source), defaults, live=live, stdin=stdin) as self.inventory:
            self.chunks = list(self.inventory.chunks())
        self.records = [record for chunk in self.chunks for record in chunk]
        self.keys = [record for record in self.records if isinstance(record, Key)]
        self.rejected = [record for record in self.records if isinstance(record, RejectedRecord)]

    @property
    def why(self):
        return [(record.line, record.column, record.why) for record in self.rejected]


@pytest.fixture
def csv_file(tmp_path, monkeypatch):
    """Write ``keys.csv`` and stand beside it, so that messages begin with ``keys.csv``."""
    monkeypatch.chdir(tmp_path)

    def write(content, encoding="utf-8"):
        Path("keys.csv").write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return "keys.csv"

    return write


@pytest.fixture
def read(csv_file):
    def read(content, defaults=NOTHING, *, live=False, encoding="utf-8"):
        return Read(csv_file(content, encoding), defaults, live=live)

    return read


# What is read --------------------------------------------------------------------------------------------------------


def test_a_record_becomes_a_key_in_its_place(read):
    """A usable record yields its key with line, place, facts and cells."""
    found = read(f"key_id,region,project_id,key_spec,owner\n{A},cn-north-4,{PROJECT},aes_256,Ann\n")
    cells = (A, "cn-north-4", PROJECT, "aes_256", "Ann")
    assert found.records == [Key(2, Place("", "cn-north-4", PROJECT), A, Facts(key_spec="AES_256"), cells)]
    assert found.inventory.columns == ("key_id", "region", "project_id", "key_spec", "owner")


@pytest.mark.parametrize("text", ["030", "NA", "null", "nan", "None", "00123", "1e5", "True", "-inf", "n/a", "1,5"])
def test_a_text_stays_what_it_is(read, text):
    """Nothing is taken for a number, a date or a missing value."""
    found = read(f'key_id,key_alias,owner\n{A},"{text}","{text}"\n{B},x,y\n')
    assert found.records[0].cells == (A, text, text)
    assert found.records[0].facts.key_alias == text


def test_an_empty_cell_states_nothing(read):
    """An empty cell, a blank one and a column that is not there are all the same: not stated."""
    found = read(f"key_id,key_alias,origin\n{A},,  \n")
    assert found.keys[0].facts == Facts()
    assert found.keys[0].cells == (A, "", "")


def test_blanks_around_a_value_go(read):
    """Blanks of every kind around a value are taken away, those within it stay."""
    found = read(f'key_id,key_alias,owner\n  {A}\t," a  b ",\u3000Ann\u00a0\n')
    assert found.keys[0].cells == (A, "a  b", "Ann")


def test_our_own_apostrophe_goes(read):
    """One apostrophe before a formula sign is taken away, after the blanks; any other stays."""
    found = read(f"key_id,key_alias,owner\n{A}, '-old ,''=x\n{B},'tis,-5\n")
    assert [key.cells[1:] for key in found.keys] == [("-old", "'=x"), ("'tis", "-5")]


def test_canonical_forms_do_not_touch_the_cells(read):
    """Facts are in the API's own terms, the cells as stated."""
    found = read(f"key_id,default_key_flag,key_rotation_enabled,rotation_interval\n{A},FALSE,1,0090\n")
    facts = Facts(default_key_flag="0", key_rotation_enabled="true", rotation_interval="90")
    assert found.keys[0].facts == facts
    assert found.keys[0].cells == (A, "FALSE", "1", "0090")
    assert stated_facts(found.inventory.columns, found.keys[0].cells) == facts


def test_facts_of_a_short_record_are_those_it_states():
    """The cells of a rejected record may be fewer than the columns."""
    assert stated_facts(("key_id", "key_alias", "origin"), (A, "x")) == Facts(key_alias="x")


def test_an_upper_case_key_id_is_lowered_and_noted(read):
    """KMS writes key ids in lower case; what was changed is said, and the cell stays as stated."""
    (key,) = read(f"key_id\n{A.upper()}\n").keys
    assert (key.key_id, key.note, key.cells) == (A, "key_id lowered from upper case", (A.upper(),))
    assert read(f"key_id\n{A}\n").keys[0].note == ""


def test_lines_are_physical_lines(read):
    """A record's line is the one on which it begins, after quoted line breaks of both kinds and blank lines."""
    found = read(f'key_id,owner\r\n{A},"two\r\nlines"\r\n\r\n{B},"three\nmore\nlines"\n{C},x\n')
    assert [(key.line, key.key_id) for key in found.keys] == [(2, A), (5, B), (8, C)]
    assert [key.cells[1] for key in found.keys] == ["two\r\nlines", "three\nmore\nlines", "x"]


def test_blank_lines_are_counted_and_are_no_records(read):
    """Lines of nothing but blanks and delimiters are counted, however many delimiters they have."""
    found = read(f"key_id,owner\n\n{A},x\n  \n,\n , , , \n\t\n{B},y\n\n")
    assert [key.line for key in found.keys] == [3, 8]
    assert (found.inventory.blank_lines, found.rejected) == (6, [])


def test_a_last_line_without_line_end_is_read(read):
    """The last record needs no line end."""
    assert read(f"key_id,owner\n{A},x").keys[0].cells == (A, "x")


def test_the_hash_is_that_of_the_bytes(read):
    """The SHA-256 is that of the file as it is, with BOM and CRLF."""
    content = b"\xef\xbb\xbfkey_id\r\n" + A.encode() + b"\r\n"
    assert read(content).inventory.sha256 == hashlib.sha256(content).hexdigest()


# The header ----------------------------------------------------------------------------------------------------------


def test_header_names_are_matched_without_case_and_blanks(read):
    """The API's own columns get their own spelling, all others keep theirs."""
    found = read(f" Key_ID ,REGION,Cost Center , owner\n{A},cn-north-4,7,Ann\n")
    assert found.inventory.columns == ("key_id", "region", "Cost Center", "owner")
    assert extra_columns(found.inventory.columns) == ((2, "Cost Center"), (3, "owner"))
    assert found.keys[0].place.region == "cn-north-4"


def test_a_nameless_column_gets_a_name(read):
    """A header cell without a name is named for its position, so that its values are kept."""
    found = read(f"key_id,, \n{A},x,y\n")
    assert found.inventory.columns == ("key_id", "column_2", "column_3")
    assert found.keys[0].cells == (A, "x", "y")


def test_a_guarded_header_name_is_read_back(read):
    """A column whose name a spreadsheet would run has its apostrophe taken away too."""
    assert read(f"key_id,'-note\n{A},x\n").inventory.columns == ("key_id", "-note")


def test_all_known_columns_are_known():
    """The API's field names are those of the contract, in its order, and none of them is an extra."""
    assert KNOWN_COLUMNS[:5] == ("key_id", "account", "region", "project_id", "key_alias")
    assert len(KNOWN_COLUMNS) == 17
    assert extra_columns(KNOWN_COLUMNS) == ()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_the_one_that_gives_a_key_id(read, delimiter):
    """Comma, semicolon and tab are told apart by the header; the other two may stand in cells."""
    others = ",;\t".replace(delimiter, "")
    found = read(f"owner{delimiter}key_id\na{others}b{delimiter}{A}\n")
    assert found.keys[0].cells == (f"a{others}b", A)
    assert found.inventory.delimiter == delimiter


def test_of_two_delimiters_the_one_with_more_columns_counts(read):
    """A header that gives key_id either way is read with the delimiter that gives more columns."""
    found = read(f"key_id;a,b;c\n{A};x,y;z\n{B};x;z\n")
    assert found.inventory.columns == ("key_id", "a,b", "c")
    assert [key.cells for key in found.keys] == [(A, "x,y", "z"), (B, "x", "z")]


def test_one_column_is_enough(read):
    """A bare list of key ids is an inventory."""
    assert [key.key_id for key in read(f"key_id\n{A}\n{B}\n").keys] == [A, B]


# Encodings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "bom", "label"),
    [
        ("utf-8", b"", "UTF-8"),
        ("utf-8-sig", b"", "UTF-8"),
        ("utf-16-le", b"\xff\xfe", "UTF-16"),
        ("utf-16-be", b"\xfe\xff", "UTF-16"),
        ("gb18030", b"", "GB18030"),
        ("gb18030", "\ufeff".encode("gb18030"), "GB18030"),
    ],
)
def test_an_encoding_is_recognised(read, encoding, bom, label):
    """What Excel and others write is read alike, with or without its byte order mark."""
    found = read(bom + f"key_id\towner\r\n{A}\t财务部\r\n".encode(encoding))
    assert found.keys[0].cells == (A, "财务部")
    assert found.inventory.encoding == label
    assert bool(found.inventory.warnings) == (label == "GB18030")


def test_gb18030_is_said(read):
    """What is not UTF-8 is never read as GB18030 in silence, for that also takes Latin-1 for Chinese."""
    found = read(f"key_id,owner\n{A},x\n{B},Müller\n".encode("latin-1"))
    assert found.keys[1].cells[1] == "M黮ler"
    assert found.inventory.warnings == [
        "keys.csv: read as GB18030, because line 3 is not UTF-8; if names look wrong, save it as UTF-8"
    ]


def test_a_byte_order_mark_is_taken_from_the_beginning_only(read):
    """U+FEFF is a mark at the beginning of the file, and text anywhere else."""
    assert read(f"\ufeffkey_id,owner\n{A},\ufeffx\n").keys[0].cells == (A, "\ufeffx")


@pytest.mark.parametrize("before", [1, 2, 3])
def test_a_character_may_lie_across_two_blocks(read, before):
    """The file is decoded in blocks of 1 MiB, and a character across their border is whole."""
    text = "key_id,owner\n" + "".join(f"{number:08x}-1111-4111-8111-111111111111,x\n" for number in range(26_000))
    text += f"{A},"
    text += "x" * ((1 << 20) - before - len(text))
    found = read(f"{text}部门\n{B},y\n")
    assert found.keys[-2].cells[1].endswith("x部门")
    assert found.keys[-1].line == 26_003


# Records that cannot be used -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cells", "count"), [("x", 2), ("x,y,z", 4)])
def test_a_wrong_number_of_fields_moves_nothing(read, cells, count):
    """Short and long records are rejected, with their cells as they are, and the others stay in their columns."""
    found = read(f"key_id,region,owner\n{A},cn-north-4,a\n{B}, {cells}\n{C},cn-north-4,c\n")
    assert [key.cells for key in found.keys] == [(A, "cn-north-4", "a"), (C, "cn-north-4", "c")]
    assert found.why == [(3, "", f"has {count} fields, the header has 3")]
    assert found.rejected[0].cells == (B, *cells.split(","))


def test_one_field_is_one_field(read):
    """A record without any delimiter is said to have one field."""
    assert read(f"key_id,owner\n{A}\n").why == [(2, "", "has 1 field, the header has 2")]


@pytest.mark.parametrize("extra", [",z", ","])
def test_one_field_too_many_in_all_records_moves_nothing(read, extra):
    """Where every record has one field too many, no column becomes an index and no value moves: all are rejected."""
    found = read(f"key_id,region\n{A},cn-north-4{extra}\n{B},cn-north-4{extra}\n")
    assert found.why == [(2, "", "has 3 fields, the header has 2"), (3, "", "has 3 fields, the header has 2")]
    assert not found.keys


UNUSABLE = [
    ("key_id", "", "key_id is not stated"),
    ("key_id", "abc", 'key_id "abc" is no key id: 8-4-4-4-12 digits and letters a to z'),
    ("key_id", A[:-1] + FULL_WIDTH_1, FULL_WIDTH_1),
    ("key_id", A[:-1] + "\u212a", "\u212a"),
    ("key_id", A[:9] + "\u200b" + A[9:], "\\u200b"),
    ("key_id", "\u202e" + A, "\\u202e"),
    ("region", "evil.example/#", 'region "evil.example/#" is no region: lower-case words and numbers'),
    ("region", "cn-north-4.evil", "evil"),
    ("region", "CN-NORTH-4", "CN-NORTH-4"),
    ("region", "cn", "cn"),
    ("region", "cn-north-" + FULL_WIDTH_1, FULL_WIDTH_1),
    ("region", "cn-north-4\ncn-north-4", "cn-north-4\\ncn-north-4"),
    ("project_id", f"{PROJECT}/kms/disable-key-rotation?x=", f'"{PROJECT}/kms/disable-key-rotation?x=" is no'),
    ("project_id", "../v1", "../v1"),
    ("project_id", "p" * 65, "1 to 64"),
    ("project_id", "项目", "项目"),
    ("account", "a\tb", 'account "a\\tb" is no account: text without control characters'),
    ("account", "a\nb", "a\\nb"),
    ("account", "a\u2028b", "a\\u2028b"),
    ("default_key_flag", "yes", 'default_key_flag "yes" is neither true nor false: true, false, 1 or 0'),
    ("default_key_flag", FULL_WIDTH_1, FULL_WIDTH_1),
    ("key_rotation_enabled", "2", 'key_rotation_enabled "2" is neither true nor false'),
    ("key_rotation_enabled", "false\n.", "false\\n."),
    ("rotation_interval", "90 days", 'rotation_interval "90 days" is no number of days: 1 to 9 digits'),
    ("rotation_interval", "-90", '"-90"'),
    ("rotation_interval", FULL_WIDTH_1, FULL_WIDTH_1),
    ("rotation_interval", "9" * 5000, "9" * 79 + '…"'),
]


@pytest.mark.parametrize(("column", "text", "why"), UNUSABLE)
def test_a_record_with_an_unusable_value_is_rejected(read, column, text, why):
    """A value outside its allowed form rejects the record, names the column, and shows the value on one short line."""
    row = {"key_id": A, "region": "cn-north-4", column: text}
    header = ",".join(row)
    cells = ",".join(f'"{cell}"' for cell in row.values())
    found = read(f"{header},owner\n{cells},x\n{B},{',' * (len(row) - 1)}y\n")
    (rejected,) = found.rejected
    assert (rejected.line, rejected.column) == (2, column)
    assert why in rejected.why
    assert rejected.why.isprintable()
    assert len(rejected.why) < 250
    assert [key.key_id for key in found.keys] == [B]


def test_a_line_end_after_a_value_is_a_blank(read):
    """A quoted line end after a value is a blank like others, and never ends up in a URL."""
    found = read(f'key_id,region\n"{A}\n","cn-north-4\r\n"\n')
    assert found.keys[0].key_id == A
    assert found.keys[0].place.region == "cn-north-4"


def test_the_first_fault_is_told(read):
    """A record with many faults is one rejected record, and the identity comes first."""
    row = "x,evil.example/#,a/b,maybe,maybe,soon\n"
    found = read("rotation_interval,default_key_flag,project_id,region,key_id\nsoon,maybe,a/b,C,x\n" + row)
    assert found.why[0][:2] == (2, "key_id")
    assert found.why[1] == (3, "", "has 6 fields, the header has 5")
    found = read(f"rotation_interval,key_id,default_key_flag,region\nsoon,{A},maybe,\nsoon,{B},maybe,C\n", live=True)
    assert [column for _, column, _ in found.why] == ["default_key_flag", "region"]


@pytest.mark.parametrize("text", ["true", "FALSE", "1", "0", "True"])
def test_flags_in_any_case_are_flags(read, text):
    """A flag is true, false, 1 or 0, in any case."""
    assert len(read(f"key_id,default_key_flag,key_rotation_enabled\n{A},{text},{text}\n").keys) == 1


def test_a_key_stated_twice_is_one_key(read):
    """A second record of the same key in the same place is rejected and names the line of the first."""
    found = read(f"key_id,region\n{A},cn-north-4\n{B},cn-north-4\n{A.upper()},cn-north-4\n{A},cn-north-4\n")
    assert [key.line for key in found.keys] == [2, 3]
    assert [(line, why) for line, _, why in found.why] == [(4, "duplicate of line 2"), (5, "duplicate of line 2")]


def test_the_same_key_elsewhere_is_another_key(read):
    """A key id in another region or project is no duplicate; a default counts as if it were stated."""
    found = read(
        f"key_id,region,project_id\n{A},cn-north-4,p1\n{A},cn-north-4,p2\n{A},cn-north-1,p1\n{A},,p1\n",
        Defaults(region="cn-north-4"),
    )
    assert [key.line for key in found.keys] == [2, 3, 4]
    assert found.why == [(5, "key_id", "duplicate of line 2")]


def test_a_rejected_record_is_no_first(read):
    """Only a usable record can be the first of a duplicate."""
    found = read(f"key_id,rotation_interval\n{A},soon\n{A},90\n{A},90\n")
    assert [key.line for key in found.keys] == [3]
    assert found.why[1] == (4, "key_id", "duplicate of line 3")


# Quotes --------------------------------------------------------------------------------------------------------------


def test_a_quote_that_is_never_closed_swallows_nothing(read):
    """The record with the open quote is rejected; all that follow are read."""
    found = read(f'key_id,owner\n{A},"open\n{B},b\n{C},c\n')
    assert [key.line for key in found.keys] == [3, 4]
    assert found.rejected == [RejectedRecord(2, "", "a quote is not closed before the next record", (f'{A},"open',))]


def test_a_quote_in_the_last_record_is_told(read):
    """A quote that is still open at the end of the file rejects the record that opened it."""
    found = read(f'key_id,owner\n{A},a\n{B},"open\n')
    assert found.why == [(3, "", "a quote is never closed")]
    assert [key.key_id for key in found.keys] == [A]


def test_a_quote_that_is_closed_records_later_swallows_nothing(read):
    """Two stray quotes that happen to pair up do not make one cell of the records between them."""
    found = read(f'key_id,owner\n{A},"open\n{B},b\n{C},closed"\n')
    assert [(key.line, key.cells[1]) for key in found.keys] == [(3, "b"), (4, 'closed"')]
    assert found.why == [(2, "", "a quote is not closed before the next record")]


@pytest.mark.parametrize("first", ["owner,key_id", "key_id,owner"])
def test_a_swallowed_record_is_seen_wherever_its_key_id_stands(read, first):
    """Also where the quote is closed directly behind the key id of the swallowed record."""
    rows = [("open", A), ("closed", B)]
    lines = [",".join(row if first == "owner,key_id" else row[::-1]) for row in rows]
    found = read(f'{first}\n"{lines[0]}\n{lines[1]}"\n')
    assert found.rejected[0].line == 2
    assert [record.line for record in found.records] == [2, 3]


def test_text_behind_a_closing_quote_is_told(read):
    """``"x"y`` is not xy: the record is rejected, with what to do about it."""
    found = read(f'key_id,owner\n{A},"x"y\n{B},"say ""hi"""\n')
    assert found.why == [(2, "", "text follows a closing quote; double a quote that belongs to the text")]
    assert found.keys[0].cells == (B, 'say "hi"')


def test_a_quote_within_a_cell_is_text(read):
    """A quote that does not begin a cell is part of it, and opens nothing."""
    assert read(f'key_id,owner\n{A},5" disk\n').keys[0].cells == (A, '5" disk')


def test_a_carriage_return_within_a_line_is_told(read):
    """A lone carriage return is neither a line end nor a part of a cell without quotes."""
    found = read(f'key_id,owner\n{A},a\rb\n{B},"a\rb"\n')
    assert found.why == [(2, "", "a carriage return stands in the middle of the line")]
    assert (found.keys[0].line, found.keys[0].cells) == (3, (B, "a\rb"))


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_record_that_is_too_large_is_rejected(read, quote):
    """A record beyond 65,536 characters is rejected, cut short, and the next one is read."""
    found = read(f"key_id,owner\n{A},{quote}{'x' * 200_000}{quote}\n{B},{quote}{'x' * 65_000}{quote}\n")
    assert found.why == [(2, "", "more than 65,536 characters or 1,000 lines; is a quote never closed?")]
    assert len(found.rejected[0].cells[0]) == 65_537
    assert [key.line for key in found.keys] == [3]


def test_a_cell_of_many_lines_is_read_up_to_a_bound(read):
    """A quoted cell of 900 lines is one cell; of 1,001 lines it is more likely a quote that should not be open."""
    line = "x\n"
    found = read(f'key_id,owner\n{A},"{line * 900}"\n{B},"{line * 1001}"\n')
    assert [(key.line, key.cells[1].count("x")) for key in found.keys] == [(2, 900)]
    assert found.why[0] == (903, "", "more than 65,536 characters or 1,000 lines; is a quote never closed?")
    assert found.why[1] == (904, "", "has 1 field, the header has 2")


def test_a_note_may_name_other_keys(read):
    """A line within a cell that is no whole record, though a key id stands in it, is part of that cell."""
    found = read(f'key_id,region,owner\n{A},cn-north-4,"replaces\n{B}\n{C}, too"\n')
    assert [key.cells[2] for key in found.keys] == [f"replaces\n{B}\n{C}, too"]
    assert found.rejected == []


def test_an_open_quote_costs_its_bound_and_no_more(read):
    """Lines that all leave a quote open, each in a new way, are rejected one by one."""
    found = read("key_id,owner\n" + 'a","\n' * 1500 + f"{A},x\n")
    assert [record.line for record in found.records] == list(range(2, 1503))
    assert [key.line for key in found.keys] == [1502]


# Defaults and the account --------------------------------------------------------------------------------------------


def test_defaults_are_for_records_that_do_not_state_them(read):
    """A stated region or project wins, record by record, and the cells stay as stated."""
    defaults = Defaults("acme", "cn-north-1", "p0")
    found = read(f"key_id,region,project_id\n{A},,\n{B},cn-north-4,p1\n", defaults)
    assert [key.place for key in found.keys] == [Place("acme", "cn-north-1", "p0"), Place("acme", "cn-north-4", "p1")]
    assert found.keys[0].cells == (A, "", "")
    assert read(f"key_id\n{A}\n", defaults).keys[0].place == Place("acme", "cn-north-1", "p0")


def test_where_kms_is_read_a_record_needs_a_place(read):
    """Without a region or a project, stated or given, KMS cannot be asked; offline it need not be."""
    content = f"key_id,region\n{A},\n{B},cn-north-4\n"
    found = read(content, live=True)
    assert found.why == [
        (2, "region", "region is not stated; state it, or give --region"),
        (3, "project_id", "project_id is not stated; state it, or give --project-id"),
    ]
    assert len(read(content).keys) == 2
    assert len(read(content, Defaults(region="cn-north-4", project_id="p"), live=True).keys) == 2


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        (
            Defaults(region="evil.example/#"),
            '--region: "evil.example/#" is no region: lower-case words and numbers joined by hyphens, as in cn-north-4',
        ),
        (Defaults(project_id="a/b"), '--project-id: "a/b" is no project id: 1 to 64 ASCII letters, digits, _ and -'),
        (Defaults(region="cn-north-4\n"), None),
        (Defaults(account="a\tb"), '--account: "a\\tb" is no account: text without control characters'),
        (Defaults(account="\udcff"), None),
    ],
)
def test_a_default_is_checked_as_a_cell_is(csv_file, defaults, message):
    """An option or a variable cannot choose a host or a path either."""
    with pytest.raises(UsageFault) as fault:
        open_inventory(csv_file(f"key_id\n{A}\n"), defaults, live=False)
    assert message is None or str(fault.value) == message


def test_the_stated_account_is_that_of_all_records(read):
    """A record that does not state the account gets the one that others state, before or after it."""
    found = read(f"key_id,account\n{A},\n{B}, acme \n{C},acme\n{A},acme\n")
    assert found.inventory.account == "acme"
    assert [key.place.account for key in found.keys] == ["acme"] * 3
    assert found.why == [(5, "key_id", "duplicate of line 2")]


def test_the_account_may_be_named_nowhere(read):
    """Without a stated account the default counts, and without that none."""
    assert read(f"key_id,account\n{A},\n").inventory.account == ""
    assert read(f"key_id,account\n{A},\n", Defaults(account="acme")).inventory.account == "acme"
    assert read(f"key_id,account\n{A},acme\n", Defaults(account="acme")).keys[0].place.account == "acme"


def test_two_accounts_are_no_inventory_for_one_set_of_credentials(csv_file):
    """Two stated accounts end the run, naming both and their lines; a record that cannot be read states nothing."""
    source = csv_file(f'key_id,account\n{A},acme\nx,y,z\n"x"y,zzz\n{B},a\tb\n{C},other\n')
    with pytest.raises(UsageFault) as fault:
        open_inventory(source, NOTHING, live=False)
    assert str(fault.value) == (
        'keys.csv:6: the account is "other", but line 2 says "acme"; all records must be of one account'
    )


def test_the_option_and_the_inventory_state_one_account(csv_file):
    """An account that differs from the option ends the run as well."""
    with pytest.raises(UsageFault) as fault:
        open_inventory(csv_file(f"key_id,account\n{A},\n{B},acme\n"), Defaults(account="other"), live=False)
    assert str(fault.value) == (
        'keys.csv:3: the account is "acme", but --account says "other"; all records must be of one account'
    )


def test_the_pass_for_the_account_counts_nothing_twice(read):
    """Blank lines are counted once, with an account column too."""
    assert read(f"key_id,account\n\n{A},acme\n,\n").inventory.blank_lines == 2


# What is no inventory ------------------------------------------------------------------------------------------------

NO_INVENTORY = [
    (b"", "keys.csv:1:1: the file is empty; it needs a header with a column key_id, and a line for each key"),
    (
        b"\xef\xbb\xbf",
        "keys.csv:1:1: the file is empty; it needs a header with a column key_id, and a line for each key",
    ),
    (b"key_id,region\r\n", "keys.csv:1:1: a header and no records below it; add one line for each key"),
    (b"key_id,region\n\n , \n", "keys.csv:1:1: a header and no records below it; add one line for each key"),
    (
        b"id;Region\n1;2\n",
        'keys.csv:1:1: no column key_id in the header: the columns are "id, region"; name the column of key ids key_id',
    ),
    (
        b"\nkey_id\n",
        "keys.csv:1:1: no column key_id in the header: the first line is blank; name the column of key ids key_id",
    ),
    (b"key_id,owner,region,Owner\n", 'keys.csv:1:21: column "Owner" is there twice: 2 and 4; keep one'),
    (b'"a,b",key_id,"x", KEY_ID\n', 'keys.csv:1:18: column "key_id" is there twice: 2 and 4; keep one'),
    (b"key_id,,column_2\n", 'keys.csv:1:9: column "column_2" is there twice: 2 and 3; keep one'),
    (b"key_id,owner\nabc\0,x\n", "keys.csv:2:4: binary data (a NUL), not a CSV; save a spreadsheet as CSV UTF-8"),
    (b"PK\x03\x04\x14\x00", "keys.csv:1:6: binary data (a NUL), not a CSV; save a spreadsheet as CSV UTF-8"),
    (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "keys.csv:3:1: binary data (a NUL), not a CSV; save a spreadsheet as CSV UTF-8",
    ),
    (
        b"k\0e\0y\0_\0i\0d\0\n\0",
        "keys.csv:1:2: binary data (a NUL), not a CSV; save a spreadsheet as CSV UTF-8",
    ),
    (
        b"\xef\xbb\xbfkey_id,\0\n",
        "keys.csv:1:8: binary data (a NUL), not a CSV; save a spreadsheet as CSV UTF-8",
    ),
    (
        b"x" * (1 << 20) + b"x\0",
        "keys.csv:1:1048578: binary data (a NUL), not a CSV; save a spreadsheet as CSV UTF-8",
    ),
    (
        b"key_id,owner\nab\xff\xff,x\n",
        "keys.csv:2:3: byte 0xFF is neither UTF-8 nor GB18030; save the file as UTF-8",
    ),
    (
        "key_id,owner\n部门é,".encode() + b"\x81",
        "keys.csv:2:5: byte 0x81 is neither UTF-8 nor GB18030; save the file as UTF-8",
    ),
    (
        b"\xff\xfek\0\n\0\x00\xd8",
        "keys.csv:2:1: byte 0x00 is not UTF-16, which the file says it is; save it as UTF-8",
    ),
    (
        "key_id,owner\nx,部门\nz,部门\n".encode() + "y,部门\n".encode("gb18030"),
        "keys.csv:4:1: this line is not UTF-8, line 2 is; save the whole file as UTF-8",
    ),
    (
        "key_id,owner\ny,部门\nz,部门\n".encode("gb18030") + "x,部门\n".encode(),
        "keys.csv:2:1: this line is not UTF-8, line 4 is; save the whole file as UTF-8",
    ),
    (
        b'"key_id,owner\n',
        "keys.csv:1:1: the header cannot be read: a quote is not closed, or text follows a closing quote",
    ),
    (b"x" * 70_000, "keys.csv:1:1: the first line is longer than 65,536 characters; it must be the header"),
]


@pytest.mark.parametrize(("content", "message"), NO_INVENTORY)
def test_what_is_no_inventory_is_said_in_one_line(read, content, message):
    """A file that is no inventory ends the run with one line: file, line, column, what is wrong and what to do."""
    with pytest.raises(InventoryFault) as fault:
        read(content)
    assert str(fault.value) == message


def test_a_missing_file_is_said(csv_file):
    """A path that leads nowhere is told with the other way in."""
    csv_file("")
    with pytest.raises(InventoryFault, match=r"^no.csv: no such file; check the path, or give - for standard input$"):
        open_inventory("no.csv", NOTHING, live=False)


def test_a_folder_is_said(tmp_path):
    """A folder is no inventory."""
    with pytest.raises(InventoryFault) as fault:
        open_inventory(str(tmp_path), NOTHING, live=False)
    assert str(fault.value) == f"{tmp_path}: this is a folder; give the CSV file in it"


def test_what_cannot_be_opened_is_said(csv_file):
    """A file that the system does not open is told with the system's reason."""
    csv_file("")
    Path("loop.csv").symlink_to("loop.csv")
    with pytest.raises(InventoryFault) as fault:
        open_inventory("loop.csv", NOTHING, live=False)
    assert str(fault.value) == (
        "loop.csv: cannot be read (Too many levels of symbolic links); check the path and its permissions"
    )
    with pytest.raises(InventoryFault, match=r"^a\\x00b: cannot be read"):
        open_inventory("a\0b", NOTHING, live=False)


def test_what_cannot_be_read_is_said():
    """A file that opens and then gives an error is told with the system's reason."""
    with pytest.raises(InventoryFault) as fault:
        open_inventory("/proc/self/mem", NOTHING, live=False)
    assert str(fault.value) == (
        "/proc/self/mem: cannot be read (Input/output error); check the path and its permissions"
    )


def test_a_message_is_one_line_whatever_the_file_is_called(tmp_path, monkeypatch):
    """Control characters in a file's name or a header do not reach the terminal."""
    monkeypatch.chdir(tmp_path)
    Path("a\nb\x1b.csv").write_text("id\x1b[31m,x\n", encoding="utf-8")
    with pytest.raises(InventoryFault) as fault:
        open_inventory("a\nb\x1b.csv", NOTHING, live=False)
    assert str(fault.value).isprintable()
    assert str(fault.value).startswith("a\\nb\\x1b.csv:1:1: no column key_id")
    assert '"id\\x1b[31m, x"' in str(fault.value)


def test_a_flaw_is_found_behind_the_first_block(csv_file):
    """Line and column are right in a file that is read in several blocks."""
    source = csv_file(b"key_id,owner\n" + b"x,y\n" * 600_000 + b"ab\xff")
    with pytest.raises(InventoryFault, match=r"^keys.csv:600002:3: byte 0xFF"):
        open_inventory(source, NOTHING, live=False)


@pytest.mark.parametrize("later", [f"{A}\n{B}\n".encode(), f"{B}\n".encode(), b"\xff\xff\n", b""])
def test_a_file_that_changes_is_noticed(csv_file, later):
    """Where the file changes between the passes, the run ends; its hash would not be that of what was judged."""
    source = csv_file(f"key_id\n{A}\n")
    with open_inventory(source, NOTHING, live=False) as inventory:
        csv_file(b"key_id\n" + later)
        with pytest.raises(InventoryFault) as fault:
            list(inventory.chunks())
    assert str(fault.value) == "keys.csv: changed while it was read; run again when it is complete"


# Standard input, pipes, size -----------------------------------------------------------------------------------------


def test_standard_input_is_read():
    """``-`` reads standard input, in every encoding, and is named so in messages."""
    found = Read("-", stdin=io.BytesIO(f"key_id,owner\n{A},财务部\n".encode("utf-16")))
    assert found.keys[0].cells == (A, "财务部")
    assert found.inventory.name == "standard input"
    with pytest.raises(InventoryFault, match=r"^standard input:1:1: the file is empty"):
        Read("-", stdin=io.BytesIO())


def python(code, *, stdin, script='exec "$0" -c "$1"'):
    command = ["/bin/sh", "-c", script, sys.executable, code]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, cwd=EXAMPLE.parent)


def test_the_standard_input_of_the_process_is_the_default():
    """Without a stream given, ``-`` is the process's own standard input, also where that is closed."""
    code = (
        "from audit.inventory import *\n"
        "with open_inventory('-', Defaults(), live=False) as inventory: print(sum(map(len, inventory.chunks())))"
    )
    piped = python(code, stdin=f"key_id\n{A}\n".encode())
    assert piped.stdout == b"1\n", piped.stderr
    closed = python(code, stdin=b"", script='exec "$0" -c "$1" <&-')
    assert b"standard input:1:1: the file is empty" in closed.stderr


def test_a_pipe_in_the_place_of_a_file_is_read(tmp_path):
    """What cannot be read twice, as in ``<(command)``, is copied first."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(f"key_id,account\n{A},acme\n",))
    writer.start()
    found = Read(pipe)
    writer.join()
    assert found.keys[0].place.account == "acme"


def test_pandas_is_not_imported_before_it_is_needed():
    """Importing the inventory costs no pandas; ``--help`` must not pay for it."""
    code = "import sys, audit.inventory; sys.exit('pandas' in sys.modules)"
    assert python(code, stdin=b"").returncode == 0


def test_a_large_inventory_comes_in_chunks_in_order(read):
    """Records come in the order of the file, rejected ones among them, and duplicates are seen across chunks."""
    ids = [f"{number:08x}-1111-4111-8111-111111111111" for number in range(12_000)]
    ids[7] = "bad"
    ids[11_000] = ids[3]
    lines = [f"{key_id},x" for key_id in ids]
    lines[6_000] = "short"
    found = read("key_id,owner\n" + "\n".join(lines))
    assert [len(chunk) for chunk in found.chunks] == [5_000, 5_000, 2_000]
    assert [record.line for record in found.records] == list(range(2, 12_002))
    assert [(line, why) for line, _, why in found.why] == [
        (9, 'key_id "bad" is no key id: 8-4-4-4-12 digits and letters a to z'),
        (6_002, "has 1 field, the header has 2"),
        (11_002, "duplicate of line 5"),
    ]


# The example ---------------------------------------------------------------------------------------------------------


def example_verdicts(policy):
    found = Read(EXAMPLE, live=True)
    return found, [judge(key.facts, policy) for key in found.keys]


def test_the_example_meets_every_rule():
    """The example brings about every rule, with the policy that C02 needs."""
    _, verdicts = example_verdicts(Policy(90, 90, OURS))
    rules = {finding.rule for verdict in verdicts for finding in verdict.findings}
    assert rules == {rule.id for rule in RULES}


def test_the_example_meets_every_verdict_and_is_small():
    """The example has keys of every verdict, and records that are rejected for three reasons."""
    found, verdicts = example_verdicts(Policy(own_domain=OURS))
    assert {type(verdict) for verdict in verdicts} == {Compliant, Eligible, Ineligible, Blocked, Undecided}
    assert [record.column for record in found.rejected] == ["key_id", "key_id", "project_id"]
    assert found.rejected[0].why == "duplicate of line 2"
    assert len(found.records) == 25
    assert [key.line for key in found.keys if key.note] == [7]


def test_the_example_is_in_one_place_and_mostly_ours():
    """The example lives in one region and one project, and the commonest owner of its keys is us."""
    found, _ = example_verdicts(Policy())
    assert len({key.place for key in found.keys}) == 1
    domains = [key.facts.domain_id for key in found.keys]
    assert max(set(domains), key=domains.count) == OURS
    assert found.inventory.encoding == "UTF-8"
    assert b"\r" not in EXAMPLE.read_bytes()
