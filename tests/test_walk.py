"""Reading KMS: one walk per place, single keys where the walk does not show them, no claim beyond what was read."""

import asyncio
from collections.abc import Mapping
from itertools import islice

import pytest

from audit.cloud import SIMULATED_CREDENTIALS, Cloud, Target
from audit.halt import Halt, Tally
from audit.kms.link import Limits
from audit.model import Facts, Place
from audit.outcome import ReadBack
from audit.scrub import Scrubber
from audit.simulator import Core, parse_faults
from audit.walk import Listing, Walk
from tests.simulated import REGION, key, key_id

HOME, AWAY, FAR = (Place("", REGION, digit * 32) for digit in "012")
ON, OFF = Facts(key_rotation_enabled="true"), Facts(key_rotation_enabled="false")


class Told:
    """A KMS that holds what it is given. ``asked``: the calls in order; ``most``: calls at the same time."""

    def __init__(self, *listings: Listing, keys: Mapping[tuple[Place, str], Facts] | None = None) -> None:
        self._listings = {listing.place: listing for listing in listings}
        self._keys = keys or {}
        self.asked: list[tuple[str, Place, str]] = []
        self.open = self.most = 0

    async def _answer(self, what: str, place: Place, key_id: str = "") -> None:
        self.asked.append((what, place, key_id))
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0.001)
        self.open -= 1

    async def list_keys(self, place: Place) -> Listing:
        await self._answer("list", place)
        return self._listings[place]

    async def describe(self, place: Place, key_id: str) -> ReadBack:
        await self._answer("describe", place, key_id)
        facts = self._keys.get((place, key_id))
        return ReadBack("now", facts, "" if facts else "404", gone=facts is None)

    async def rotation(self, place: Place, key_id: str) -> ReadBack:
        await self._answer("rotation", place, key_id)
        return ReadBack("now", self._keys.get((place, key_id)))


def walked(told: Told, *places: Place, halt: Halt | None = None, width: int = 8) -> tuple[Walk, Tally, Halt]:
    """A walk over these places."""
    halt, tally = halt or Halt(), Tally()
    walk = Walk(told, halt, tally, width)
    asyncio.run(walk.walk(places, "2026-11-24T03:34:00Z"))
    return walk, tally, halt


def looked(walk: Walk, *wanted: tuple[Place, str]) -> dict[tuple[Place, str], ReadBack]:
    return asyncio.run(walk.look(wanted))


# Walking --------------------------------------------------------------------------------------------------------------


def test_every_place_is_walked_once() -> None:
    """The listings are kept by place, each is counted, and the walk knows when it was."""
    told = Told(Listing(HOME, {key_id(1): OFF}, 1), Listing(AWAY, {key_id(1): ON, key_id(2): ON}, 2))
    walk, tally, halt = walked(told, HOME, AWAY)
    assert walk.listings.keys() == {HOME, AWAY}
    assert sorted(told.asked) == [("list", HOME, ""), ("list", AWAY, "")]
    assert (tally.done, walk.at, halt.places) == (2, "2026-11-24T03:34:00Z", {})


def test_the_same_key_id_in_two_places_is_two_keys() -> None:
    """Facts are those of the place that was asked for; what a walk did not show is not known."""
    walk, _, _ = walked(Told(Listing(HOME, {key_id(1): OFF}, 1), Listing(AWAY, {key_id(1): ON}, 1)), HOME, AWAY)
    assert (walk.facts(HOME, key_id(1)), walk.facts(AWAY, key_id(1))) == (OFF, ON)
    assert walk.facts(HOME, key_id(2)) is None
    assert walk.facts(FAR, key_id(1)) is None


def test_places_are_walked_several_at_a_time() -> None:
    """As many as the width, and no more."""
    places = [Place("", REGION, f"{number}") for number in range(20)]
    told = Told(*(Listing(place) for place in places))
    walked(told, *places, width=5)
    assert told.most == 5


def test_a_place_that_cannot_be_walked_is_given_up() -> None:
    """The rest goes on; the reason is kept."""
    _, tally, halt = walked(Told(Listing(HOME, fault="list-keys: HTTP 500"), Listing(AWAY)), HOME, AWAY)
    assert halt.places == {HOME: "list-keys: HTTP 500"}
    assert tally.done == 2


def test_a_place_where_listing_is_forbidden_is_not_given_up() -> None:
    """Its keys may still be read one by one."""
    _, _, halt = walked(Told(Listing(HOME, fault="list-keys: HTTP 403 KMS.0306", forbidden=True)), HOME)
    assert halt.places == {}


@pytest.mark.parametrize(
    ("listing", "readable", "counted", "differs"),
    [
        (Listing(HOME, {key_id(1): ON}, 1), True, True, False),
        (Listing(HOME, {key_id(1): ON}, 5), True, True, True),
        (Listing(HOME, {key_id(1): ON}, None), True, True, False),
        (Listing(HOME, {key_id(1): ON}, 5, fault="x"), False, False, False),
        (Listing(HOME, {}, None, fault="x", forbidden=True), True, False, False),
    ],
)
def test_what_a_walk_tells_of_itself(listing: Listing, readable: bool, counted: bool, differs: bool) -> None:
    """A population is counted only by a walk that came to its end, and compared only then."""
    event = listing.told("before", 3)
    assert (event["readable"], event["counted"], event["count_differs"]) == (readable, counted, differs)
    assert (event["listed"], event["unlisted"], event["when"]) == (len(listing.keys), 3, "before")
    assert (event["region"], event["project_id"], event["why"]) == (REGION, HOME.project_id, listing.fault)


# Looking --------------------------------------------------------------------------------------------------------------


def test_a_key_that_the_walk_shows_is_not_asked_for() -> None:
    """One list instead of a request per key; only what is missing is described."""
    told = Told(Listing(HOME, {key_id(1): OFF}, 1), keys={(HOME, key_id(2)): ON})
    walk, _, _ = walked(told, HOME)
    found = looked(walk, (HOME, key_id(1)), (HOME, key_id(2)), (HOME, key_id(3)))
    assert found[HOME, key_id(1)] == ReadBack("", OFF)
    assert found[HOME, key_id(2)].facts == ON
    assert (found[HOME, key_id(3)].facts, found[HOME, key_id(3)].gone) == (None, True)
    assert sorted(told.asked[1:]) == [("describe", HOME, key_id(number)) for number in (2, 3)]


def test_keys_of_a_place_that_was_not_read_are_unknown_and_cost_no_request() -> None:
    """Neither missing nor anything else: the fault says where and why. What was seen before it broke off counts."""
    told = Told(Listing(HOME, {key_id(1): ON}, fault="list-keys: page marker 7 came twice"))
    walk, _, _ = walked(told, HOME)
    found = looked(walk, (HOME, key_id(1)), (HOME, key_id(2)))
    assert found[HOME, key_id(1)].facts == ON
    other = found[HOME, key_id(2)]
    assert (other.facts, other.gone) == (None, False)
    assert other.fault == f"{HOME} could not be read: list-keys: page marker 7 came twice"
    assert len(told.asked) == 1


def test_where_listing_is_forbidden_each_key_is_described() -> None:
    """Also those of later pages, where the first were still allowed."""
    told = Told(Listing(HOME, {key_id(1): ON}, fault="403", forbidden=True), keys={(HOME, key_id(2)): OFF})
    walk, _, _ = walked(told, HOME)
    found = looked(walk, (HOME, key_id(1)), (HOME, key_id(2)))
    assert [found[HOME, key_id(number)].facts for number in (1, 2)] == [ON, OFF]
    assert told.asked[1:] == [("describe", HOME, key_id(2))]


def test_a_place_that_was_given_up_before_the_walk_is_unknown() -> None:
    """A second walk leaves it out; its keys are a fault with the reason, and no request."""
    halt = Halt()
    halt.give_up(AWAY, "HTTP 302")
    told = Told(Listing(HOME))
    walk, _, _ = walked(told, HOME, halt=halt)
    found = looked(walk, (AWAY, key_id(1)))
    assert found[AWAY, key_id(1)].fault == f"{AWAY} could not be read: HTTP 302"
    assert len(told.asked) == 1


def test_nothing_is_walked_and_nothing_crashes_after_the_end() -> None:
    """Keys that are looked for when sending has ended are a fault with the reason of the end."""
    halt = Halt()
    halt.interrupt("SIGTERM")
    walk, _, _ = walked(Told(), halt=halt)
    assert looked(walk, (HOME, key_id(1)))[HOME, key_id(1)].fault == f"{HOME} could not be read: interrupted by SIGTERM"


def test_rotations_are_read_key_by_key() -> None:
    """Each once, several at a time."""
    wanted = [(HOME, key_id(number)) for number in range(9)]
    told = Told(keys=dict.fromkeys(wanted, ON))
    walk = Walk(told, Halt(), Tally(), 3)
    found = asyncio.run(walk.rotations(wanted))
    assert found.keys() == set(wanted)
    assert (len(told.asked), told.most) == (9, 3)


# Against the simulated KMS --------------------------------------------------------------------------------------------


def test_a_whole_walk_against_the_simulated_kms() -> None:
    """One project is walked, one forbids everything, one moved away: three kinds of knowing, and not knowing."""
    seeds = [key(number, project_id=place.project_id) for place in (HOME, AWAY, FAR) for number in range(3)]

    async def scene() -> tuple[Walk, dict[tuple[Place, str], ReadBack], Halt, Core]:
        known = SIMULATED_CREDENTIALS
        core = Core(
            seeds,
            access_key=known.access_key,
            secret_key=known.secret_key,
            faults=parse_faults(f"forbid={AWAY.project_id}"),
        )
        halt, tally = Halt(), Tally()
        cloud = Cloud(Target(Limits(1000, 4, 5, 2), simulated=True), halt, tally, Scrubber(), core)
        walk = Walk(cloud.kms, halt, tally, 4)
        await walk.walk([HOME, AWAY], "now")
        halt.give_up(FAR, "moved")
        found = await walk.look([(place, key_id(number)) for place in (HOME, AWAY, FAR) for number in range(4)])
        await cloud.close()
        return walk, found, halt, core

    walk, found, halt, core = asyncio.run(scene())
    assert [found[HOME, key_id(number)].facts is not None for number in range(4)] == [True, True, True, False]
    assert found[HOME, key_id(3)].gone
    assert not any(found[AWAY, key_id(number)].facts or found[AWAY, key_id(number)].gone for number in range(4))
    assert all("KMS.0306" in found[AWAY, key_id(number)].fault for number in range(4))
    assert all("moved" in found[FAR, key_id(number)].fault for number in range(4))
    assert walk.listings[AWAY].forbidden
    assert set(halt.places) == {FAR}
    operations = [served.operation for served in core.log]
    assert (operations.count("list-keys"), operations.count("describe-key"), len(operations)) == (2, 5, 7)
    assert list(islice(operations, 2)) == ["list-keys"] * 2
