"""Reading KMS: which keys a place has, and what is true of the ones we ask for.

One paged walk per place tells the state of every key in it, instead of one request per key; only a key that the walk
does not show is asked for by its id, and only where an interval is needed is the rotation status read.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from audit.halt import Halt, Tally, crew
from audit.model import Facts, Place
from audit.outcome import ReadBack


@dataclass(frozen=True, slots=True)
class Listing:
    """What one walk showed.

    ``keys``: facts by key id. ``total``: what KMS says it has. ``fault``: why the walk did not reach its end, empty
    where it did. ``forbidden``: listing is not allowed here; keys may still be read one by one.
    """

    place: Place
    keys: Mapping[str, Facts] = field(default_factory=dict)
    total: int | None = None
    fault: str = ""
    forbidden: bool = False

    def told(self, when: str, unlisted: int) -> dict[str, Any]:
        """The body of the event ``walked``; ``when``: ``before`` or ``after`` the writes."""
        place = self.place
        return {
            "account": place.account,
            "region": place.region,
            "project_id": place.project_id,
            "when": when,
            "readable": not self.fault or self.forbidden,
            "counted": not self.fault,
            "listed": len(self.keys),
            "total": self.total,
            "count_differs": not self.fault and self.total is not None and self.total != len(self.keys),
            "unlisted": unlisted,
            "why": self.fault,
        }


class Reads(Protocol):
    """What reading needs; every call retries by itself and is paced, and none raises for what KMS answers."""

    async def list_keys(self, place: Place) -> Listing:
        """All keys of a place, of every spec, all pages."""

    async def describe(self, place: Place, key_id: str) -> ReadBack:
        """One key, by its id."""

    async def rotation(self, place: Place, key_id: str) -> ReadBack:
        """Whether one key rotates, and its interval in days."""


class Walk:
    """One reading of all places that a run names."""

    def __init__(self, reads: Reads, halt: Halt, tally: Tally, width: int) -> None:
        self._reads, self._halt, self._tally, self._width = reads, halt, tally, width
        self.listings: dict[Place, Listing] = {}
        self.at = ""

    def facts(self, place: Place, key_id: str) -> Facts | None:
        """What the walk showed of a key, None where it did not show it."""
        listing = self.listings.get(place)
        return listing.keys.get(key_id) if listing else None

    async def walk(self, places: Collection[Place], now: str) -> None:
        """Walk every place, several at a time; one that cannot be walked is given up, unless listing is forbidden."""

        async def one(place: Place) -> None:
            listing = await self._reads.list_keys(place)
            if listing.fault and not listing.forbidden and not self._halt.sending_ended:
                self._halt.give_up(place, listing.fault)
            self.listings[place] = listing
            self._tally.done += 1

        self.at = now
        await crew(places, one, self._width)

    async def look(self, wanted: Collection[tuple[Place, str]]) -> dict[tuple[Place, str], ReadBack]:
        """What KMS says of each key: from the walk, else by its id."""
        found: dict[tuple[Place, str], ReadBack] = {}

        async def one(asked: tuple[Place, str]) -> None:
            place, key_id = asked
            listing = self.listings.get(place) or Listing(place, fault=self._halt.places.get(place) or self._halt.why)
            if key_id in listing.keys:
                found[asked] = ReadBack("", listing.keys[key_id])
            elif listing.fault and not listing.forbidden:
                found[asked] = ReadBack("", fault=f"{place} could not be read: {listing.fault}")
            else:
                found[asked] = await self._reads.describe(place, key_id)

        await crew(wanted, one, self._width)
        return found

    async def rotations(self, wanted: Collection[tuple[Place, str]]) -> dict[tuple[Place, str], ReadBack]:
        """The rotation status of each key, read one by one."""
        found: dict[tuple[Place, str], ReadBack] = {}

        async def one(asked: tuple[Place, str]) -> None:
            found[asked] = await self._reads.rotation(*asked)

        await crew(wanted, one, self._width)
        return found
