"""KMS's JSON becomes the model or is unreadable; nothing that a server can say is a crash or a guess."""

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit.kms import wire
from audit.kms.wire import Fault, Page, Unreadable
from audit.model import FACT_NAMES, Facts
from audit.scrub import Scrubber
from tests.simulated import key_id

KEY = key_id(1)
DEEP = b"[" * 100_000
scrub = Scrubber()


def details(**more: object) -> dict[str, object]:
    """KeyDetails as the API documents them: every scalar is text."""
    return {
        "key_id": KEY,
        "domain_id": "d" * 32,
        "key_alias": "app-data",
        "realm": "cn-north-4",
        "key_spec": "AES_256",
        "key_usage": "ENCRYPT_DECRYPT",
        "key_description": "数据密钥",
        "creation_date": "1767225600000",
        "key_state": "2",
        "default_key_flag": "0",
        "key_type": "1",
        "origin": "kms",
        "key_rotation_enabled": "false",
        "keystore_id": "0",
        "keystore_type": "DEFAULT",
        "pending_days": "",
        "multi_region_key_type": "SINGLE",
        **more,
    }


def listed(*keys: dict[str, object], **more: object) -> dict[str, object]:
    """A page of list-keys."""
    return {"keys": [], "key_details": list(keys), "next_marker": "", "truncated": "false", "total": len(keys), **more}


# Requests -------------------------------------------------------------------------------------------------------------


def test_a_request_is_compact_json_in_the_order_given() -> None:
    """Numbers stay numbers, text stays text, and nothing is added."""
    sent = wire.encode(key_id=KEY, rotation_interval=90, note="密")
    assert sent == b'{"key_id":"%s","rotation_interval":90,"note":"\\u5bc6"}' % KEY.encode()


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"error_code":"KMS.0207","error_msg":"no such key"}}', Fault("KMS.0207", "no such key", "")),
        (
            b'{"error_msg":"wrong","error_code":"APIGW.0301","request_id":"0123456789abcdef0123456789abcdef"}\n',
            Fault("APIGW.0301", "wrong", "0123456789abcdef0123456789abcdef"),
        ),
        (b'{"error_code":"KMS.0101","error_msg":"later"}', Fault("KMS.0101", "later", "")),
        (
            b'{"error_msg":"denied","error_code":"PAP5.0001","request_id":"r","encoded_authorization_message":"Zm9v"}',
            Fault("PAP5.0001", "denied", "r"),
        ),
        (b'{"error":{"message":"no","title":"Unauthorized","code":401}}', Fault("401", "no", "")),
        (b'{"error":{"message":"no","title":"Unauthorized"}}', Fault("", "no", "")),
        (b'{"errorCode":"A.1","errorMsg":"m"}', Fault("A.1", "m", "")),
        (b'{"code":"A.2","message":"m"}', Fault("A.2", "m", "")),
        (b'{"fault":{"errorCode":"A.3","errorMsg":"m"}}', Fault("A.3", "m", "")),
        (b'{"fault":{"code":"A.4","message":"m"}}', Fault("A.4", "m", "")),
        (b'{"error_msg":"only words"}', Fault("", "only words", "")),
        (b"", Fault("", "", "")),
        (b" \r\n", Fault("", "", "")),
        (b"<html><body>502 Bad Gateway</body></html>\n", Fault("", "<html><body>502 Bad Gateway</body></html>", "")),
        (b'"APIGW.0301"', Fault("", '"APIGW.0301"', "")),
        (b"[1]", Fault("", "[1]", "")),
        (b"null", Fault("", "null", "")),
        (b"\xff\xfe\xff", Fault("", "���", "")),
        (b"{}", Fault("", "", "")),
    ],
    ids=["A", "B", "C", "D", "E", "E without code", *"FFFF", "words", *"GGGGGGG", "empty object"],
)
def test_an_error_is_understood_in_every_shape(body: bytes, expected: Fault) -> None:
    """KMS, the gateway, identity policies, IAM, the SDK's older pairs, and pages of proxies."""
    assert wire.fault(body) == expected


@pytest.mark.parametrize(
    "pair",
    [
        {"error_code": None, "error_msg": None},
        {"error_code": ["KMS.2901"], "error_msg": {"a": "b"}},
        {"error_code": True, "error_msg": 1.5},
        {"error_code": 10**4000, "error_msg": float("nan")},
    ],
)
def test_a_code_that_is_no_text_is_no_code(pair: dict[str, object]) -> None:
    """Whatever stands where the code should, it is not taken for one that means something."""
    told = wire.fault(json.dumps({"error": pair}).encode())
    assert not told.code.startswith(("KMS", "API"))


def test_a_page_without_json_is_kept_whole_until_it_is_scrubbed() -> None:
    """A secret that a cut would leave half of is taken out, for nothing is cut before the scrubber."""
    token = "T" * 3000
    told = wire.fault(b"<p>" + token.encode() + b"</p>")
    assert Scrubber([token])(told.message) == "<p>[redacted]</p>"


# Successes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"\n", b"{}", b"{}\n", b'{"key_id":"x","new":[1]}', b"\xef\xbb\xbf{}"])
def test_a_success_is_an_object_or_nothing(body: bytes) -> None:
    """The documents show an empty body and an object; unknown fields are no fault."""
    assert isinstance(wire.success(body), dict)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"[]",
        b'"ok"',
        b"0",
        b"true",
        b"NaN",
        b"<html>",
        b"{}{}",
        b"\xff\xfe",
        b"\x1f\x8b\x08\x00",
        DEEP,
        b'{"a":' * 100_000,
        b'{"total":' + b"9" * 5000 + b"}",
        b'{"error":{"error_code":"KMS.0101"}}',
        b'{"error":null}',
        b'{"error_code":"KMS.0101","error_msg":"x"}',
        b'{"error_msg":"x"}',
        b'{"errorCode":"x"}',
        b'{"code":"x","message":"y"}',
        b'{"message":"y","title":"z"}',
        b'{"key_info":1,"key_info":2}',
    ],
)
def test_a_success_that_is_none_is_unreadable(body: bytes) -> None:
    """No JSON, no object, nested beyond reason, an error under a 200, or one name with two values."""
    with pytest.raises(Unreadable):
        wire.success(body)


def test_the_same_said_twice_is_still_said() -> None:
    """A name that stands twice with one value is no contradiction."""
    assert wire.success(b'{"truncated":"false","truncated":"false"}') == {"truncated": "false"}


# Facts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "canonical"),
    [
        ("true", "true"),
        (" TRUE\n", "true"),
        (True, "true"),
        (1, "true"),
        ("false", "false"),
        (False, "false"),
        (0, "false"),
        (None, ""),
        ("", ""),
        ("yes", "yes"),
        (1.0, "1.0"),
        (["true"], "[...]"),
        ({"value": "true"}, "{...}"),
        ("tr\u200bue", "tr ue"),
        ("true\x00", "true "),
    ],
)
def test_a_flag_is_read_as_text_or_bool_and_never_guessed(stated: object, canonical: str) -> None:
    """``"false"`` is off, though it is truthy; what is neither on nor off is kept as it was, and is neither."""
    told = wire.facts(details(key_rotation_enabled=stated), scrub)
    assert told.key_rotation_enabled == canonical
    assert told.rotates is {"true": True, "false": False}.get(canonical)


@pytest.mark.parametrize(
    ("stated", "days"),
    [(365, 365), ("90", 90), ("090", 90), ("", None), (0, None), (-5, None), (365.0, None), ("٩٠", None), ([90], None)],
)
def test_an_interval_is_a_whole_number_of_days_or_is_not_known(stated: object, days: int | None) -> None:
    """A number or its digits; nothing else is taken for an interval."""
    assert wire.facts(details(rotation_interval=stated), scrub).interval == days


def test_facts_are_brought_into_one_form() -> None:
    """Case and blanks of the API's values do not matter; unknown fields are passed over."""
    told = wire.facts(details(key_spec="aes_256", origin="KMS ", multi_region_key_type="primary", extra={}), scrub)
    assert (told.key_spec, told.origin, told.multi_region_key_type) == ("AES_256", "kms", "PRIMARY")


def test_every_fact_passes_the_scrubber() -> None:
    """An alias that holds a secret, or control characters, reaches nobody as it was."""
    told = wire.facts(dict.fromkeys(FACT_NAMES, "a secret \x1b[31m\u202e here"), Scrubber(["secret"]))
    assert told.key_alias == "a [redacted]  [31m  here"
    assert all("secret" not in getattr(told, name).lower() for name in FACT_NAMES)


# Pages ----------------------------------------------------------------------------------------------------------------


def test_a_page_is_its_keys_and_where_the_next_begins() -> None:
    """Keys by id, the marker while there is more, and the total."""
    told = wire.page(listed(details(), details(key_id=key_id(2)), next_marker="2", truncated="true", total=5), scrub)
    assert list(told.keys) == [KEY, key_id(2)]
    assert (told.next_marker, told.total) == ("2", 5)
    assert told.keys[KEY] == Facts.of({name: str(value) for name, value in details().items()})


@pytest.mark.parametrize(
    ("truncated", "marker", "following"),
    [
        ("true", "7", "7"),
        ("TRUE", 7, "7"),
        (True, "7", "7"),
        ("true", "", ""),
        ("false", "7", ""),
        (False, "7", ""),
        ("False", "", ""),
        (None, "7", "7"),
        ("perhaps", "7", "7"),
        (None, None, ""),
    ],
)
def test_a_walk_goes_on_unless_the_page_says_that_it_is_the_last(
    truncated: object, marker: object, following: str
) -> None:
    """Only a clear ``false`` or no marker ends it; what is not understood never hides keys."""
    assert wire.page(listed(truncated=truncated, next_marker=marker), scrub).next_marker == following


@pytest.mark.parametrize(
    ("total", "counted"),
    [(0, 0), (5, 5), ("5", 5), ("", None), (None, None), (-1, None), (True, None), ("9" * 5000, None), (1e9, None)],
)
def test_a_total_is_a_count_or_is_not_stated(total: object, counted: int | None) -> None:
    """A total that is no count of keys is left out; it is never a crash."""
    assert wire.page(listed(total=total), scrub).total == counted


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"key_details": None},
        {"key_details": {}},
        {"key_details": "x"},
        {"key_details": [None]},
        {"key_details": [[]]},
        listed({}),
        listed(details(key_id=None)),
        listed(details(key_id="")),
        listed(truncated="true", next_marker="9" * 1001),
    ],
)
def test_a_page_that_cannot_be_relied_on_is_unreadable(page: dict[str, Any]) -> None:
    """No list, no details, an id that is none, or a marker without measure."""
    with pytest.raises(Unreadable):
        wire.page(page, scrub)


@pytest.mark.parametrize("strange", [KEY[:-1] + "A", KEY + "\u200b", [KEY], "../kms/disable-key-rotation"])
def test_an_id_outside_the_pattern_hides_no_other_key_and_is_none_of_ours(strange: object) -> None:
    """It is listed as a key of its own; the keys beside it are read as ever."""
    keys = wire.page(listed(details(key_id=strange), details(key_id=key_id(2))), scrub).keys
    assert len(keys) == 2
    assert key_id(2) in keys
    assert KEY not in keys


# One key --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda info: info, lambda info: [info]], ids=["object", "list of one"])
def test_a_description_is_that_of_the_key_asked_for(wrap: Any) -> None:
    """An object, or a list of one, with the id of the key."""
    assert wire.described({"key_info": wrap(details())}, KEY, scrub).key_alias == "app-data"


@pytest.mark.parametrize(
    "info",
    [None, {}, [], "x", 1, [details(), details()], details(key_id=key_id(2)), details(key_id=""), [[details()]]],
)
def test_a_description_of_another_key_is_unreadable(info: object) -> None:
    """Facts of a key that was not asked for say nothing about the one that was."""
    with pytest.raises(Unreadable):
        wire.described({"key_info": info}, KEY, scrub)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"key_rotation_enabled": True, "rotation_interval": 365}, (True, 365)),
        ({"key_rotation_enabled": "false", "rotation_interval": "90"}, (False, 90)),
        ({"key_rotation_enabled": True}, (True, None)),
        ({"key_rotation_enabled": True, "rotation_interval": None, "key_materials": [{}]}, (True, None)),
    ],
)
def test_a_rotation_status_is_read_in_both_spellings(
    payload: dict[str, Any], expected: tuple[bool, int | None]
) -> None:
    """Booleans or text, numbers or digits, with or without fields of newer versions."""
    told = wire.rotation(payload, scrub)
    assert (told.rotates, told.interval) == expected


@pytest.mark.parametrize("payload", [{}, {"key_rotation_enabled": None}, {"key_rotation_enabled": "on"}])
def test_a_status_that_does_not_say_is_unreadable(payload: dict[str, Any]) -> None:
    """A status without a clear yes or no is no status."""
    with pytest.raises(Unreadable):
        wire.rotation(payload, scrub)


# Anything -------------------------------------------------------------------------------------------------------------

names = st.sampled_from(
    (
        *("key_id", "key_info", "key_details", "error", "error_code", "error_msg", "code", "message", "title"),
        *("total", "truncated", "next_marker", "key_rotation_enabled", "request_id", *FACT_NAMES),
    )
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([KEY, "true", "\ud800", "9" * 5000])
)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(), inner), max_leaves=30
)
objects = st.dictionaries(names, documents, max_size=8)


@given(
    objects.map(lambda document: json.dumps(document).encode())
    | st.binary()
    | documents.map(json.dumps).map(str.encode)
)
@example(DEEP)
@example(b'{"error_msg":' + b"[" * 900 + b"]" * 900 + b"}")
@example(
    b'{"key_details":[{"key_id":"%s","origin":' % KEY.encode() + b"[" * 900 + b"]" * 900 + b'}],"truncated":"false"}'
)
def test_any_body_is_read_or_is_unreadable(body: bytes) -> None:
    """Whatever bytes arrive, reading them as an error works, and as a success works or raises Unreadable."""
    told = wire.fault(body)
    assert all(isinstance(text, str) for text in (told.code, told.message, told.request_id))
    for read in (
        lambda payload: wire.page(payload, scrub),
        lambda payload: wire.described(payload, KEY, scrub),
        lambda payload: wire.rotation(payload, scrub),
    ):
        try:
            got = read(wire.success(body))
        except Unreadable:
            continue
        shown = list(got.keys.values()) if isinstance(got, Page) else [got]
        text = "".join(getattr(facts, name) for facts in shown for name in FACT_NAMES)
        assert not {unicodedata.category(character) for character in text} & {"Cc", "Cs"}
