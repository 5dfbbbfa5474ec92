"""The simulated KMS as a whole: gateway, keys and faults. One request in, one reply or one broken exchange out.

No sockets, no waiting: a reply says after how many seconds it is due, and the faces (``transport``, ``server``) wait.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime

from audit.model import DEFAULT_INTERVAL, Key
from audit.simulator.faults import NO_FAULTS, Dice, Fault, Faults
from audit.simulator.gate import Gate, as_signed
from audit.simulator.keys import Keys
from audit.simulator.wire import Break, Cut, Reply, Request, Result, error_body, refusal

SIMULATED_KEY = ("SIMULATEDACCESSKEY00", "SimulatedSecretKeyOfNoAccountAtAll000000")
"""The access key and secret key of a simulated KMS that was given no other."""

SIMULATED_ENDPOINT = "https://kms.{region}.simulated"
"""The endpoint of the in-process face. ``.simulated`` is no name of the Internet."""

_INSTEAD = {
    "throttle": refusal("APIGW.0308"),
    "500": refusal("KMS.0101"),
    "503": refusal("KMS.0104"),
    "502": refusal("APIGW.0201"),
    "permission": refusal("KMS.0306"),
    "forbid": refusal("KMS.0306"),
    "policy": refusal("PAP5.0001"),
    "redirect": Result(302),
    "drop-before": Result(),
}
_PAGES = {"502-after": 502, "garbage": 200}
_BROKEN = {"drop-before": Break.RESET, "drop-after": Break.RESET, "cut": Break.EOF, "noise": Break.NOISE}
_PAGE = b"<html><body>The gateway could not reach the service.</body></html>\n"


@dataclass(frozen=True, slots=True)
class Served:
    """One line of the simulator's log.

    ``at``: seconds of the core's clock. ``status``: None where the exchange was broken off. ``applied``: a write that
    changed its key. ``code``: the error code, empty for a success. What the request did not say is empty.
    """

    at: float
    operation: str
    project_id: str
    key_id: str
    sequence: str
    status: int | None
    applied: bool
    code: str


def _utc() -> datetime:
    return datetime.now(UTC)


class Core:
    """A KMS seeded from an inventory.

    ``rate``: requests a second, None for no throttle. ``latency``: seconds that every answer takes. ``lag``: seconds
    until a read shows a write. ``clock``: seconds, monotonic; ``now``: UTC. ``log``: every request in order of arrival.
    """

    def __init__(  # every way to misbehave is one keyword
        self,
        keys: Iterable[Key],
        *,
        access_key: str,
        secret_key: str,
        security_token: str = "",
        rate: float | None = None,
        latency: float = 0.0,
        lag: float = 0.5,
        faults: Faults = NO_FAULTS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = _utc,
    ) -> None:
        self._keys = Keys(keys, lag=lag, clock=clock)
        self._gate = Gate(access_key, secret_key, security_token, rate, clock=clock, now=now)
        self._dice = Dice(faults)
        self._latency = latency
        self._clock = clock
        self._now = now
        self.log: list[Served] = []

    @property
    def own_domain(self) -> str:
        """The account that the keys belong to: the commonest ``domain_id`` of the seeds."""
        return self._keys.own_domain

    def state(self, region: str, project_id: str, key_id: str) -> tuple[bool, int] | None:
        """Whether rotation is truly on, without lag, and the interval in days; None where there is no such key."""
        return self._keys.state(region, project_id, key_id)

    def restore(self, region: str, project_id: str, key_id: str, interval: int | None = DEFAULT_INTERVAL) -> None:
        """Take up what an earlier run did: rotation is on, every ``interval`` days; None: it is off.

        Raises KeyError where there is no such key.
        """
        self._keys.restore(region, project_id, key_id, interval)

    def handle(self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> Reply | Cut:
        """Answer one request, and log it. ``target``: path and query as on the wire."""
        request_id = hashlib.sha256(b"request %d" % len(self.log)).hexdigest()[:32]
        request = Request.of(method, target, headers, body)
        fault = self._dice.throw(request.access, request.project_id)
        broken = _BROKEN.get(fault.kind) if fault else None
        result = self._faulty(request, fault) if fault else self._answer(request)
        told = result.body or (error_body(result.code, result.detail, request_id) if result.code else b"")
        after = self._latency + (float(fault.argument) if fault and fault.kind == "slow" else 0)
        self.log.append(
            Served(
                self._clock(),
                request.operation,
                request.project_id,
                request.text("key_id"),
                request.text("sequence"),
                None if broken else result.status,
                result.applied,
                result.code,
            )
        )
        reply = Reply(result.status, self._headers(result, request_id), told, after)
        return Cut(broken, reply) if broken else reply

    def _answer(self, request: Request) -> Result:
        if not request.operation:
            return refusal("APIGW.0101")
        if why := self._gate.objection(request):
            return refusal("APIGW.0301", why)
        if not self._gate.admits():
            return refusal("APIGW.0308")
        return self._keys.call(request) if request.method == "POST" else refusal("KMS.0215")

    def _faulty(self, request: Request, fault: Fault) -> Result:
        kind = fault.kind
        if kind in _INSTEAD:
            return _INSTEAD[kind]
        if kind == "refuse":
            return refusal(fault.argument)
        if kind in {"401", "401-echo"}:
            self._gate.count_failure()
            return refusal("APIGW.0301", f"signature mismatch{as_signed(request) if kind == '401-echo' else ''}")
        result = self._answer(request)
        return replace(result, status=_PAGES[kind], body=_PAGE, code="") if kind in _PAGES else result

    def _headers(self, result: Result, request_id: str) -> tuple[tuple[str, str], ...]:
        return (
            ("Date", format_datetime(self._now(), usegmt=True)),
            ("Content-Type", "text/html" if result.body is _PAGE else "application/json"),
            ("X-Request-Id", request_id),
            ("Server", "api-gateway"),
            *((("Location", "https://kms.elsewhere.invalid/"),) if result.status == 302 else ()),
        )
