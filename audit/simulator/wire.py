"""What passes between a client and the simulated KMS: requests taken apart, results, error bodies, replies.

Statuses are those of the DEW error code table and of API Gateway's; the texts are the simulator's own, for nobody may
decide on a text.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from audit.model import REGION

_HOST = re.compile(rf"kms\.(?P<region>{REGION.pattern})\.simulated(:\d+)?", re.ASCII)
_PATH = re.compile(r"/v1\.0/(?P<project_id>[^/]+)/kms/(?P<operation>[a-z-]+)", re.ASCII)

WRITES = frozenset({"enable-key-rotation", "disable-key-rotation", "update-key-rotation-interval"})
OPERATIONS = WRITES | {"list-keys", "describe-key", "get-key-rotation-status"}

ERRORS: Mapping[str, tuple[int, str]] = {
    "APIGW.0101": (404, "The API does not exist or has not been published"),
    "APIGW.0201": (502, "Backend unavailable"),
    "APIGW.0301": (401, "Incorrect IAM authentication information"),
    "APIGW.0308": (429, "The throttling threshold has been reached"),
    "APIGW.0310": (403, "The project is unavailable"),
    "APIGW.0802": (403, "The IAM user is forbidden in this region"),
    "KMS.0101": (500, "KMS internal error"),
    "KMS.0104": (503, "System exception"),
    "KMS.0106": (400, "A replica key is read-only"),
    "KMS.0202": (400, "The request body is not valid JSON"),
    "KMS.0204": (400, "A parameter is missing"),
    "KMS.0205": (400, "The key id is not valid"),
    "KMS.0206": (400, "The sequence number is not valid"),
    "KMS.0207": (404, "The key does not exist"),
    "KMS.0209": (400, "The key is disabled"),
    "KMS.0210": (400, "The key is scheduled for deletion"),
    "KMS.0211": (400, "The operation is not allowed on default master keys"),
    "KMS.0215": (405, "The HTTP method is not supported"),
    "KMS.0303": (403, "The X-Auth-Token has expired"),
    "KMS.0306": (403, "No permission to perform this operation"),
    "KMS.0312": (400, "Imported keys cannot be rotated"),
    "KMS.0313": (400, "Key rotation is not enabled"),
    "KMS.0314": (403, "Real-name authentication is needed"),
    "KMS.0320": (400, "The resource is frozen"),
    "KMS.0321": (403, "The project of the URL is not that of the token"),
    "KMS.0324": (400, "RSA keys cannot be rotated"),
    "KMS.0325": (400, "Asymmetric keys do not support this operation"),
    "KMS.0328": (403, "The KMS service is frozen"),
    "KMS.0338": (400, "Custom keystores do not support rotation"),
    "KMS.0341": (400, "HMAC keys do not support this operation"),
    "KMS.1301": (400, "The key is not enabled"),
    "KMS.1601": (400, "The limit is not valid"),
    "KMS.1602": (400, "The marker is not valid"),
    "KMS.2901": (400, "Key rotation is not disabled"),
    "KMS.3001": (400, "The rotation interval is not valid"),
    "PAP5.0001": (403, "Denied by an identity policy"),
}
"""Code -> HTTP status and text."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came, and what it asks for.

    ``target``: path and query as on the wire. ``headers``: by lower-case name, one character per byte. ``region``: the
    one that the host names; empty for all. ``operation``: one of ``OPERATIONS``, else empty. ``stated``: the JSON
    object of the body, None if it is none.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    region: str
    project_id: str
    operation: str
    stated: Mapping[str, object] | None

    @classmethod
    def of(cls, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> Self:
        """Take a request apart; nothing that comes is too strange for it."""
        named = {name.lower(): value for name, value in headers}
        host = _HOST.fullmatch(named.get("host", ""))
        path = _PATH.fullmatch(target.partition("?")[0])
        region, project_id, asked = host["region"] if host else "", *(path.groups() if path else ("", ""))
        try:
            stated = json.loads(body)
        except (ValueError, RecursionError):
            stated = None
        return cls(
            method,
            target,
            named,
            body,
            region,
            project_id,
            asked if asked in OPERATIONS else "",
            stated if isinstance(stated, dict) else None,
        )

    @property
    def access(self) -> str:
        """``writes``, ``reads``, or empty for what is no operation."""
        return ("writes" if self.operation in WRITES else "reads") if self.operation else ""

    def text(self, name: str) -> str:
        """A text of the body by name; empty where there is none."""
        value = self.stated.get(name) if self.stated else None
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a request. ``code``: empty for a success. ``applied``: a write that changed its key."""

    status: int = 200
    body: bytes = b""
    code: str = ""
    detail: str = ""
    applied: bool = False


def refusal(code: str, detail: str = "") -> Result:
    """An error; 400 for a code that is not in the table."""
    return Result(ERRORS.get(code, (400, ""))[0], code=code, detail=detail)


def as_json(value: object) -> bytes:
    """The bytes of a JSON body."""
    return json.dumps(value, ensure_ascii=False).encode()


def error_body(code: str, detail: str, request_id: str) -> bytes:
    """KMS nests an error in ``error``; what stands before KMS answers flat, with the request id and a line end."""
    text = ERRORS.get(code, (400, "The operation failed"))[1]
    said = {"error_msg": f"{text}: {detail}" if detail else text, "error_code": code}
    if code.startswith("KMS."):
        return as_json({"error": said})
    extra = {"encoded_authorization_message": "c2ltdWxhdGVk" * 8} if code == "PAP5.0001" else {}
    return as_json({**said, "request_id": request_id, **extra}) + b"\n"


class Break(StrEnum):
    """How an exchange ends without a whole answer."""

    RESET = "reset"
    EOF = "eof"
    NOISE = "noise"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. ``after``: seconds until it is sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Cut:
    """No whole answer: a reset connection, ``reply`` as far as half of its body, or bytes that are no HTTP."""

    how: Break
    reply: Reply

    @property
    def part(self) -> bytes:
        """What of the body is sent before the connection ends."""
        return self.reply.body[: len(self.reply.body) // 2]


NOISE = b"\x16\x03\x01\x00\x02 this is not HTTP\r\n\r\n"
"""What is sent in place of an answer for ``Break.NOISE``."""
