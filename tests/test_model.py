"""Facts in one form, whoever states them; what may stand in a request; where the inventory and KMS disagree."""

import pytest

from audit.model import KEY_ID, PROJECT_ID, REGION, Facts, KeyKind, Place, drift, kind_of

ID = "0a1b2c3d-0000-4000-8000-00000000000f"


@pytest.mark.parametrize(
    ("kind", "specs"),
    [
        (KeyKind.SYMMETRIC, ["AES_256", "SM4"]),
        (KeyKind.HMAC, ["HMAC_256", "HMAC_384", "HMAC_512", "HMAC_SM3"]),
        (KeyKind.ASYMMETRIC, ["RSA_2048", "RSA_8192", "EC_P256", "EC_P521", "SECP256K1", "SM2", "ED25519"]),
        (KeyKind.UNKNOWN, ["", "AES", "AES_128", "aes_256", "SM9", "RSA", "XRSA_2048", "ML_DSA_65"]),
    ],
)
def test_a_spec_stands_for_one_kind(kind, specs):
    """Documented specs and new sizes of a documented family are recognised; anything else is of unknown kind."""
    assert {kind_of(spec) for spec in specs} == {kind}


@pytest.mark.parametrize(
    ("name", "texts", "canonical"),
    [
        ("key_spec", ["aes_256", "AES_256", "Aes_256"], "AES_256"),
        ("origin", ["KMS", "kms"], "kms"),
        ("multi_region_key_type", ["single", "SINGLE"], "SINGLE"),
        ("default_key_flag", ["1", "true", "TRUE"], "1"),
        ("default_key_flag", ["0", "false"], "0"),
        ("default_key_flag", ["YES", "yes"], "yes"),
        ("key_rotation_enabled", ["1", "True"], "true"),
        ("key_rotation_enabled", ["0", "FALSE"], "false"),
        ("rotation_interval", ["090", "90"], "90"),
        ("rotation_interval", ["1234567890"], "1234567890"),
        ("rotation_interval", ["\u0669"], "\u0669"),
        ("key_alias", ["Obs/Default"], "Obs/Default"),
    ],
)
def test_a_fact_has_one_form(name, texts, canonical):
    """However a fact is spelled, it is stored in one form; a text that is not understood stays what it was."""
    facts = {Facts.of({name: text, "owner": "ignored"}) for text in texts}
    assert facts == {Facts(**{name: canonical})}
    assert Facts.of(facts.copy().pop().stated()) in facts


@pytest.mark.parametrize(("text", "rotates"), [("true", True), ("0", False), ("", None), ("soon", None)])
def test_whether_a_key_rotates_is_yes_no_or_not_known(text, rotates):
    """``"false"`` is not true, and what is not understood is neither."""
    assert Facts.of({"key_rotation_enabled": text}).rotates is rotates


@pytest.mark.parametrize(
    ("text", "days"),
    [("90", 90), ("0", None), ("000", None), ("", None), ("-1", None), ("\u0669", None), ("9e1", None)],
)
def test_an_interval_is_a_number_of_days_above_zero(text, days):
    """An interval that is no such number is not known, never a guess."""
    assert Facts.of({"rotation_interval": text}).interval == days


def test_newer_facts_win_where_they_state_something():
    """Facts laid over older ones keep of these what they do not state themselves."""
    live, stated = Facts(key_state="3", origin="kms"), Facts(key_state="2", key_alias="app", keystore_id="0")
    assert live.over(stated) == Facts(key_state="3", origin="kms", key_alias="app", keystore_id="0")


def test_drift_is_where_both_speak_and_disagree():
    """What one side does not state is no drift, nor is another spelling of the same fact."""
    stated = Facts.of({"key_state": "2", "origin": "KMS", "key_alias": "app", "rotation_interval": "0365"})
    live = Facts.of({"key_state": "3", "origin": "kms", "domain_id": "d1", "rotation_interval": "365"})
    assert drift(stated, live) == {"key_state": ("2", "3")}


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (
            KEY_ID,
            [ID, "zzzzzzzz-0000-4000-8000-00000000000z"],
            [ID.upper(), ID + "\n", ID[:-1], ID.replace("0a", "\u0661a")],
        ),
        (
            REGION,
            ["cn-north-4", "eu-west-101"],
            ["cn", "evil.example/#", "cn-north-4\n", "cn-", "cn-north-\u0664", "CN-north-4"],
        ),
        (PROJECT_ID, ["p", "0123456789abcdef" * 2], ["", "a/b", "a?x=", "p" * 65, "a\n", "..", "\u0661"]),
    ],
)
def test_what_becomes_part_of_a_request_is_plain_ascii(form, good, bad):
    """A cell never chooses a host, a path or an operation: whole-text, ASCII-only patterns."""
    assert all(form.fullmatch(text) for text in good)
    assert not [text for text in bad if form.fullmatch(text)]


def test_a_place_is_named_without_an_account_that_nobody_stated():
    """A place reads account/region/project, or region/project."""
    assert str(Place("acme", "cn-north-4", "p1")) == "acme/cn-north-4/p1"
    assert str(Place("", "cn-north-4", "p1")) == "cn-north-4/p1"
