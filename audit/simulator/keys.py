"""The keys of the simulated KMS and its six operations; no HTTP, no signatures, no faults.

Requests, answers and error codes are those of the DEW API reference (EnableKeyRotation, DisableKeyRotation,
UpdateKeyRotationInterval, ShowKeyRotationStatus, ListKeys, ListKeyDetail). Writes act on the true state; reads show
the state of ``lag`` seconds ago.
"""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice

from audit.model import DEFAULT_INTERVAL, KEY_ID, MAX_INTERVAL, MIN_INTERVAL, Facts, Key, KeyKind, KeyState, kind_of
from audit.simulator.wire import Request, Result, as_json, refusal

DOMAIN = "51900000000000000000000000000a57"
"""Our account where no seed states one."""

_CREATED = "1735689600000"  # milliseconds since 1970, as all times of KMS
_ROTATED = "1751328000000"
_DELETED = "1798761600000"
_MOST = 2000  # keys on a page, and the default
_USAGE = {KeyKind.ASYMMETRIC: "SIGN_VERIFY", KeyKind.HMAC: "GENERATE_VERIFY_MAC"}
_NOT_ENABLED = {
    KeyState.DISABLED.value: "KMS.0209",
    KeyState.PENDING_DELETION.value: "KMS.0210",
    KeyState.FROZEN.value: "KMS.0320",
}


@dataclass(frozen=True, slots=True)
class _Rotation:
    """``switch``: ``true``, ``false``, or what a seed stated instead. ``interval``: days."""

    switch: str
    interval: int
    rotated: bool = False

    @property
    def on(self) -> bool:
        return self.switch == "true"


_History = tuple[tuple[float, _Rotation], ...]
"""When a rotation setting came into force, oldest first."""


@cache
def _always(rotation: _Rotation) -> _History:
    return ((-math.inf, rotation),)


@dataclass(slots=True)
class _Held:
    """One key. ``stated``: what its seed states; the rest has defaults."""

    key_id: str
    realm: str
    stated: Facts
    history: _History

    @property
    def now(self) -> _Rotation:
        return self.history[-1][1]

    def at(self, when: float) -> _Rotation:
        return next(rotation for since, rotation in reversed(self.history) if since <= when)

    def become(self, rotation: _Rotation, when: float, seen: float) -> None:
        """Change at ``when``; what nobody can see any more, before ``seen``, is dropped."""
        later = tuple(entry for entry in self.history if entry[0] > seen)
        self.history = ((-math.inf, self.at(seen)), *later, (when, rotation))

    def facts(self, own_domain: str) -> Facts:
        default = "1" if self.stated.key_alias.endswith("/default") else "0"
        return self.stated.over(
            Facts(f"key-{self.key_id[:8]}", own_domain, "AES_256", KeyState.ENABLED, default, "kms", "0", "SINGLE")
        )

    def details(self, own_domain: str, when: float) -> dict[str, str]:
        """KeyDetails: every scalar is text."""
        facts = self.facts(own_domain)
        return {
            "key_id": self.key_id,
            "domain_id": facts.domain_id,
            "key_alias": facts.key_alias,
            "realm": self.realm,
            "key_spec": facts.key_spec,
            "key_usage": _USAGE.get(kind_of(facts.key_spec), "ENCRYPT_DECRYPT"),
            "key_description": "",
            "creation_date": _CREATED,
            "scheduled_deletion_date": _DELETED if facts.key_state == KeyState.PENDING_DELETION else "",
            "key_state": facts.key_state,
            "default_key_flag": facts.default_key_flag,
            "key_type": "1",
            "expiration_time": "",
            "origin": facts.origin,
            "key_rotation_enabled": self.at(when).switch,
            "sys_enterprise_project_id": "0",
            "keystore_id": facts.keystore_id,
            "keystore_type": "DEFAULT" if facts.keystore_id == "0" else "DHSM",
            "pending_days": "",
            "multi_region_key_type": facts.multi_region_key_type,
        }

    def obstacle(self, own_domain: str) -> str:
        """The code with which KMS refuses every change of this key's rotation; empty where it allows them."""
        facts = self.facts(own_domain)
        kind = kind_of(facts.key_spec)
        not_symmetric = "KMS.0324" if facts.key_spec.startswith("RSA_") else "KMS.0325"
        reasons = (
            ("KMS.0211", facts.default_key_flag == "1"),
            ("KMS.0312", facts.origin == "external"),
            ("KMS.0341", kind is KeyKind.HMAC),
            (not_symmetric, kind is not KeyKind.SYMMETRIC),
            ("KMS.0338", facts.keystore_id != "0"),
            ("KMS.0306", facts.domain_id != own_domain),
            ("KMS.0106", facts.multi_region_key_type == "REPLICA"),
            (_NOT_ENABLED.get(facts.key_state, "KMS.1301"), facts.key_state != KeyState.ENABLED),
        )
        return next((code for code, holds in reasons if holds), "")


_Shelf = dict[str, _Held]


class Keys:
    """All keys, by region and project, and what can be asked of them.

    ``lag``: seconds until a read shows a write. ``clock``: seconds, monotonic.
    """

    def __init__(self, seeds: Iterable[Key], *, lag: float, clock: Callable[[], float]) -> None:
        self._lag = lag
        self._clock = clock
        self._shelves: dict[tuple[str, str], _Shelf] = {}
        self._writes = 0
        self._on_one_key: Mapping[str, Callable[[_Held, Mapping[str, object]], Result]] = {
            "enable-key-rotation": self._enable,
            "disable-key-rotation": self._disable,
            "update-key-rotation-interval": self._set_interval,
            "get-key-rotation-status": self._status,
            "describe-key": self._describe,
        }
        domains: Counter[str] = Counter()
        for seed in seeds:
            facts = seed.facts
            rotation = _Rotation(
                facts.key_rotation_enabled or "false", facts.interval or DEFAULT_INTERVAL, facts.rotates is True
            )
            held = _Held(seed.key_id, seed.place.region, facts, _always(rotation))
            for region in (seed.place.region, ""):
                self._shelves.setdefault((region, seed.place.project_id), {}).setdefault(seed.key_id, held)
            if facts.domain_id:
                domains[facts.domain_id] += 1
        self.own_domain = domains.most_common(1)[0][0] if domains else DOMAIN

    def state(self, region: str, project_id: str, key_id: str) -> tuple[bool, int] | None:
        """Whether rotation is truly on, and the interval in days; None where there is no such key."""
        held = self._shelf(region, project_id).get(key_id)
        return None if held is None else (held.now.on, held.now.interval)

    def restore(self, region: str, project_id: str, key_id: str, interval: int | None) -> None:
        """Rotation has long been on, every ``interval`` days; None: off. Raises KeyError where there is no such key."""
        rotation = _Rotation("false" if interval is None else "true", interval or DEFAULT_INTERVAL)
        self._shelf(region, project_id)[key_id].history = _always(rotation)

    def call(self, request: Request) -> Result:
        """Carry out an operation."""
        body = request.stated
        if body is None:
            return refusal("KMS.0202")
        if "sequence" in body and len(request.text("sequence")) != 36:
            return refusal("KMS.0206")
        shelf = self._shelf(request.region, request.project_id)
        if request.operation == "list-keys":
            return self._list(shelf, body)
        if "key_id" not in body:
            return refusal("KMS.0204", "key_id")
        key_id = request.text("key_id")
        if not KEY_ID.fullmatch(key_id):
            return refusal("KMS.0205")
        return self._on_one_key[request.operation](shelf[key_id], body) if key_id in shelf else refusal("KMS.0207")

    def _shelf(self, region: str, project_id: str) -> _Shelf:
        return self._shelves.get((region, project_id), {})

    def _seen(self) -> float:
        return self._clock() - self._lag

    def _list(self, shelf: _Shelf, body: Mapping[str, object]) -> Result:
        limit = _number(body.get("limit", _MOST))
        if limit is None or not 1 <= limit <= _MOST:
            return refusal("KMS.1601")
        marker = _number(body.get("marker", 0))
        if marker is None:
            return refusal("KMS.1602")
        chosen = self._chosen(shelf, body.get("key_spec") or "AES_256", body.get("key_state"))
        seen, following = self._seen(), marker + limit
        page = [one.details(self.own_domain, seen) for one in islice(chosen, marker, following)]
        more = following < len(chosen)
        return Result(
            body=as_json(
                {
                    "keys": [details["key_id"] for details in page],
                    "key_details": page,
                    "next_marker": str(following) if more else "",
                    "truncated": "true" if more else "false",
                    "total": len(chosen),
                }
            )
        )

    def _chosen(self, shelf: _Shelf, key_spec: object, key_state: object) -> Collection[_Held]:
        if key_spec == "ALL" and key_state is None:
            return shelf.values()
        filtered = []
        for held in shelf.values():
            facts = held.facts(self.own_domain)
            if key_spec not in ("ALL", facts.key_spec) or key_state not in (None, facts.key_state):
                continue
            filtered.append(held)
        return filtered

    def _describe(self, held: _Held, _: Mapping[str, object]) -> Result:
        return Result(body=as_json({"key_info": held.details(self.own_domain, self._seen())}))

    def _status(self, held: _Held, _: Mapping[str, object]) -> Result:
        seen = held.at(self._seen())
        return Result(
            body=as_json(
                {
                    "key_rotation_enabled": {"true": True, "false": False}.get(seen.switch, seen.switch),
                    "rotation_interval": seen.interval,
                    "last_rotation_time": _ROTATED if seen.rotated else "",
                    "number_of_rotations": int(seen.rotated),
                }
            )
        )

    def _enable(self, held: _Held, _: Mapping[str, object]) -> Result:
        code = held.obstacle(self.own_domain) or ("KMS.2901" if held.now.on else "")
        return refusal(code) if code else self._write(held, _Rotation("true", DEFAULT_INTERVAL, held.now.rotated))

    def _disable(self, held: _Held, _: Mapping[str, object]) -> Result:
        code = held.obstacle(self.own_domain) or ("" if held.now.on else "KMS.0313")
        return refusal(code) if code else self._write(held, _Rotation("false", held.now.interval, held.now.rotated))

    def _set_interval(self, held: _Held, body: Mapping[str, object]) -> Result:
        days = body.get("rotation_interval")
        if days is None:
            return refusal("KMS.0204", "rotation_interval")
        code = held.obstacle(self.own_domain) or ("" if held.now.on else "KMS.0313")
        if code:
            return refusal(code)
        if not isinstance(days, int) or isinstance(days, bool) or not MIN_INTERVAL <= days <= MAX_INTERVAL:
            return refusal("KMS.3001")
        return self._write(held, _Rotation("true", days, held.now.rotated))

    def _write(self, held: _Held, rotation: _Rotation) -> Result:
        now = self._clock()
        held.become(rotation, now, now - self._lag)
        self._writes += 1
        return Result(body=b"{}" if self._writes % 2 else b"", applied=True)  # the documents show both


def _number(value: object) -> int | None:
    """A count from a JSON number or a text of digits."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
