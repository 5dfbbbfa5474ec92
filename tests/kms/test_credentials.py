"""The access key comes from the environment alone, and nothing shows its secrets."""

import base64
import traceback

import pytest

from audit.errors import CredentialsMissing, UsageFault
from audit.kms.credentials import AK, SK, TOKEN, Credentials, from_environment, secrets

ACCESS_KEY, SECRET_KEY, SECURITY_TOKEN = "AKEXAMPLE0000000TAIL", "made-up-secret-key", "made-up/token+=="
WHOLE = {AK: ACCESS_KEY, SK: SECRET_KEY, TOKEN: SECURITY_TOKEN}


def test_the_variables_are_those_of_the_vendors_sdk() -> None:
    """One set of variables serves the SDK and us."""
    assert (AK, SK, TOKEN) == ("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN")


def test_credentials_are_read_without_surrounding_blanks() -> None:
    """A line end from a mounted file does not break the signature; the token is optional."""
    padded = {name: f" {value}\n" for name, value in WHOLE.items()}
    assert from_environment(padded) == Credentials(ACCESS_KEY, SECRET_KEY, SECURITY_TOKEN)
    assert from_environment({AK: ACCESS_KEY, SK: SECRET_KEY}).security_token == ""


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({}, f"{AK} and {SK} not set"),
        ({AK: ACCESS_KEY}, f"{SK} not set"),
        ({SK: SECRET_KEY}, f"{AK} not set"),
        ({AK: " ", SK: SECRET_KEY}, f"{AK} not set"),
        ({AK: "", SK: "", TOKEN: SECURITY_TOKEN}, f"{AK} and {SK} not set"),
        ({"HW_ACCESS_KEY": ACCESS_KEY, "HW_SECRET_KEY": SECRET_KEY}, f"{AK} and {SK} not set"),
    ],
)
def test_what_is_missing_is_named_with_all_that_was_looked_for(environ: dict[str, str], missing: str) -> None:
    """The message names every variable and no value, and the next step says how to go on."""
    with pytest.raises(CredentialsMissing, match=missing) as raised:
        from_environment(environ)
    assert all(name in str(raised.value) for name in (AK, SK, TOKEN))
    assert "--simulate" in raised.value.next_step
    assert raised.value.exit_code == 1
    assert not [value for value in environ.values() if value.strip() and value in str(raised.value)]


@pytest.mark.parametrize("name", [AK, SK, TOKEN])
@pytest.mark.parametrize("wrong", ["two words", "a\nb: c", "a\rb", "a\x00b", "a\tb", "schlüssel", "a\u200bb", "a\x7fb"])
def test_a_value_that_cannot_stand_in_a_header_is_refused_unsaid(name: str, wrong: str) -> None:
    """A value could smuggle in a header; the message names the variable and keeps the value to itself."""
    with pytest.raises(UsageFault, match=name) as raised:
        from_environment({**WHOLE, name: wrong})
    assert wrong not in str(raised.value)


def test_nothing_shows_a_secret() -> None:
    """Neither a text of it nor a traceback shows key or token; ``shown`` has the last four characters."""
    credentials = from_environment(WHOLE)
    shown = "".join(traceback.format_exception(RuntimeError(f"{credentials} {credentials!r} {(credentials,)}")))
    for secret in (*credentials.secrets, ACCESS_KEY[:10]):
        assert secret not in shown
    assert credentials.shown == "...TAIL"


def test_the_secrets_of_the_environment_are_known_even_where_they_are_not_used() -> None:
    """They are handed to the scrubber before anything is read; empty ones are none."""
    assert secrets(WHOLE) == (ACCESS_KEY, SECRET_KEY, SECURITY_TOKEN)
    assert secrets({AK: "", SK: " "}) == ()
    assert Credentials(ACCESS_KEY, SECRET_KEY).secrets == (ACCESS_KEY, SECRET_KEY)


@pytest.mark.parametrize(
    ("proxy", "password", "sent"),
    [
        ("http://me:s3cret@proxy:3128", "s3cret", b"me:s3cret"),
        ("me:s3cret@proxy:3128", "s3cret", b"me:s3cret"),
        ("http://me%40corp:s%2Fcret@proxy:3128/", "s/cret", b"me@corp:s/cret"),
        ("https://me:a:b@proxy", "a:b", b"me:a:b"),
    ],
)
def test_the_password_of_a_proxy_is_a_secret_in_each_of_its_forms(proxy: str, password: str, sent: bytes) -> None:
    """As it stands in the variable, decoded, and as it goes to the proxy."""
    known = secrets({"HTTPS_PROXY": proxy})
    assert {password, base64.b64encode(sent).decode()} <= set(known)
    assert all(len(secret) > 2 for secret in known)


@pytest.mark.parametrize(
    "proxy", ["", "http://proxy:3128", "proxy", "http://me@proxy:3128", "http://me:@proxy", "@", ":"]
)
def test_a_proxy_without_a_password_has_no_secret(proxy: str) -> None:
    """Nothing that is everybody's is taken out of every text."""
    assert secrets({"HTTPS_PROXY": proxy}) == ()
