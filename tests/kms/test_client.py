"""KMS as a run sees it: pages, retries, waits, and facts that are those of the key that was asked for."""

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from email.utils import format_datetime
from itertools import count, pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.halt import Halt, Tally
from audit.kms.client import BARREN_PAGES, Kms
from audit.kms.credentials import Credentials
from audit.kms.link import Limits, Link
from audit.model import Facts, Place
from audit.outcome import INTERVALS, Action, Attempt, Meaning, ReadBack
from audit.plan import Step
from audit.retry import BASE, CAP, PATIENCE
from audit.scrub import Scrubber
from audit.simulator import Core, SimulatedTransport, parse_faults
from audit.walk import Listing
from tests.kms.timeless import START, clock, now, timeless
from tests.simulated import ACCESS_KEY, PROJECT, REGION, SECRET_KEY, SEQUENCE, core, key, key_id

PLACE = Place("", REGION, PROJECT)
KEY = key_id(1)
TOKEN = "made-up-security-token-" + "t" * 200
ENABLE = Step(1, 1, PLACE, KEY, Action.ENABLE, None, SEQUENCE)
INTERVAL = Step(2, 1, PLACE, KEY, Action.SET_INTERVAL, 90, SEQUENCE)

Answer = tuple[int, object] | tuple[int, object, dict[str, str]] | Exception


class Scripted(httpx.AsyncBaseTransport):
    """Gives one answer after the other, the last one for ever, and raises exceptions. ``asked``: what came, when."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self._answers = iter(answers)
        self._last: Answer = (500, b"")
        self.asked: list[tuple[float, str, bytes]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((clock(), request.url.path.rpartition("/")[2], request.content))
        self._last = next(self._answers, self._last)
        await asyncio.sleep(0.02)
        if isinstance(self._last, Exception):
            raise self._last
        status, body, *more = self._last
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.Response(status, headers=more[0] if more else {}, stream=httpx.ByteStream(content))

    @property
    def bodies(self) -> list[dict[str, object]]:
        return [json.loads(body) for _, _, body in self.asked]

    @property
    def waits(self) -> list[float]:
        """Seconds between a request and the next."""
        return [later - earlier for earlier, later in pairwise(at for at, *_ in self.asked)]


class Scene:
    """A client and what it is made of, on the clock of the scene."""

    def __init__(self, transport: httpx.AsyncBaseTransport, attempts: int = 5, rate: float = 1000) -> None:
        credentials = Credentials(ACCESS_KEY, SECRET_KEY, TOKEN)
        self.halt, self.tally, scrub = Halt(), Tally(), Scrubber(credentials.secrets)
        self.link = Link(
            credentials,
            lambda region: f"https://kms.{region}.simulated",
            Limits(rate, 4, 10, attempts),
            self.halt,
            self.tally,
            scrub,
            transport=lambda: transport,
            clock=clock,
            now=now,
        )
        self.kms = Kms(self.link, self.halt, scrub, attempts)


def played(
    answers: Iterable[Answer], play: Callable[[Kms], Awaitable[object]], attempts: int = 5
) -> tuple[object, Scripted, Halt]:
    """What came of a play against these answers."""

    async def scene() -> tuple[object, Scripted, Halt]:
        scripted = Scripted(answers)
        made = Scene(scripted, attempts)
        return await play(made.kms), scripted, made.halt

    return timeless(scene())


def simulated(made: Callable[[], Core], play: Callable[[Kms], Awaitable[object]]) -> tuple[object, Core]:
    """What came of a play against a simulated KMS."""

    async def scene() -> tuple[object, Core]:
        kept = made()
        return await play(Scene(SimulatedTransport(kept)).kms), kept

    return timeless(scene())


async def walk(kms: Kms) -> Listing:
    return await kms.list_keys(PLACE)


async def describe(kms: Kms) -> ReadBack:
    return await kms.describe(PLACE, KEY)


async def rotation(kms: Kms) -> ReadBack:
    return await kms.rotation(PLACE, KEY)


async def enable(kms: Kms) -> Attempt:
    return await kms.write(ENABLE)


READS = pytest.mark.parametrize("play", [walk, describe, rotation])


def details(number: int = 1, **more: object) -> dict[str, object]:
    return {"key_id": key_id(number), "key_spec": "AES_256", "key_rotation_enabled": "false", **more}


def page(*numbers: int, **more: object) -> tuple[int, dict[str, object]]:
    listed = [details(number) for number in numbers]
    return 200, {"key_details": listed, "next_marker": "", "truncated": "false", "total": len(numbers), **more}


def more_to_come(*numbers: int, marker: str, **more: object) -> tuple[int, dict[str, object]]:
    return page(*numbers, next_marker=marker, truncated="true", **more)


def error(status: int, code: str = "", **headers: str) -> Answer:
    return status, {"error": {"error_code": code, "error_msg": "said"}}, headers


DESCRIBED: Answer = (200, {"key_info": details()})
GOOD: dict[object, Answer] = {
    walk: page(1),
    describe: DESCRIBED,
    rotation: (200, {"key_rotation_enabled": True, "rotation_interval": 365}),
}


def faultless(told: object) -> bool:
    """Whether a read came to what was asked for."""
    assert isinstance(told, Listing | ReadBack)
    return not told.fault


# Requests, byte by byte -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("play", "operation", "body"),
    [
        (walk, "list-keys", b'{"limit":"1000","key_spec":"ALL"}'),
        (describe, "describe-key", b'{"key_id":"%s"}' % KEY.encode()),
        (rotation, "get-key-rotation-status", b'{"key_id":"%s"}' % KEY.encode()),
        (enable, "enable-key-rotation", b'{"key_id":"%s","sequence":"%s"}' % (KEY.encode(), SEQUENCE.encode())),
        (
            lambda kms: kms.write(INTERVAL),
            "update-key-rotation-interval",
            b'{"key_id":"%s","sequence":"%s","rotation_interval":90}' % (KEY.encode(), SEQUENCE.encode()),
        ),
    ],
)
def test_each_request_is_as_documented(play: Callable[[Kms], Awaitable[object]], operation: str, body: bytes) -> None:
    """Operation and body to the byte: limit a text, interval a number, ALL specs, a sequence of 36 on writes alone."""
    _, scripted, _ = played([(200, b"")], play, attempts=1)
    assert [(asked, sent) for _, asked, sent in scripted.asked] == [(operation, body)]
    assert b"sequence" not in body or len(scripted.bodies[0]["sequence"]) == 36  # type: ignore[arg-type]


# Walking --------------------------------------------------------------------------------------------------------------


def test_a_walk_reads_every_page_of_every_spec() -> None:
    """2,500 keys of all specs are three requests, and the marker is handed back as it came."""
    specs = ["AES_256", "SM4", "RSA_2048", "HMAC_256", "EC_P256"]
    seeds = [key(number, key_spec=specs[number % 5]) for number in range(2500)]
    told, kept = simulated(lambda: core(seeds, now=now), walk)
    assert isinstance(told, Listing)
    assert (len(told.keys), told.total, told.fault) == (2500, 2500, "")
    assert [served.operation for served in kept.log] == ["list-keys"] * 3
    _, scripted, _ = played([more_to_come(1, marker="00abc/="), page(2)], walk)
    assert scripted.bodies[1] == {"limit": "1000", "key_spec": "ALL", "marker": "00abc/="}


@pytest.mark.parametrize(
    "markers",
    [["1", "1"], ["1", "2", "1"], ["1", "2", "3", "2"]],
)
def test_a_marker_that_comes_twice_ends_the_walk_as_a_fault(markers: list[str]) -> None:
    """A walk that would go in a circle is not a walk, and what it showed is kept."""
    pages = [more_to_come(number, marker=marker) for number, marker in enumerate(markers)]
    told, scripted, _ = played(pages, walk)
    assert isinstance(told, Listing)
    assert told.fault == f"list-keys: page marker {markers[-1]} came twice"
    assert len(told.keys) == len(scripted.asked) == len(markers)


def test_markers_without_end_and_without_keys_end_the_walk_as_a_fault() -> None:
    """A server that always has another page, and never another key, is left."""
    told, scripted, _ = played((more_to_come(1, marker=str(number)) for number in count()), walk)
    assert isinstance(told, Listing)
    assert "without a new key" in told.fault
    assert len(scripted.asked) == BARREN_PAGES + 1


def test_a_few_empty_pages_are_no_fault() -> None:
    """A page without keys in mid-walk is passed over."""
    empty = [more_to_come(marker=str(number)) for number in range(BARREN_PAGES - 1)]
    told, _, _ = played([*empty, page(1, 2)], walk)
    assert isinstance(told, Listing)
    assert (list(told.keys), told.fault) == ([key_id(1), key_id(2)], "")


@pytest.mark.parametrize(
    ("total", "differs"), [(2, False), (1, True), (99, True), ("2", False), (None, False), ("x", False)]
)
def test_a_total_that_lies_is_noted(total: object, differs: bool) -> None:
    """The walk counts by itself; where KMS says another number, the event says so."""
    told, _, _ = played([more_to_come(1, marker="1", total=7), page(2, total=total)], walk)
    assert isinstance(told, Listing)
    event = told.told("before", 0)
    assert (event["count_differs"], event["listed"], event["counted"], event["readable"]) == (differs, 2, True, True)


@pytest.mark.parametrize("pages", [0, 2])
def test_a_walk_that_is_forbidden_says_so(pages: int) -> None:
    """Listing refused for permission, at whatever page: the keys may still be read one by one."""
    before = [more_to_come(number, marker=str(number)) for number in range(pages)]
    told, _, halt = played([*before, error(403, "KMS.0306")], walk)
    assert isinstance(told, Listing)
    assert (told.forbidden, len(told.keys)) == (True, pages)
    event = told.told("before", 0)
    assert (event["readable"], event["counted"]) == (True, False)
    assert "KMS.0306" in event["why"]
    assert not halt.places


@pytest.mark.parametrize(
    "how", [error(500), error(404), (200, b"<html>"), httpx.ReadTimeout("slow"), httpx.ConnectError("no")]
)
def test_a_walk_that_breaks_off_is_not_counted(how: Answer) -> None:
    """What later pages held is not known; nothing is claimed of it."""
    told, _, _ = played([more_to_come(1, marker="1"), how], walk, attempts=2)
    assert isinstance(told, Listing)
    event = told.told("after", 0)
    assert (event["readable"], event["counted"], event["count_differs"]) == (False, False, False)
    assert event["why"].startswith("list-keys: ")


# Reading one key ------------------------------------------------------------------------------------------------------


def test_a_described_key_is_read_back_with_the_time_of_the_request() -> None:
    """Facts, and when they were asked for."""
    told, _, _ = played([DESCRIBED], describe)
    assert told == ReadBack("2026-11-24T03:34:00Z", Facts(key_spec="AES_256", key_rotation_enabled="false"))


def test_a_key_that_kms_does_not_have_is_gone() -> None:
    """404 with KMS.0207 says so."""
    told, _, _ = played([error(404, "KMS.0207")], describe)
    assert isinstance(told, ReadBack)
    assert (told.gone, told.facts) == (True, None)


@pytest.mark.parametrize(
    "how", [error(404), error(404, "APIGW.0101"), error(400, "KMS.0207"), (404, b"<html>"), (204, b"")]
)
def test_no_other_answer_makes_a_key_missing(how: Answer) -> None:
    """A wrong path, a proxy's page, another status: the key is not known to be gone."""
    told, _, _ = played([how], describe, attempts=1)
    assert isinstance(told, ReadBack)
    assert (told.gone, told.facts) == (False, None)
    assert told.fault


@pytest.mark.parametrize(
    "payload",
    [
        {"key_info": details(2)},
        {"key_info": [details(1), details(2)]},
        {"key_info": {}},
        {"key_details": [details(1)]},
        {},
        {"error": {"error_code": "KMS.0101"}},
        {"key_info": details(1), "error_code": "KMS.0101", "error_msg": "x"},
    ],
)
def test_what_is_not_about_the_key_says_nothing_about_it(payload: object) -> None:
    """A 200 with another key, no key, or an error is no read-back; it is tried again, and then a fault."""
    told, scripted, _ = played([(200, payload)], describe, attempts=3)
    assert isinstance(told, ReadBack)
    assert (told.facts, told.gone) == (None, False)
    assert "cannot be read" in told.fault
    assert len(scripted.asked) == 3


@pytest.mark.parametrize(
    ("how", "facts"),
    [
        (error(400, "KMS.0313"), Facts(key_rotation_enabled="false")),
        (error(500, "KMS.0313"), None),
        (error(403, "KMS.0313"), None),
        (error(400, "KMS.0312"), None),
        ((200, {"key_rotation_enabled": "maybe"}), None),
        ((200, {"key_rotation_enabled": "true", "rotation_interval": "180"}), Facts("", *[""] * 7, "true", "180")),
    ],
)
def test_a_rotation_status_is_a_clear_word_or_none(how: Answer, facts: Facts | None) -> None:
    """KMS.0313, refused as documented, means off; nothing else that fails means anything."""
    told, _, _ = played([how], rotation, attempts=2)
    assert isinstance(told, ReadBack)
    assert told.facts == facts


# Retries --------------------------------------------------------------------------------------------------------------

PASSING: list[Answer] = [
    error(500, "KMS.0101"),
    error(503),
    error(408),
    error(599),
    (502, b"<html>"),
    (504, b""),
    (200, b"garbage"),
    httpx.ReadTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.WriteError("reset"),
    httpx.RemoteProtocolError("noise"),
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("slow"),
    httpx.PoolTimeout("full"),
    httpx.ProxyError("502 Bad Gateway"),
    OSError("broken"),
    TimeoutError(),
]


@READS
@pytest.mark.parametrize(
    "how", PASSING, ids=lambda how: how.__class__.__name__ if isinstance(how, Exception) else how[0]
)
def test_a_read_is_repeated_until_its_attempts_are_used_up(
    play: Callable[[Kms], Awaitable[object]], how: Answer
) -> None:
    """Four bad answers and a good one are a success; five bad ones are a fault that names the last."""
    told, scripted, halt = played([how] * 4 + [GOOD[play]], play)
    assert faultless(told)
    assert len(scripted.asked) == 5
    assert len({body for *_, body in scripted.asked}) == 1, "the same request every time"
    told, scripted, halt = played([how] * 5 + [GOOD[play]], play)
    assert not faultless(told)
    assert len(scripted.asked) == 5
    assert not halt.sending_ended


def kinds(of: type[Exception]) -> list[type[Exception]]:
    """A class of exceptions and all that derive from it."""
    return [of, *(kind for derived in of.__subclasses__() for kind in kinds(derived))]


@pytest.mark.parametrize("kind", kinds(httpx.TransportError))
def test_every_exception_of_a_transport_is_an_attempt(kind: type[httpx.TransportError]) -> None:
    """No class of httpx's transport errors escapes, and only those before the sending say that it was not sent."""
    told, _, _ = played([kind("said")], enable)
    assert isinstance(told, Attempt)
    before = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
    assert told.meaning is (Meaning.UNREACHED if issubclass(kind, before) else Meaning.SILENT)
    assert told.message == f"{kind.__name__}: said"


@pytest.mark.parametrize(
    "kind", [ssl.SSLError, ssl.SSLZeroReturnError, ConnectionResetError, BrokenPipeError, socket.gaierror]
)
def test_what_lies_below_httpx_is_an_attempt_too(kind: type[OSError]) -> None:
    """TLS errors under way reach us as they are; the request may have arrived."""
    told, _, _ = played([kind(1, "said")], enable)
    assert isinstance(told, Attempt)
    assert told.meaning is Meaning.SILENT


@READS
@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 413, 501, 505])
def test_a_final_no_is_not_asked_twice(play: Callable[[Kms], Awaitable[object]], status: int) -> None:
    """No other 4xx, no 501 and no 505 is repeated."""
    told, scripted, _ = played([error(status), GOOD[play]], play)
    assert not faultless(told)
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(("code", "requests"), [("KMS.0323", 3), ("KMS.3202", 3), ("KMS.3801", 3), ("KMS.0105", 2)])
def test_the_few_400_that_may_pass_are_repeated_at_most_twice(code: str, requests: int) -> None:
    """However many attempts a run allows; and a smaller number of attempts is not raised."""
    _, scripted, _ = played([error(400, code)], describe, attempts=9)
    assert len(scripted.asked) == requests
    _, scripted, _ = played([error(400, code)], describe, attempts=1)
    assert len(scripted.asked) == 1


def test_waits_grow_and_are_bounded() -> None:
    """Each wait is at most twice the bound before, and never above the cap."""
    bounds = [min(CAP, BASE * 2**number) for number in range(11)]
    _, scripted, _ = played([error(500)], describe, attempts=12)
    assert all(wait <= bound + 0.1 for wait, bound in zip(scripted.waits, bounds, strict=True))
    assert sum(scripted.waits) > 1


@pytest.mark.parametrize("status", [429, 500, 503, 408, 502])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(status: int, form: str) -> None:
    """Seconds or a date: the next request comes no earlier, and not much later."""
    asked = "40" if form == "seconds" else format_datetime(START + timedelta(seconds=40))
    _, scripted, _ = played([(status, b"", {"Retry-After": asked}), DESCRIBED], describe)
    assert scripted.waits[0] == pytest.approx(40, abs=0.7)


@pytest.mark.parametrize("status", [503, 500])
def test_a_day_of_retry_after_is_reported_and_not_slept(status: int) -> None:
    """A wait beyond the run's patience ends the attempts at once."""
    told, scripted, _ = played([(status, b"", {"Retry-After": "86400"}), DESCRIBED], describe)
    assert not faultless(told)
    assert len(scripted.asked) == 1


def test_a_day_of_throttling_ends_the_run() -> None:
    """A 429 that asks for more than the run's patience stops everything, and says how long it asked for."""
    _, scripted, halt = played([(429, b"", {"Retry-After": "86400"}), DESCRIBED], describe)
    assert len(scripted.asked) == 1
    assert "asked to wait 86400 s" in halt.why


# Throttling -----------------------------------------------------------------------------------------------------------


@READS
def test_a_429_uses_up_no_attempt(play: Callable[[Kms], Awaitable[object]]) -> None:
    """Thirty of them, and the only attempt that the run allows is still there."""
    told, scripted, halt = played([error(429, "APIGW.0308")] * 30 + [GOOD[play]], play, attempts=1)
    assert faultless(told)
    assert len(scripted.asked) == 31
    assert min(scripted.waits) >= 0.5
    assert not halt.sending_ended


FRUITLESS: list[Answer] = [error(429), error(503), (200, b"garbage"), httpx.ReadTimeout("slow")]


@pytest.mark.parametrize("how", FRUITLESS, ids=["429", "503", "unreadable", "silence"])
def test_fifteen_minutes_without_any_success_stop_the_run(how: Answer) -> None:
    """Whatever kind of failure it is: the reason names the last, and nothing is sent after it."""

    async def scene() -> tuple[float, Scripted, Halt, int]:
        scripted = Scripted([DESCRIBED, how])
        made = Scene(scripted)
        began = clock()
        while not made.halt.sending_ended:
            await describe(made.kms)
        lasted, sent = clock() - began, len(scripted.asked)
        await describe(made.kms)
        return lasted, scripted, made.halt, sent

    lasted, scripted, halt, sent = timeless(scene())
    assert PATIENCE <= lasted <= PATIENCE + CAP + 1
    assert halt.why.startswith("no success for 15 minutes")
    assert len(scripted.asked) == sent > 5


def test_idle_time_is_not_time_without_success() -> None:
    """An hour at the question does not count: the first 429 after it begins the fifteen minutes."""

    async def play(kms: Kms) -> object:
        await kms.describe(PLACE, KEY)
        await asyncio.sleep(3600)
        return await kms.describe(PLACE, KEY)

    told, _, halt = played([DESCRIBED, error(429), error(503), DESCRIBED], play)
    assert faultless(told)
    assert not halt.sending_ended


def test_one_success_is_enough_to_be_patient_again() -> None:
    """An hour in which every hundredth request succeeds is slow, and goes on."""

    async def play(kms: Kms) -> float:
        began = clock()
        while clock() - began < 3600:
            await kms.describe(PLACE, KEY)
        return clock() - began

    answers = (DESCRIBED if number % 100 == 0 else error(429) for number in count())
    _, _, halt = played(answers, play)
    assert not halt.sending_ended


# Writing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [*PASSING, error(429), error(400, "KMS.2901"), (200, b"{}"), (200, b"")], ids=str)
def test_a_write_is_sent_once_per_call(how: Answer) -> None:
    """Whether it is sent again is not for the client to say."""
    told, scripted, _ = played([how, (200, b"")], enable)
    assert isinstance(told, Attempt)
    assert len(scripted.asked) == 1
    assert told.at == "2026-11-24T03:34:00Z"


@pytest.mark.parametrize(
    ("how", "meaning"),
    [
        ((200, b"{}"), Meaning.DONE),
        ((200, b""), Meaning.DONE),
        ((200, {"new": 1}), Meaning.DONE),
        (error(400, "KMS.2901"), Meaning.ALREADY),
        (error(404, "KMS.0207"), Meaning.GONE),
        (error(400, "KMS.0324"), Meaning.REFUSED),
        (error(403, "KMS.0306"), Meaning.FORBIDDEN),
        (error(200, "KMS.0101"), Meaning.SILENT),
        ((502, b""), Meaning.SILENT),
        (httpx.ReadError("reset"), Meaning.SILENT),
        (httpx.ConnectError("refused"), Meaning.UNREACHED),
        (error(429), Meaning.THROTTLED),
        (error(500), Meaning.AGAIN),
        (error(403, "KMS.0321"), Meaning.STOPPED),
    ],
)
def test_a_write_comes_to_what_was_answered(how: Answer, meaning: Meaning) -> None:
    """The meaning of each kind of answer to a write."""
    told, _, _ = played([how], enable)
    assert isinstance(told, Attempt)
    assert told.meaning is meaning


@pytest.mark.parametrize(
    ("action", "how", "meaning"),
    [
        (Action.DISABLE, error(400, "KMS.0313"), Meaning.ALREADY),
        (Action.DISABLE, error(500, "KMS.0313"), Meaning.AGAIN),
        (Action.DISABLE, error(403, "KMS.0313"), Meaning.FORBIDDEN),
        (Action.DISABLE, error(400, "KMS.0209"), Meaning.REFUSED),
        (Action.ENABLE, error(400, "KMS.0313"), Meaning.REFUSED),
        (Action.SET_INTERVAL, error(400, "KMS.0313"), Meaning.REFUSED),
        (Action.RESTORE_INTERVAL, error(400, "KMS.0313"), Meaning.REFUSED),
    ],
)
def test_rotation_is_off_means_done_only_to_who_turns_it_off(action: Action, how: Answer, meaning: Meaning) -> None:
    """KMS.0313, refused as documented, is *already* to a step that disables, and a refusal to every other one."""

    async def send(kms: Kms) -> Attempt:
        return await kms.write(Step(1, 1, PLACE, KEY, action, 90 if action in INTERVALS else None, SEQUENCE))

    told, _, _ = played([how], send)
    assert isinstance(told, Attempt)
    assert told.meaning is meaning


# Stops ----------------------------------------------------------------------------------------------------------------


@READS
def test_nothing_is_sent_to_a_place_that_was_given_up(play: Callable[[Kms], Awaitable[object]]) -> None:
    """The read is a fault that says why the place was given up."""

    async def scene() -> tuple[object, Scripted]:
        scripted = Scripted([GOOD[play]])
        made = Scene(scripted)
        made.halt.give_up(PLACE, "it moved away")
        return await play(made.kms), scripted

    told, scripted = timeless(scene())
    assert isinstance(told, Listing | ReadBack)
    assert "it moved away" in told.fault
    assert scripted.asked == []


def test_an_interrupt_ends_a_wait_and_nothing_is_repeated() -> None:
    """A signal in mid-backoff is answered at once."""

    async def scene() -> tuple[object, Scripted, float]:
        scripted = Scripted([(503, b"", {"Retry-After": "600"}), DESCRIBED])
        made = Scene(scripted)
        asyncio.get_running_loop().call_later(5, made.halt.interrupt, "SIGINT")
        return await describe(made.kms), scripted, clock()

    told, scripted, ended = timeless(scene())
    assert isinstance(told, ReadBack)
    assert told.fault == "interrupted by SIGINT"
    assert (len(scripted.asked), ended) == (1, pytest.approx(1005))


def test_a_redirect_in_mid_walk_gives_the_place_up() -> None:
    """The listing says why, and keeps what it saw."""
    told, scripted, halt = played([more_to_come(1, marker="1"), (302, b"", {"Location": "https://x/"})], walk)
    assert isinstance(told, Listing)
    assert (told.fault, len(told.keys), len(scripted.asked)) == ("list-keys: HTTP 302", 1, 2)
    assert halt.places == {PLACE: "HTTP 302"}


# Anything, and secrets ------------------------------------------------------------------------------------------------

bodies = st.sampled_from(
    [
        DESCRIBED[1] if isinstance(DESCRIBED, tuple) else b"",
        page(1)[1],
        more_to_come(2, marker="7")[1],
        {"key_rotation_enabled": "true", "rotation_interval": "9" * 50},
        {"error": {"error_code": "KMS.2901", "error_msg": SECRET_KEY}},
        {"error_code": "KMS.0313", "error_msg": f"x-security-token: {TOKEN}"},
        b"",
        b"[" * 5000,
        b"\xff",
    ]
)
failures = st.sampled_from(
    [httpx.ReadError("x"), httpx.ConnectTimeout("x"), OSError("x"), httpx.LocalProtocolError("x")]
)
answers = st.lists(
    st.tuples(st.sampled_from([200, 204, 302, 400, 401, 403, 404, 429, 500, 502]), bodies) | failures, max_size=8
)


@given(answers, st.sampled_from([walk, describe, rotation, enable]))
def test_no_course_of_answers_is_a_crash_or_a_leak(
    course: list[Answer], play: Callable[[Kms], Awaitable[object]]
) -> None:
    """Any answers in any order come to a value; facts come from a 200 alone, and no secret is in what is told."""
    told, _, halt = played([*course, error(404, "KMS.0207")], play)
    shown = repr(told) + halt.why + repr(halt.places)
    assert not [secret for secret in (SECRET_KEY, TOKEN, ACCESS_KEY) if secret in shown]
    if isinstance(told, ReadBack) and told.facts is not None and play is describe:
        assert told.facts == Facts(key_spec="AES_256", key_rotation_enabled="false")
        assert any(isinstance(answer, tuple) and answer[0] in {200, 204} for answer in course)


def test_a_gateway_that_echoes_the_request_learns_us_nothing_secret() -> None:
    """The simulator's 401 with the canonical request in it: neither listing nor reason holds token or signature."""

    async def scene() -> tuple[Listing, str]:
        kept = core([key(1)], security_token=TOKEN, faults=parse_faults("401-echo"))
        made = Scene(SimulatedTransport(kept))
        return await made.kms.list_keys(PLACE), made.halt.why

    told, why = timeless(scene())
    assert "APIGW.0301" in told.fault
    assert "x-security-token:[redacted]" in why.replace(" ", "")
    for secret in (TOKEN[:30], SECRET_KEY, ACCESS_KEY):
        assert secret not in repr(told) + why
