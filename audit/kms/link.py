"""The link of one access key: paced, signed, one request in flight per connection.

``attempt`` sends once and says what came of it. What forbids going on is told to ``Halt`` here, because only here are
its scope and words known.
"""

import asyncio
import email.utils
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from audit import __version__
from audit.halt import Halt, Tally
from audit.kms import codes, wire
from audit.kms.connections import MAX_BODY, Connections, Received, to_network
from audit.kms.credentials import Credentials
from audit.kms.pace import Gate
from audit.kms.regions import host_of
from audit.kms.signing import authorization, sdk_date
from audit.model import Place
from audit.outcome import Attempt, Meaning
from audit.retry import PATIENCE
from audit.scrub import Scrubber

_log = logging.getLogger("kms_rotation")
_UNREACHED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_FRUITLESS = frozenset({Meaning.THROTTLED, Meaning.AGAIN, Meaning.UNREACHED, Meaning.SILENT})
_REFUSED_BY_PROXY = re.compile(r"4(?!08|29)\d\d\b", re.ASCII)
_LONGEST_WAIT = 1e9  # seconds; whatever a server asks for beyond that is the same


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard to press.

    ``rate``: requests a second. ``concurrency``: requests in flight. ``timeout``: seconds, for connecting and for
    reading. ``attempts``: per request.
    """

    rate: float
    concurrency: int
    timeout: float
    attempts: int


class Link:
    """Everything that is sent with one access key.

    ``endpoint``: region -> base URL. ``transport``: makes the transport of a simulated KMS, None for the network.
    ``proxy``: URL of an HTTP proxy, None for none. ``clock``: monotonic seconds. ``now``: UTC.
    """

    def __init__(
        self,
        credentials: Credentials,
        endpoint: Callable[[str], str],
        limits: Limits,
        halt: Halt,
        tally: Tally,
        scrub: Scrubber,
        *,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
        proxy: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._credentials, self._endpoint, self._limits = credentials, endpoint, limits
        self._halt, self._tally, self._scrub, self._clock, self._now = halt, tally, scrub, clock, now
        self._gate = Gate(limits.rate, halt, clock)
        self._turns, self._door = asyncio.Semaphore(limits.concurrency), asyncio.Lock()
        self._proven = False
        self._fruitless_since: float | None = None
        self._connections = Connections(transport or to_network(proxy), 4 * limits.timeout)

    async def close(self) -> None:
        """Close every connection."""
        await self._connections.close()

    async def attempt(self, place: Place, operation: str, body: bytes) -> tuple[Attempt, wire.Payload]:
        """Send once, when it is this request's turn. The payload is empty unless the meaning is ``done``."""
        async with self._turns:
            told, payload = await self._in_turn(place, operation, body)
        self._be_patient(told)
        _log.debug("%s in %s: %s, %s %s", operation, place, told.meaning, told.words, told.request_id)
        return told, payload

    async def _in_turn(self, place: Place, operation: str, body: bytes) -> tuple[Attempt, wire.Payload]:
        if not self._proven:
            async with self._door:  # until one request was answered with other than 401, they go one by one
                if not self._proven:
                    return await self._paced(place, operation, body)
        return await self._paced(place, operation, body)

    async def _paced(self, place: Place, operation: str, body: bytes) -> tuple[Attempt, wire.Payload]:
        if not self._halt.held(place):
            await self._gate.enter()
        if self._halt.held(place):
            return Attempt(Meaning.UNSENT), {}
        self._tally.sent += 1
        at = self._now()
        try:
            received = await self._connections.exchange(self._signed(place, operation, body, at))
        except _UNREACHED as error:
            return self._faulted(place, error, Meaning.UNREACHED, at), {}
        except (httpx.TransportError, OSError) as error:
            return self._faulted(place, error, Meaning.SILENT, at), {}
        return self._judged(place, received, at)

    def _signed(self, place: Place, operation: str, body: bytes, at: datetime) -> httpx.Request:
        base = self._endpoint(place.region)
        path = f"/v1.0/{place.project_id}/kms/{operation}"
        headers = {
            "Content-Type": "application/json",
            "Host": host_of(base),
            "X-Project-Id": place.project_id,
            "X-Sdk-Date": sdk_date(at),
        }
        if self._credentials.security_token:
            headers["X-Security-Token"] = self._credentials.security_token
        keys = self._credentials.access_key, self._credentials.secret_key
        signature = authorization(*keys, "POST", path, headers, body)
        unsigned = {
            "Authorization": signature,
            "User-Agent": f"kms-rotation/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        waits = {"timeout": httpx.Timeout(self._limits.timeout).as_dict()}
        return httpx.Request("POST", base + path, content=body, headers={**headers, **unsigned}, extensions=waits)

    def _judged(self, place: Place, received: Received, at: datetime) -> tuple[Attempt, wire.Payload]:
        status, headers, content = received
        request_id, date = headers.get("X-Request-Id", ""), headers.get("Date", "")
        if status != 401:
            self._proven = True
        if 200 <= status < 300:
            try:
                payload = wire.success(_complete(content))
            except wire.Unreadable as error:
                return self._told(
                    codes.SILENT, at, status, "", f"a success that cannot be read: {error}", request_id
                ), {}
            return self._told(codes.DONE, at, status, "", "", request_id), payload
        fault = wire.fault(content or b"")
        sense = codes.sense(status, fault.code)
        wait = _retry_after(headers.get("Retry-After"), _http_date(date) or self._now())
        told = self._told(sense, at, status, fault.code, fault.message, request_id or fault.request_id, wait)
        if sense.meaning is Meaning.THROTTLED:
            self._tally.throttled += 1
            self._gate.cut(min(wait, PATIENCE))
        elif sense.scope is not None:
            self._stop(sense.scope, place, told, date)
        return told, {}

    def _told(
        self, sense: codes.Sense, at: datetime, status: int, code: str, message: str, request_id: str, wait: float = 0.0
    ) -> Attempt:
        scrub = self._scrub
        return Attempt(
            sense.meaning,
            _stamp(at),
            status,
            scrub(code, 100),
            scrub(message),
            scrub(request_id, 100),
            wait,
            sense.retries,
        )

    def _faulted(self, place: Place, error: Exception, meaning: Meaning, at: datetime) -> Attempt:
        why = self._scrub(f"{type(error).__name__}: {error}".rstrip(": "), 200)
        if isinstance(error, httpx.ConnectError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
            self._halt.give_up(place, f"the certificate of the endpoint cannot be verified: {why}")
            meaning = Meaning.STOPPED
        elif isinstance(error, httpx.ProxyError) and _REFUSED_BY_PROXY.match(str(error)):
            self._halt.give_up(place, f"the proxy refuses to connect: {why}")
            meaning = Meaning.STOPPED
        return Attempt(meaning, _stamp(at), message=why)

    def _be_patient(self, told: Attempt) -> None:
        """End the run after 15 minutes without any success, and at once where a 429 asks to wait longer than that."""
        if told.meaning not in _FRUITLESS:
            if told.meaning is not Meaning.UNSENT:
                self._fruitless_since = None
            return
        now = self._clock()
        since = self._fruitless_since = now if self._fruitless_since is None else self._fruitless_since
        minutes = f"{PATIENCE / 60:.0f} minutes"
        if told.meaning is Meaning.THROTTLED and told.retry_after > PATIENCE:
            why = f"throttled, and asked to wait {told.retry_after:.0f} s, more than {minutes}: {told.words}"
            self._halt.stop(why, "go on later")
        elif now - since > PATIENCE:
            self._halt.stop(
                f"no success for {minutes}, the last answer: {told.words}", "go on later, or with a lower --rate"
            )

    def _stop(self, scope: codes.Scope, place: Place, told: Attempt, date: str) -> None:
        match scope:
            case codes.Scope.PLACE:
                self._halt.give_up(place, told.words)
            case codes.Scope.RUN:
                self._halt.stop(f"KMS says that our request is malformed: {told.words}", "report this as a defect")
            case codes.Scope.ACCESS_KEY:
                clock = f"; {_clocks(date, self._now())}" if told.status == 401 else ""
                self._halt.stop(
                    f"access key {self._credentials.shown} was refused: {told.words}{clock}",
                    "nothing more was sent with it: five failed signatures lock an access key for five minutes",
                )


def _complete(content: bytes | None) -> bytes:
    if content is None:
        raise wire.Unreadable(f"more than {MAX_BODY} bytes")
    return content


def _stamp(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _retry_after(value: str | None, now: datetime) -> float:
    if value is None:
        return 0.0
    if value.strip().isascii() and value.strip().isdigit():
        return min(float(value), _LONGEST_WAIT)
    when = _http_date(value)
    return max(0.0, (when - now).total_seconds()) if when else 0.0


def _http_date(value: str) -> datetime | None:
    try:
        when = email.utils.parsedate_to_datetime(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _clocks(date: str, now: datetime) -> str:
    theirs = _http_date(date)
    if theirs is None:
        return f"our clock says {_stamp(now)}, the answer has no date to compare it with"
    apart = abs((theirs - now).total_seconds())
    hint = ": more than the 15 minutes that a signature allows" if apart > 900 else ""
    return f"our clock says {_stamp(now)}, the server's {_stamp(theirs)}, {apart:.0f} s apart{hint}"
