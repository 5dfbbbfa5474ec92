"""Every documented code has one meaning, and what is not documented is decided on the status alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.kms.codes import Scope, Sense, sense
from audit.outcome import Meaning

AGAIN = Sense(Meaning.AGAIN)
SILENT = Sense(Meaning.SILENT)
THROTTLED = Sense(Meaning.THROTTLED)
REFUSED = Sense(Meaning.REFUSED)
FORBIDDEN = Sense(Meaning.FORBIDDEN)
GONE = Sense(Meaning.GONE)
ALREADY = Sense(Meaning.ALREADY)
ACCESS_KEY = Sense(Meaning.STOPPED, Scope.ACCESS_KEY)
PLACE = Sense(Meaning.STOPPED, Scope.PLACE)
RUN = Sense(Meaning.STOPPED, Scope.RUN)
ONCE_MORE, TWICE_MORE = (Sense(Meaning.AGAIN, retries=more) for more in (1, 2))


def kms(status: int, *numbers: str) -> list[tuple[int, str]]:
    return [(status, f"KMS.{number}") for number in numbers]


def gateway(status: int, *numbers: str) -> list[tuple[int, str]]:
    return [(status, f"APIGW.{number}") for number in numbers]


def iam(status: int, *numbers: str) -> list[tuple[int, str]]:
    return [(status, f"IAM.{number}") for number in numbers]


TAGS = [f"04{number:02}" for number in range(1, 19) if number != 16]

# The error tables of the DEW API reference, of API Gateway and of IAM, with the statuses they state.
TABLE: list[tuple[Sense, list[tuple[int, str]]]] = [
    (ALREADY, kms(400, "2901")),
    (GONE, kms(404, "0207")),
    (AGAIN, kms(500, "0100", "0101", "0102", "0103", "5012", "5021")),
    (AGAIN, kms(503, "0104")),
    (ONCE_MORE, kms(400, "0105")),
    (TWICE_MORE, kms(400, "0323", "3202", "3801")),
    (FORBIDDEN, kms(403, "0306", "0307", "0322", "0326", "0330")),
    (FORBIDDEN, kms(400, "0327")),
    (ACCESS_KEY, kms(403, "0301", "0302", "0303", "0304", "0305", "0314", "0328")),
    (PLACE, kms(403, "0321")),
    (RUN, kms(400, "0201", "0202", "0203", "0214", "1601", "1602", "1603")),
    (RUN, kms(405, "0215")),
    (REFUSED, kms(400, "0106", "0204", "0205", "0206", "0208", "0209", "0210", "0211", "0212")),
    (REFUSED, kms(400, "0308", "0309", "0310", "0312", "0313", "0315", "0317", "0318", "0319", "0320")),
    (REFUSED, kms(404, "0316", "0416")),
    (REFUSED, kms(400, "0324", "0325", "0331", "0338", "0339", "0340", "0341", *TAGS)),
    (REFUSED, kms(400, "1105", "1201", "1301", "1402", "1501", "3001", "3802", "3803", "5022", "5023")),
    (ACCESS_KEY, gateway(401, "0301", "0303", "0305", "0307", "0311")),
    (ACCESS_KEY, gateway(403, "0302", "0304", "0306", "0401", "0402", "0404")),
    (ACCESS_KEY, gateway(405, "0501", "0502")),
    (ACCESS_KEY, gateway(400, "1009")),
    (PLACE, gateway(404, "0101", "0103")),
    (PLACE, gateway(403, "0310", "0802")),
    (RUN, [*gateway(400, "0201", "0204", "0607"), *gateway(413, "0201"), *gateway(414, "0201"), *gateway(494, "0201")]),
    (THROTTLED, [*gateway(429, "0308"), *iam(429, "0012")]),
    (SILENT, [*gateway(502, "0201", "0610"), *gateway(504, "0201")]),
    (AGAIN, gateway(500, "0103", "0104", "0105", "0201", "0601", "0605", "0606", "0608", "0609", "0611", "0612")),
    (AGAIN, [*gateway(500, "0705"), *gateway(503, "0613"), *iam(500, "0006")]),
    (REFUSED, gateway(400, "0106", "0602")),
    (ACCESS_KEY, [*iam(401, "0001", "0061", "0062", "0066", "0067"), *iam(404, "0004"), *iam(400, "0011")]),
    (ACCESS_KEY, iam(403, "0002", "0003", "0080", "0081", "0082", "0083")),
    (REFUSED, [(400, "1100"), (400, "1108")]),
    (FORBIDDEN, [(403, "PAP5.0001")]),
]
LISTED = [(status, code, expected) for expected, codes in TABLE for status, code in codes]

# What a status means where the code says nothing, from 200 (a success that could not be read) to what nobody sends.
BY_STATUS = [
    *((status, SILENT) for status in (101, 200, 202, 204, 502, 504)),
    *((status, PLACE) for status in (300, 301, 302, 303, 304, 307, 308)),
    *((status, REFUSED) for status in (400, 402, 404, 405, 406, 409, 410, 413, 414, 415, 422, 494, 501, 505)),
    *((status, ACCESS_KEY) for status in (401, 407)),
    *((status, AGAIN) for status in (408, 500, 503, 507, 511, 599, 999)),
    (403, FORBIDDEN),
    (429, THROTTLED),
]


@pytest.mark.parametrize(("status", "code", "expected"), LISTED)
def test_a_documented_code_means_what_the_table_says(status: int, code: str, expected: Sense) -> None:
    """Meaning, scope and number of retries of every documented code, with its documented status."""
    assert sense(status, code) == expected


def test_no_code_stands_in_the_table_twice() -> None:
    """The table above gives each status and code one meaning."""
    assert len({(status, code) for status, code, _ in LISTED}) == len(LISTED)


@pytest.mark.parametrize(("status", "code", "expected"), [row for row in LISTED if row[1].startswith("APIGW.")])
def test_a_gateway_code_means_the_same_under_its_older_prefix(status: int, code: str, expected: Sense) -> None:
    """``APIG.`` and ``APIGW.`` are one table."""
    assert sense(status, code.replace("APIGW.", "APIG.")) == expected


@pytest.mark.parametrize(("status", "expected"), BY_STATUS)
@pytest.mark.parametrize("code", ["", "KMS.9999", "KMS.0207x", "APIGW.9999", "APIGW.03010", "XAPIGW.0301", "zh", "0"])
def test_a_code_that_is_not_listed_is_decided_on_the_status(status: int, code: str, expected: Sense) -> None:
    """Without a code that is known, the status alone decides."""
    assert sense(status, code) == expected


@pytest.mark.parametrize("number", ["0400", "0403", "0405", "0499", "0500", "0503", "0599"])
@pytest.mark.parametrize("status", [400, 403, 405])
def test_every_gateway_code_of_04_and_05_stops_the_access_key(status: int, number: str) -> None:
    """Addresses that are refused and quotas that are used up concern all that is sent with the access key."""
    assert sense(status, f"APIGW.{number}") == ACCESS_KEY


@pytest.mark.parametrize("number", ["0301", "0303", "0305", "0307", "0311"])
def test_a_failed_signature_stops_the_access_key_under_any_refusal(number: str) -> None:
    """Five of them lock the key, so the code is enough where the status is not the documented 401."""
    assert [sense(status, f"APIGW.{number}") for status in (400, 403)] == [ACCESS_KEY] * 2


@pytest.mark.parametrize("status", [400, 403, 410])
def test_a_key_is_missing_only_by_404(status: int) -> None:
    """KMS.0207 with another status than the documented 404 is a refusal, and proves nothing about the key."""
    assert sense(status, "KMS.0207").meaning is not Meaning.GONE


@given(st.text(max_size=12) | st.sampled_from([code for _, code, _ in LISTED]))
def test_a_401_stops_the_access_key_whatever_else_it_says(code: str) -> None:
    """No body can talk a failed signature into being anything else, nor a redirect, nor a throttle."""
    assert sense(401, code) == ACCESS_KEY
    assert sense(302, code) == PLACE
    assert sense(429, code) == THROTTLED


@given(st.integers(100, 999), st.text(max_size=12) | st.sampled_from([code for _, code, _ in LISTED]))
def test_every_answer_has_a_sense(status: int, code: str) -> None:
    """Any status with any code means something; a scope belongs to a stop, retries to a later attempt."""
    told = sense(status, code)
    assert (told.scope is not None) == (told.meaning is Meaning.STOPPED)
    assert told.retries is None or told.meaning is Meaning.AGAIN
    assert told.meaning is not Meaning.DONE
