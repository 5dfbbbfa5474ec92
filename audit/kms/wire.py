"""KMS's JSON and the model: the only place that knows how the API spells things.

The service returns most scalars as strings, and some fields as either; unknown fields are ignored, unknown values are
kept as text for the rules to see (DEW API reference, ListKeys, ListKeyDetail, ShowKeyRotationStatus).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from audit.model import FACT_NAMES, Facts

Payload = Mapping[str, Any]
Scrub = Callable[[str], str]

_LONGEST_MARKER = 1000  # characters; it goes back to KMS in the next request


class Unreadable(ValueError):
    """A success whose body is not what the API documents; it counts as no answer."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of list-keys. ``next_marker``: empty on the last page. ``total``: None where it is not stated."""

    keys: Mapping[str, Facts]
    next_marker: str
    total: int | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Code, message and request id of an answer that is no success; each may be empty."""

    code: str
    message: str
    request_id: str


def encode(**fields: str | int) -> bytes:
    """The bytes of a request body."""
    return json.dumps(fields, separators=(",", ":")).encode()


def success(body: bytes) -> Payload:
    """The body of a success: empty or a JSON object that carries no error. Raises Unreadable."""
    if not body.strip():
        return {}
    parsed = _parse(body)
    if not isinstance(parsed, dict):
        raise Unreadable("the body is no JSON object")
    if _pair(parsed) or "error" in parsed:
        raise Unreadable("the body carries an error")
    return parsed


def fault(body: bytes) -> Fault:
    """Code and message in any of the shapes that KMS, the gateway, IAM and proxies answer with."""
    parsed = _parse(body)
    if not isinstance(parsed, dict):
        return Fault("", body.decode("utf-8", "replace").strip(), "")  # whole: a secret cut in two is not recognised
    pair = _pair(parsed) or next((p for v in parsed.values() if isinstance(v, dict) and (p := _pair(v))), ("", ""))
    return Fault(*pair, _text(parsed.get("request_id")))


def _pair(parsed: Payload) -> tuple[str, str] | None:
    for code, message in (("error_code", "error_msg"), ("errorCode", "errorMsg"), ("code", "message")):
        if code in parsed or (message in parsed and code != "code"):
            return _text(parsed.get(code)), _text(parsed.get(message))
    return ("", _text(parsed["message"])) if "message" in parsed and "title" in parsed else None


def _parse(body: bytes) -> object:
    try:
        return json.loads(body, object_pairs_hook=_unambiguous)
    except (ValueError, RecursionError):
        return None


def _unambiguous(pairs: list[tuple[str, Any]]) -> Payload:
    parsed = dict(pairs)
    if len(parsed) < len(pairs) and any(parsed[name] != value for name, value in pairs):
        raise ValueError("a name with two values")
    return parsed


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            return value.strip()
        case int() | float():
            return str(value)
        case _:
            return "{...}" if isinstance(value, Mapping) else "[...]"  # no field of the API holds one


def facts(detail: Payload, scrub: Scrub) -> Facts:
    """The facts of a KeyDetails object or of a rotation status."""
    return Facts.of({name: scrub(_text(detail.get(name))) for name in FACT_NAMES})


def page(payload: Payload, scrub: Scrub) -> Page:
    """A page of list-keys. Raises Unreadable where a key has no details or no id."""
    details = payload.get("key_details")
    if not isinstance(details, list) or not all(isinstance(detail, dict) for detail in details):
        raise Unreadable("key_details is no list of objects")
    keys = {scrub(_text(detail.get("key_id"))): facts(detail, scrub) for detail in details}
    if "" in keys:
        raise Unreadable("a listed key has no key_id")
    last = _text(payload.get("truncated")).lower() == "false"
    marker, total = _text(payload.get("next_marker")), _text(payload.get("total"))
    if len(marker) > _LONGEST_MARKER:
        raise Unreadable("next_marker is too long")
    counted = total.isascii() and total.isdigit() and len(total) < 10
    return Page(keys, "" if last else marker, int(total) if counted else None)


def described(payload: Payload, key_id: str, scrub: Scrub) -> Facts:
    """The facts of describe-key. Raises Unreadable unless they are those of the key that was asked for."""
    info = payload.get("key_info")
    if isinstance(info, list) and len(info) == 1:
        info = info[0]
    if not isinstance(info, dict) or _text(info.get("key_id")) != key_id:
        raise Unreadable("key_info is not that of the key asked for")
    return facts(info, scrub)


def rotation(payload: Payload, scrub: Scrub) -> Facts:
    """The facts of get-key-rotation-status. Raises Unreadable where it does not say whether rotation is on."""
    stated = facts(payload, scrub)
    if stated.rotates is None:
        raise Unreadable("key_rotation_enabled is missing or not understood")
    return stated
