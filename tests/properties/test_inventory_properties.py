"""Laws of the inventory: every record of the file ends as exactly one record, whatever stands in the file."""

import csv
import io
import re

from hypothesis import example, given
from hypothesis import strategies as st

from audit.cells import guard
from audit.errors import InventoryFault, UsageFault
from audit.inventory import Defaults, open_inventory
from audit.model import Key, RejectedRecord

COLUMNS = ("key_id", "region", "project_id", "default_key_flag", "rotation_interval", "owner")
WITNESS = "abcdefgh-1111-4111-8111-111111111111"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
tricky = st.text(alphabet='"\'",;\t\r\n =-a0', max_size=20)
key_ids = st.from_regex(r"[0-9a-zA-Z]{8}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-f]{12}", fullmatch=True)
cells = texts | tricky
rows = st.tuples(
    key_ids | cells,
    st.sampled_from(["cn-north-4", "cn-north-1", ""]) | cells,
    st.sampled_from(["p1", "p2", ""]) | cells,
    st.sampled_from(["true", "0", ""]) | cells,
    st.sampled_from(["90", "365", ""]) | cells,
    cells,
)


def read(content, *, live=False):
    """All records of these bytes, and how many blank ones there were."""
    with open_inventory("-", Defaults(), live=live, stdin=io.BytesIO(content)) as inventory:
        return [record for chunk in inventory.chunks() for record in chunk], inventory.blank_lines


def written(records, **dialect):
    file = io.StringIO(newline="")
    csv.writer(file, **dialect).writerows(records)
    return file.getvalue()


@given(
    st.lists(rows, min_size=1, max_size=12),
    st.sampled_from([",", ";", "\t"]),
    # Before 3.13 Python's writer, ending lines with LF and quoting what it must, leaves a lone CR without quotes.
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.booleans(),
)
def test_records_in_are_records_out(records, delimiter, ending, encoding, live):
    """Every record that a CSV writer writes comes back once, on its line, as a key or as a rejected record."""
    dialect = {"delimiter": delimiter, "lineterminator": ending[0], "quoting": ending[1]}
    text = written([COLUMNS], **dialect)
    expected, blank = [], 0
    for record in records:
        if any(map(str.strip, record)):
            expected.append((text.count("\n") + 1, tuple(cell.strip() for cell in record)))
        else:
            blank += 1
        text += written([[guard(cell.strip()) for cell in record]], **dialect)
    try:
        found, blanks = read(text.encode(encoding), live=live)
    except InventoryFault:
        assert not expected
        return
    assert [(record.line, record.cells) for record in found] == expected
    assert blanks == blank
    assert all(isinstance(record, Key | RejectedRecord) for record in found)


@given(st.lists(rows, min_size=1, max_size=12))
def test_a_key_is_safe_to_put_into_a_request(records):
    """Whatever the cells are, the parts of a key that reach a host or a path are ASCII words, and none comes twice."""
    found, _ = read((written([COLUMNS]) + written([*records, (WITNESS, "", "", "", "", "")])).encode())
    keys = [record for record in found if isinstance(record, Key)]
    for key in keys:
        path = key.key_id + key.place.region + key.place.project_id
        assert path.isascii()
        assert path.replace("-", "").replace("_", "").isalnum()
        assert key.facts.interval is None or key.facts.interval > 0
    assert len({(key.place, key.key_id) for key in keys}) == len(keys)


@given(tricky | texts, st.text(alphabet='",\n x', max_size=30), st.text(alphabet='",\n x', max_size=30))
@example("", 'x,"', 'x"')
@example("", '","', "")
@example("", 'x,"\n","', '"')
def test_a_good_record_is_read_whatever_stands_around_it(owner, before, after):
    """No quote, wherever it is opened or closed, swallows a record that is whole on its own line."""
    line = f"{WITNESS},{owner.translate(dict.fromkeys(map(ord, chr(34) + ',' + chr(13) + chr(10))))}"
    found, _ = read(f"key_id,owner\n{before}\n{line}\n{after}".encode())
    number = before.count("\n") + 3
    assert [record.line for record in found if isinstance(record, Key)] == [number]
    assert [record.line for record in found] == sorted({record.line for record in found})


@given(st.text(alphabet="ab,\"\r\n '=", max_size=60))
def test_every_line_is_accounted_for(text):
    """In any text, each physical line begins a record, or is blank, or is told by the record that it belongs to."""
    content = f"key_id,owner\n{text}"
    try:
        found, _ = read(content.encode())
    except InventoryFault as fault:
        assert "no records" in str(fault)  # noqa: PT017 - both endings are allowed
        found = []
    lines = content.split("\n")
    begun = {record.line: record for record in found}
    for number, line in enumerate(lines[1:], 2):
        for word in re.findall("[ab]+", line):
            teller = begun[max(start for start in begun if start <= number)]
            assert word in " ".join(teller.cells)


@given(
    st.binary(max_size=200)
    | st.binary(max_size=200).map(b"key_id,region,owner\n".__add__)
    | st.binary(max_size=200).map("key_id,account,部门\n".encode("gb18030").__add__)
    | st.binary(max_size=200).map(lambda tail: "key_id\tregion\n".encode("utf-16") + tail)
    | st.text(max_size=100).map(lambda text: f"key_id,account\n{text}".encode("utf-8", "replace"))
)
def test_any_bytes_are_records_or_one_message(content):
    """Bytes of any kind give records, or end the run with one printable line; never anything else."""
    try:
        found, _ = read(content, live=True)
    except (InventoryFault, UsageFault) as fault:
        assert str(fault).isprintable()  # noqa: PT017 - both endings are allowed
        assert str(fault).startswith("standard input:")  # noqa: PT017
    else:
        assert all(isinstance(record, Key | RejectedRecord) for record in found)
        assert found
