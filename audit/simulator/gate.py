"""The gateway in front of the simulated KMS: signatures, the lock that follows wrong ones, and the throttle.

The signature is checked from the description in the API signing guide alone, apart from the client's own signing: a
second opinion. Both are compared with the vendor's signer in ``tests/interop``.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from audit.simulator.wire import Request

_AUTHORIZATION = re.compile(
    r"SDK-HMAC-SHA256 +Access=(?P<key>[^ ,]+), *SignedHeaders=(?P<names>[^ ,]+), *Signature=(?P<signature>[0-9a-f]{64})"
)
_BLANKS = " \t"
_DATE = "%Y%m%dT%H%M%SZ"
_TOLERANCE = timedelta(minutes=15)
_FAILURES = 5  # in a row are borne; one more locks the access key
_LOCK = 300.0  # seconds
_SLACK = 20.0  # the bucket holds one request, and a 20th of a second's worth
_WHOLE = 1 - 1e-6  # one token, as sums of fractions come out


def canonical_request(request: Request, names: Sequence[str]) -> str:
    """What a client signs, of the headers named."""
    path, _, query = request.target.partition("?")
    path = quote(unquote(path), safe="/~")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    decoded = sorted((unquote(name), unquote(value)) for name, _, value in pairs)
    return "\n".join(
        [
            request.method.upper(),
            path if path.endswith("/") else f"{path}/",
            "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in decoded),
            *(f"{name}:{request.headers[name].strip(_BLANKS)}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(request.body).hexdigest(),
        ]
    )


def as_signed(request: Request) -> str:
    """What the request's own ``SignedHeaders`` cover, and its Authorization header, as a gateway may echo them."""
    authorization = request.headers.get("authorization", "")
    found = _AUTHORIZATION.fullmatch(authorization)
    names = [name for name in (found["names"].split(";") if found else ()) if name in request.headers]
    return f"\n{canonical_request(request, names)}\nAuthorization: {authorization}"


class Gate:
    """``clock``: seconds, monotonic. ``now``: UTC. ``rate``: requests a second, None for no throttle."""

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        security_token: str,
        rate: float | None,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._security_token = security_token
        self._rate = rate
        self._clock = clock
        self._now = now
        self._failures = 0
        self._locked_until: float | None = None
        self._tokens = self._capacity = 1 + (rate or 0) / _SLACK
        self._filled = clock()

    def admits(self) -> bool:
        """Take one token from the bucket; False where there is none (429)."""
        if self._rate is None:
            return True
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < _WHOLE:
            return False
        self._tokens -= 1
        return True

    def objection(self, request: Request) -> str:
        """Why the request is not authentic (401), or empty; counts the wrong signatures in a row."""
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if found is None:
            return "no AK/SK signature"
        if found["key"] != self._access_key:
            return "the AK does not exist"
        if self._locked_until is not None:
            if self._clock() < self._locked_until:
                return "the AK is locked"
            self._locked_until = None
        why = self._fault(request, found)
        if why:
            self.count_failure()
        else:
            self._failures = 0
        return why

    def count_failure(self) -> None:
        """Count a failed signature; more than five in a row lock the access key for five minutes."""
        self._failures += 1
        if self._failures > _FAILURES:
            self._failures = 0
            self._locked_until = self._clock() + _LOCK

    def _fault(self, request: Request, found: re.Match[str]) -> str:
        headers, names = request.headers, found["names"].split(";")
        if names != sorted(set(names)) or not {"host", "x-sdk-date"} <= set(names) <= set(headers):
            return "the signed headers are not as they must be"
        if self._security_token and (
            "x-security-token" not in names or headers["x-security-token"] != self._security_token
        ):
            return "the security token is missing, wrong or not signed"
        try:
            signed_at = datetime.strptime(headers["x-sdk-date"], _DATE).replace(tzinfo=UTC)
        except ValueError:
            return "X-Sdk-Date is malformed"
        if abs(self._now() - signed_at) > _TOLERANCE:
            return "the signature has expired"
        fits = any(
            hmac.compare_digest(self._signature(spelling, names), found["signature"])
            for spelling in _spellings(request)
        )
        return "" if fits else "signature mismatch"

    def _signature(self, request: Request, names: Sequence[str]) -> str:
        # One character per byte; no method or name with another character can have been signed.
        digest = hashlib.sha256(canonical_request(request, names).encode("latin-1", "replace")).hexdigest()
        text = f"SDK-HMAC-SHA256\n{request.headers['x-sdk-date']}\n{digest}"
        return hmac.new(self._secret_key.encode(), text.encode(), hashlib.sha256).hexdigest()


def _spellings(request: Request) -> tuple[Request, ...]:
    """The request as it came; and as the vendor's SDK signed it, before its transport rewrote the charset."""
    stated = request.headers.get("content-type", "")
    if "charset=utf-8" not in stated:
        return (request,)
    signed = stated.replace("charset=utf-8", "charset=UTF-8")
    return request, replace(request, headers={**request.headers, "content-type": signed})
