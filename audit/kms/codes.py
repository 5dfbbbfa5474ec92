"""What an answer means: HTTP status and error code -> ``Meaning``, and for a stop its scope.

Decided on status and code, never on the text, which changes with language and version. The codes are those of the
DEW API reference (error codes), of API Gateway (``APIGW.`` on service endpoints, ``APIG.`` in older pages; the
numbers coincide) and of IAM. A code that is not listed is decided on the status alone.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from audit.outcome import Meaning


class Scope(StrEnum):
    """How much a stop ends: everything sent with the access key, one place, or the run."""

    ACCESS_KEY = "access key"
    PLACE = "place"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Sense:
    """A meaning; the scope of a stop; and the most retries where the code allows fewer than the run does."""

    meaning: Meaning
    scope: Scope | None = None
    retries: int | None = None


DONE = Sense(Meaning.DONE)
SILENT = Sense(Meaning.SILENT)
_AGAIN = Sense(Meaning.AGAIN)
_REFUSED = Sense(Meaning.REFUSED)
_FORBIDDEN = Sense(Meaning.FORBIDDEN)
_THROTTLED = Sense(Meaning.THROTTLED)
_ACCESS_KEY = Sense(Meaning.STOPPED, Scope.ACCESS_KEY)
_PLACE = Sense(Meaning.STOPPED, Scope.PLACE)
_RUN = Sense(Meaning.STOPPED, Scope.RUN)

_KMS: dict[str, Sense] = {
    "KMS.2901": Sense(Meaning.ALREADY),
    **dict.fromkeys(("KMS.0323", "KMS.3202", "KMS.3801"), Sense(Meaning.AGAIN, retries=2)),
    "KMS.0105": Sense(Meaning.AGAIN, retries=1),
    **dict.fromkeys(("KMS.0306", "KMS.0307", "KMS.0322", "KMS.0326", "KMS.0327", "KMS.0330"), _FORBIDDEN),
    **dict.fromkeys(("KMS.0301", "KMS.0302", "KMS.0303", "KMS.0304", "KMS.0305", "KMS.0314", "KMS.0328"), _ACCESS_KEY),
    "KMS.0321": _PLACE,
    **dict.fromkeys(
        ("KMS.0201", "KMS.0202", "KMS.0203", "KMS.0214", "KMS.0215", "KMS.1601", "KMS.1602", "KMS.1603"), _RUN
    ),
}

_GATEWAY: dict[str, Sense] = {
    **dict.fromkeys(("0301", "0302", "0303", "0304", "0305", "0306", "0307", "0311", "1009"), _ACCESS_KEY),
    **dict.fromkeys(("0101", "0103", "0310", "0802"), _PLACE),
    **dict.fromkeys(("0201", "0204", "0607"), _RUN),
}
_GATEWAY_CODE = re.compile(r"APIGW?\.(\d{4})", re.ASCII)
_GATEWAY_ACCESS = ("04", "05")  # addresses that are refused, quotas that are used up: all of them


def sense(status: int, code: str) -> Sense:  # noqa: PLR0911  # a table, read from the top
    """What an answer that is not a readable success means.

    ``status``: HTTP status; ``code``: the error code of the body, empty where there is none.
    """
    if status == 401:
        return _ACCESS_KEY
    if status == 429:
        return _THROTTLED
    if status < 300 or status in {502, 504}:
        return SILENT
    if status == 408 or (status >= 500 and status not in {501, 505}):
        return _AGAIN
    if status < 400 or status == 407:
        return _by_status(status)
    if status == 404 and code == "KMS.0207":
        return Sense(Meaning.GONE)
    if code in _KMS:
        return _KMS[code]
    if gateway := _GATEWAY_CODE.fullmatch(code):
        return _ACCESS_KEY if gateway[1].startswith(_GATEWAY_ACCESS) else _GATEWAY.get(gateway[1], _by_status(status))
    if code.startswith("IAM."):
        return _ACCESS_KEY
    return _by_status(status)


def _by_status(status: int) -> Sense:
    if status < 400:
        return _PLACE
    if status == 407:
        return _ACCESS_KEY
    return _FORBIDDEN if status == 403 else _REFUSED
