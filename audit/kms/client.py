"""KMS as a run sees it: the reads and writes of ``walk`` and ``execute``, over one link."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from audit.halt import Halt
from audit.kms import wire
from audit.kms.link import Link
from audit.model import Facts, Place
from audit.outcome import Action, Attempt, Meaning, ReadBack
from audit.plan import Step
from audit.retry import Tries
from audit.scrub import Scrubber
from audit.walk import Listing

PAGE = "1000"
"""Keys per page of list-keys; KMS takes 1 to 2000."""
BARREN_PAGES = 10
"""Pages in a row without a new key after which a walk ends as a fault: markers could go on for ever."""

_OPERATIONS = {
    Action.ENABLE: "enable-key-rotation",
    Action.SET_INTERVAL: "update-key-rotation-interval",
    Action.DISABLE: "disable-key-rotation",
    Action.RESTORE_INTERVAL: "update-key-rotation-interval",
}
_OFF = "KMS.0313"
"""Rotation is off: an answer to whoever asks for its status, a refusal of an interval, and *already* to disabling."""
_RETRIED = frozenset({Meaning.AGAIN, Meaning.UNREACHED, Meaning.THROTTLED, Meaning.SILENT})

T = TypeVar("T")


class Kms:
    """The reads, each with its retries (``attempts`` per request), and the writes, each sent once."""

    def __init__(self, link: Link, halt: Halt, scrub: Scrubber, attempts: int) -> None:
        self._link, self._halt, self._scrub, self._attempts = link, halt, scrub, attempts

    async def list_keys(self, place: Place) -> Listing:
        """All keys of a place, of every spec, all pages. A repeated marker ends the walk as a fault."""
        keys: dict[str, Facts] = {}
        marker, seen, total, barren = "", {""}, None, 0
        while True:
            start = {"marker": marker} if marker else {}
            body = wire.encode(limit=PAGE, key_spec="ALL", **start)
            told, page = await self._read(place, "list-keys", body, lambda payload: wire.page(payload, self._scrub))
            if page is None:
                why = f"list-keys: {self._why(place, told)}"
                return Listing(place, keys, total, why, forbidden=told.meaning is Meaning.FORBIDDEN)
            barren = 0 if page.keys.keys() - keys.keys() else barren + 1
            keys.update(page.keys)
            total, marker = page.total, page.next_marker
            if not marker:
                return Listing(place, keys, total)
            if barren >= BARREN_PAGES:
                return Listing(
                    place, keys, total, f"list-keys: {barren} pages in a row without a new key, and more to come"
                )
            if marker in seen:
                return Listing(place, keys, total, f"list-keys: page marker {self._scrub(marker, 40)} came twice")
            seen.add(marker)

    async def describe(self, place: Place, key_id: str) -> ReadBack:
        """One key, by its id."""
        told, facts = await self._read(
            place,
            "describe-key",
            wire.encode(key_id=key_id),
            lambda payload: wire.described(payload, key_id, self._scrub),
        )
        return self._read_back(place, told, facts)

    async def rotation(self, place: Place, key_id: str) -> ReadBack:
        """Whether one key rotates, and its interval in days."""
        told, facts = await self._read(
            place,
            "get-key-rotation-status",
            wire.encode(key_id=key_id),
            lambda payload: wire.rotation(payload, self._scrub),
        )
        if told.meaning is Meaning.REFUSED and told.code == _OFF:
            return ReadBack(told.at, Facts(key_rotation_enabled="false"))
        return self._read_back(place, told, facts)

    async def write(self, step: Step) -> Attempt:
        """Send the write request of a step once, with its own sequence."""
        fields: dict[str, str | int] = {"key_id": step.key_id, "sequence": step.sequence}
        if step.interval is not None:
            fields["rotation_interval"] = step.interval
        told, _ = await self._link.attempt(step.place, _OPERATIONS[step.action], wire.encode(**fields))
        already = step.action is Action.DISABLE and told.meaning is Meaning.REFUSED and told.code == _OFF
        return replace(told, meaning=Meaning.ALREADY) if already else told

    async def _read(
        self, place: Place, operation: str, body: bytes, translate: Callable[[wire.Payload], T]
    ) -> tuple[Attempt, T | None]:
        tries = Tries(self._attempts)
        while True:
            told, payload = await self._link.attempt(place, operation, body)
            if told.meaning is Meaning.DONE:
                try:
                    return told, translate(payload)
                except wire.Unreadable as error:
                    told = Attempt(
                        Meaning.SILENT, told.at, told.status, message=f"an answer that cannot be read: {error}"
                    )
            wait = tries.wait_after(told) if told.meaning in _RETRIED else None
            if wait is None or self._halt.held(place):
                return told, None
            await self._halt.sleep(wait)

    def _read_back(self, place: Place, told: Attempt, facts: Facts | None) -> ReadBack:
        if facts is not None:
            return ReadBack(told.at, facts)
        return ReadBack(told.at, fault=self._why(place, told), gone=told.meaning is Meaning.GONE)

    def _why(self, place: Place, told: Attempt) -> str:
        if told.meaning in {Meaning.UNSENT, Meaning.STOPPED}:
            return self._halt.places.get(place) or self._halt.why or told.words
        return told.words
