"""One scrubber: what is secret goes, what hides goes, and 500 characters stay."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.scrub import KEPT, Scrubber

ACCESS, SECRET, TOKEN = "AKEXAMPLE0000000TEST", "made-up/secret+key=of-no-account", "gAAAAtoken-of-nobody"
SIGNATURE = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
HEADER = f"SDK-HMAC-SHA256 Access={ACCESS}, SignedHeaders=host;x-sdk-date, Signature={SIGNATURE}"
blind = Scrubber()


def test_a_known_secret_never_shows():
    """Every known secret goes, wherever it stands and however often, the longest first."""
    scrub = Scrubber([SECRET, ACCESS, "", SECRET + "-and-more"])
    text = f"key {ACCESS} and {SECRET}-and-more{SECRET}"
    assert scrub(text) == scrub.secrets(text) == "key [redacted] and [redacted][redacted]"
    assert scrub("nothing to hide") == "nothing to hide"


ECHOES = [
    f"Authorization: {HEADER}",
    f"authorization:{HEADER}",
    f'"Authorization": "{HEADER}"',
    json.dumps({"echo": json.dumps({"Authorization": HEADER, "X-Security-Token": TOKEN})}),
    f"POST\n/v1.0/p/kms/list-keys/\n\nhost:kms\nx-security-token:{TOKEN}\nx-sdk-date:20261124T033400Z",
    f"X-Security-Token: {TOKEN}",
    f"X-Auth-Token={TOKEN}; path=/",
    f'{{"x-security-token":"{TOKEN}"}}',
    f"expected Signature={SIGNATURE}, got another",
    f"signature = {SIGNATURE}",
]


@pytest.mark.parametrize("text", ECHOES)
def test_an_echoed_request_loses_what_signs_it(text):
    """Where a gateway echoes our request, key, token and signature go though nobody told the scrubber what they are."""
    clean = blind(text)
    assert "[redacted]" in clean
    for secret in (SIGNATURE, TOKEN, ACCESS) if "uthorization" in text else (SIGNATURE, TOKEN):
        assert secret not in clean


@pytest.mark.parametrize(
    "text",
    [
        '{"error_msg":"denied","encoded_authorization_message":"abc.def/ghi"}',
        "encoded_authorization_message: abc.def/ghi",
        '{\\"encoded_authorization_message\\":\\"abc.def/ghi\\"}',
        '{"encoded_authorization_message": "abc.def/ghi',
    ],
)
def test_the_encoded_authorization_message_is_never_kept(text):
    """Its name may stay, its value goes, in any spelling."""
    assert "abc" not in blind(text)


@given(st.text(st.characters(), max_size=40), st.text(st.characters(), max_size=40), st.integers(20, 60))
def test_what_is_kept_is_one_printable_line(before, after, limit):
    """Whatever comes from outside, what is kept holds no control or hiding character, no secret, and ends in time."""
    clean = Scrubber([TOKEN])(f"{before}{TOKEN}{after}", limit)
    assert len(clean) <= limit
    assert TOKEN[:12] not in clean
    assert not set(clean) & set("\0\t\r\n\x1b\x7f\x85\u200b\u200e\u2028\u202e\u2066\ufeff\udcff")
    clean.encode()


def test_500_characters_stay():
    """A text of 500 characters stays whole; a longer one ends in an ellipsis, and no secret is cut in half."""
    assert blind("x" * 500) == "x" * 500
    assert blind("x" * 501) == "x" * 499 + "…"
    assert SECRET[:5] not in Scrubber([SECRET])("x" * (KEPT - 10) + SECRET)


def test_other_languages_stay_readable():
    """A message in Chinese stays what it is."""
    assert blind("密钥状态无效 🔑") == "密钥状态无效 🔑"
