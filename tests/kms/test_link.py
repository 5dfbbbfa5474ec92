"""The link over real sockets: whatever a server, a proxy or the environment does, an attempt is a value.

It claims no more than is known, and there is no secret in it.
"""

import asyncio
import gzip
import logging
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from audit.errors import UsageFault
from audit.halt import Halt, Tally
from audit.kms.credentials import Credentials
from audit.kms.link import Limits, Link
from audit.model import Place
from audit.outcome import Attempt, Meaning
from audit.scrub import Scrubber
from audit.simulator.gate import Gate
from audit.simulator.wire import Request
from tests.simulated import NO_TLS

ACCESS_KEY, SECRET_KEY = "LINKTESTACCESSKEY001", "made-up-secret-key-of-the-link-tests-000"
TOKEN = "made-up/security+token==" + "t" * 900
PLACE, ELSEWHERE = Place("", "cn-north-4", "0" * 32), Place("", "cn-north-4", "1" * 32)
LIST = "list-keys"


# A server that does as it is told -------------------------------------------------------------------------------------


class Server:
    """Speaks HTTP/1.1 as far as it is told. ``heads``, ``bodies``: what came; ``most``: requests at the same time."""

    def __init__(self, answer: Callable[["Server", asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._answer = answer
        self._talks: set[asyncio.Task[None]] = set()
        self._readers: dict[asyncio.StreamWriter, asyncio.StreamReader] = {}
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = self.open = self.most = 0
        self.port = 0

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
                )
                self.bodies.append(await reader.readexactly(length))
                self.heads.append(head)
                self.open += 1
                self.most = max(self.most, self.open)
                try:
                    await self._answer(self, writer)
                    await writer.drain()
                finally:
                    self.open -= 1
                if writer.is_closing():
                    return

    async def _whole_talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._readers[writer] = reader
        try:
            await self._talk(reader, writer)
            writer.close()
        finally:
            if not writer.is_closing():
                writer.transport.abort()

    async def until_gone(self, writer: asyncio.StreamWriter) -> None:
        """Say nothing until the client gives up."""
        while not self._readers[writer].at_eof():  # noqa: ASYNC110  # the end of a stream is no event
            await asyncio.sleep(0.005)

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Serve on loopback; yields the base URL."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            talk = asyncio.get_running_loop().create_task(self._whole_talk(reader, writer))
            self._talks.add(talk)
            talk.add_done_callback(self._talks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        finally:
            server.close()
            for talk in tuple(self._talks):
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)
            await asyncio.sleep(0)  # for what is closed to be gone

    def headers(self, number: int = -1) -> list[tuple[str, str]]:
        """The headers of a request as they came."""
        lines = self.heads[number].decode("latin-1").split("\r\n")[1:-2]
        return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def reply(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    """A whole answer."""
    more = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode("latin-1") + body


def says(*replies: bytes, then_close: bool = False) -> Server:
    """A server that gives these answers in turn, the last one for ever."""

    async def answer(server: Server, writer: asyncio.StreamWriter) -> None:
        writer.write(replies[min(len(server.heads), len(replies)) - 1])
        if then_close:
            writer.close()

    return Server(answer)


def plain() -> httpx.AsyncHTTPTransport:
    """A connection as the link makes it, without reading all authorities first."""
    return httpx.AsyncHTTPTransport(verify=NO_TLS, trust_env=False, limits=httpx.Limits(max_connections=1))


class Connected:
    """A link with all that it is made of. ``transport=None`` has it make its connections itself."""

    def __init__(self, base: str, timeout: float = 0.5, concurrency: int = 4, token: str = "", **more: object) -> None:
        if base.startswith("http://"):
            more.setdefault("transport", plain)
        self.halt, self.tally = Halt(), Tally()
        credentials = Credentials(ACCESS_KEY, SECRET_KEY, token)
        self.link = Link(
            credentials,
            lambda _: base,
            Limits(5000, concurrency, timeout, 3),
            self.halt,
            self.tally,
            Scrubber(credentials.secrets),
            **more,  # type: ignore[arg-type]
        )

    async def attempt(self, place: Place = PLACE, operation: str = LIST, body: bytes = b"{}") -> Attempt:
        told, payload = await self.link.attempt(place, operation, body)
        assert told.meaning is Meaning.DONE or payload == {}
        return told


def attempts(
    server: Server, count: int = 1, tls: ssl.SSLContext | None = None, **how: object
) -> tuple[list[Attempt], Connected]:
    """So many attempts one after the other, and what they were made with."""

    async def scene() -> tuple[list[Attempt], Connected]:
        async with server.serving(tls) as base:
            connected = Connected(base, **how)  # type: ignore[arg-type]
            told = [await connected.attempt() for _ in range(count)]
            await connected.link.close()
            return told, connected

    return asyncio.run(scene())


def meanings(told: list[Attempt]) -> list[Meaning]:
    return [attempt.meaning for attempt in told]


# What is on the wire --------------------------------------------------------------------------------------------------


def test_a_request_is_on_the_wire_as_it_was_signed() -> None:
    """Method, path, headers and body reach the server byte by byte as the signature covers them."""
    server = says(reply(200))
    told, connected = attempts(server, token=TOKEN)
    assert told[0].meaning is Meaning.DONE
    named = dict(server.headers())
    assert server.heads[0].startswith(b"POST /v1.0/" + b"0" * 32 + b"/kms/list-keys HTTP/1.1\r\n")
    assert named["Host"] == f"127.0.0.1:{server.port}"
    assert named["Content-Type"] == "application/json"
    assert (named["X-Project-Id"], named["X-Security-Token"]) == ("0" * 32, TOKEN)
    assert named["Accept-Encoding"] == "identity"
    assert (
        f"Access={ACCESS_KEY}, SignedHeaders=content-type;host;x-project-id;x-sdk-date;x-security-token, "
        in (named["Authorization"])
    )
    sent = Request.of("POST", f"/v1.0/{'0' * 32}/kms/list-keys", server.headers(), server.bodies[0])
    gate = Gate(ACCESS_KEY, SECRET_KEY, TOKEN, None, clock=lambda: 0.0, now=lambda: datetime.now(UTC))
    assert gate.objection(sent) == ""
    assert len(server.headers()) == len(named), "no header twice"
    assert connected.tally.sent == 1


def test_without_a_security_token_there_is_none_on_the_wire() -> None:
    """Permanent access keys sign without it."""
    server = says(reply(200))
    attempts(server)
    assert b"security-token" not in server.heads[0].lower()


def test_each_attempt_is_signed_anew() -> None:
    """The same request, sent again, has the same body and another date and signature."""
    times = iter(datetime(2026, 11, 24, 3, 34, second, tzinfo=UTC) for second in range(60))
    server = says(reply(500), reply(200))
    told, _ = attempts(server, 2, now=lambda: next(times))
    first, second = (dict(server.headers(number)) for number in (0, 1))
    assert first["Authorization"] != second["Authorization"]
    assert first["X-Sdk-Date"] == "20261124T033400Z" != second["X-Sdk-Date"]
    assert server.bodies[0] == server.bodies[1]
    assert told[0].at == "2026-11-24T03:34:00Z"


def test_nothing_that_a_server_says_goes_back_to_it() -> None:
    """A cookie is not kept, whatever it is."""
    server = says(
        reply(200, b"{}", "Set-Cookie: HWWAFSESID=1; Path=/", "Set-Cookie: a=" + "b" * 4000 + "; expires=x; version=z")
    )
    told, _ = attempts(server, 3)
    assert meanings(told) == [Meaning.DONE] * 3
    assert b"cookie" not in b"".join(server.heads).lower()


def test_one_connection_serves_request_after_request() -> None:
    """No handshake per key."""
    server = says(reply(200))
    attempts(server, 30)
    assert server.connections == 1


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    """Sixty callers share four connections."""

    async def answer(_: Server, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)
        writer.write(reply(200))

    async def scene() -> tuple[Server, list[Attempt]]:
        server = Server(answer)
        async with server.serving() as base:
            connected = Connected(base)
            told = await asyncio.gather(*(connected.attempt() for _ in range(60)))
            await connected.link.close()
        return server, told

    server, told = asyncio.run(scene())
    assert meanings(told) == [Meaning.DONE] * 60
    assert (server.most, server.connections) == (4, 4)


# The first request, and 401 -------------------------------------------------------------------------------------------


def first_alone(answers: list[bytes | None], callers: int = 12) -> tuple[list[int], Server, Connected, list[Attempt]]:
    """Callers that all begin at once. The server is slow with ``answers`` (None: no answer at all), then quick.

    Returns also how many requests were in flight with each of the slow ones.
    """
    seen: list[int] = []

    async def answer(server: Server, writer: asyncio.StreamWriter) -> None:
        number = len(server.heads) - 1
        if number >= len(answers):
            await asyncio.sleep(0.01)
            writer.write(reply(200))
            return
        await asyncio.sleep(0.05)
        seen.append(server.open)
        if (said := answers[number]) is None:
            await server.until_gone(writer)
        else:
            writer.write(said)

    async def scene() -> tuple[Server, Connected, list[Attempt]]:
        server = Server(answer)
        async with server.serving() as base:
            connected = Connected(base, timeout=0.2, concurrency=8)
            told = await asyncio.gather(*(connected.attempt() for _ in range(callers)))
            await connected.link.close()
        return server, connected, told

    return seen, *asyncio.run(scene())


@pytest.mark.parametrize("said", [reply(200), reply(403), reply(500), reply(429), reply(502, b"<html>")])
def test_the_first_request_goes_alone(said: bytes) -> None:
    """Nothing else is sent until it was answered with something other than 401; then all go together."""
    seen, server, _, told = first_alone([said])
    assert seen == [1]
    assert len(told) == len(server.heads) == 12
    assert server.most > 4


def test_the_next_goes_alone_where_the_first_was_not_answered() -> None:
    """A time-out proves nothing about the access key, so the second request is the lone first one."""
    seen, server, _, told = first_alone([None, None, reply(200)])
    assert seen == [1, 1, 1]
    assert meanings(told).count(Meaning.SILENT) == 2
    assert server.most > 4


def test_a_401_at_the_start_is_the_only_request() -> None:
    """Fifty callers, one request: the others are told that nothing was sent."""
    seen, server, connected, told = first_alone([reply(401)], callers=50)
    assert (seen, len(server.heads)) == ([1], 1)
    assert sorted(meanings(told)) == [Meaning.STOPPED, *[Meaning.UNSENT] * 49]
    assert connected.halt.sending_ended
    assert connected.tally.sent == 1


@pytest.mark.parametrize("status", [401, 403])
def test_an_access_key_refused_in_mid_run_is_not_used_again(status: int) -> None:
    """Fifty callers on four connections: at most the four requests in flight meet the refusal."""

    async def answer(server: Server, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.005)
        body = b'{"error_code":"APIGW.0301","error_msg":"no"}'
        writer.write(reply(200) if len(server.heads) <= 20 else reply(status, body))

    async def scene() -> tuple[Server, Connected, list[Attempt]]:
        server = Server(answer)
        async with server.serving() as base:
            connected = Connected(base)
            told = await asyncio.gather(*(connected.attempt() for _ in range(50)))
            told += [await connected.attempt(ELSEWHERE)]
            await connected.link.close()
        return server, connected, told

    server, connected, told = asyncio.run(scene())
    refused = meanings(told).count(Meaning.STOPPED)
    assert 1 <= refused <= 4
    assert len(server.heads) == connected.tally.sent == 51 - meanings(told).count(Meaning.UNSENT)
    assert len(server.heads) <= 24
    assert "...Y001 was refused" in connected.halt.why


@pytest.mark.parametrize("how", ["cut", "reset", "drip", "chunk"])
def test_a_401_counts_also_where_its_body_breaks_off(how: str) -> None:
    """The status is enough: no second signature is tried because the first refusal could not be read to its end."""

    async def answer(_: Server, writer: asyncio.StreamWriter) -> None:
        framing = b"Transfer-Encoding: chunked" if how == "chunk" else b"Content-Length: 500"
        writer.write(b"HTTP/1.1 401 Unauthorized\r\n" + framing + b"\r\n\r\n")
        writer.write(b"zzz\r\n" if how == "chunk" else b"{")
        await writer.drain()
        while how == "drip":
            writer.write(b" ")
            await asyncio.sleep(0.02)
        (writer.transport.abort if how == "reset" else writer.close)()

    server = Server(answer)
    told, connected = attempts(server, 3, timeout=0.1)
    assert meanings(told) == [Meaning.STOPPED, Meaning.UNSENT, Meaning.UNSENT]
    assert told[0].status == 401
    assert len(server.heads) == 1
    assert "HTTP 401" in connected.halt.why


AT = datetime(2026, 11, 24, 3, 34, tzinfo=UTC)


@pytest.mark.parametrize(
    ("date", "said"),
    [
        (format_datetime(AT, usegmt=True), "the server's 2026-11-24T03:34:00Z, 0 s apart"),
        (
            format_datetime(AT - timedelta(minutes=20), usegmt=True),
            "the server's 2026-11-24T03:14:00Z, 1200 s apart: more than the 15 minutes that a signature allows",
        ),
        ("Tue, 24 Nov 2026 05:34:00 +0200", "the server's 2026-11-24T03:34:00Z, 0 s apart"),
        ("yesterday", "no date to compare it with"),
        ("", "no date to compare it with"),
        ("Tue, 99999999999999999999 Nov 2026 03:34:00 GMT", "no date to compare it with"),
        ("Fri, 31 Dec 9999 23:00:00 -1400", "no date to compare it with"),
        ("Tue, 24 Nov 2026 03:34:00 +9999", "no date to compare it with"),
    ],
)
def test_a_401_compares_the_clocks(date: str, said: str) -> None:
    """The message says what both clocks say, for a wrong clock is a common cause; a strange date is no date."""
    _, connected = attempts(says(reply(401, b"{}", *([f"Date: {date}"] if date else []))), now=lambda: AT)
    assert "our clock says 2026-11-24T03:34:00Z" in connected.halt.why
    assert connected.halt.why.endswith(said)


# Answers that end a place, or the run ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    [
        "https://kms.elsewhere.invalid/",
        "//x",
        "/",
        "",
        "http://[::1",
        "http://xn--é.com/",
        "http://a:99999999/",
        "\x7f",
        "x" * 70_000,
    ],
)
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_place_is_given_up(status: int, location: str) -> None:
    """Wherever it points, and whether or not that is a place at all; other places go on."""

    async def scene() -> tuple[list[Attempt], Server, Connected]:
        server = says(reply(status, b'{"error_code":"KMS.2901"}', f"Location: {location}"), reply(200))
        async with server.serving() as base:
            connected = Connected(base)
            told = [await connected.attempt(place) for place in (PLACE, PLACE, ELSEWHERE)]
            await connected.link.close()
        return told, server, connected

    told, server, connected = asyncio.run(scene())
    assert meanings(told) == [Meaning.STOPPED, Meaning.UNSENT, Meaning.DONE]
    assert set(connected.halt.places) == {PLACE}
    assert len(server.heads) == 2


def test_a_redirect_to_a_living_server_reaches_nobody() -> None:
    """The signed request, and the token in it, go nowhere else."""

    async def scene() -> tuple[Server, Server]:
        other = says(reply(200))
        async with other.serving() as there:
            first = says(reply(307, b"", f"Location: {there}/v1.0/x"))
            async with first.serving() as base:
                connected = Connected(base, token=TOKEN)
                await connected.attempt()
                await connected.link.close()
        return first, other

    first, other = asyncio.run(scene())
    assert (len(first.heads), other.connections) == (1, 0)


def test_a_malformed_request_of_ours_ends_the_run() -> None:
    """Codes that mean our own request is wrong are not tried on the next key."""
    told, connected = attempts(says(reply(400, b'{"error":{"error_code":"KMS.0202","error_msg":"bad"}}')), 2)
    assert meanings(told) == [Meaning.STOPPED, Meaning.UNSENT]
    assert connected.halt.why == "KMS says that our request is malformed: HTTP 400 KMS.0202 bad"


# Hostile answers ------------------------------------------------------------------------------------------------------


def raw(*parts: bytes, close: bool = True) -> Callable[[Server, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(_: Server, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
        if close:
            await writer.drain()
            writer.close()

    return answer


def endless(
    first: bytes, again: bytes, pause: float = 0.0
) -> Callable[[Server, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(_: Server, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


async def reset(_: Server, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def hush(server: Server, writer: asyncio.StreamWriter) -> None:
    await server.until_gone(writer)


OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(b"[" + b"0," * 5_000_000 + b"0]")
HOSTILE = {
    "silence": hush,
    "reset": reset,
    "closed at once": raw(),
    "half a head": raw(OK),
    "half a body": raw(OK, b"Content-Length: 50\r\n\r\n{}"),
    "less than promised, kept open": raw(OK, b"Content-Length: 50\r\n\r\n{}", close=False),
    "body dripped": endless(OK + b"Content-Length: 99999\r\n\r\n", b" ", 0.02),
    "head dripped": endless(OK, b"X-A: b\r\n", 0.02),
    "endless headers": endless(OK, b"X-A: " + b"b" * 8000 + b"\r\n"),
    "endless 100 Continue": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "endless 103 Early Hints": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
    "one header without end": endless(OK + b"X-A: ", b"b" * 8000),
    "status line without end": endless(b"HTTP/1.1 200 ", b"K" * 8000),
    "switching protocols": raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}"),
    "no HTTP": raw(b"\x16\x03\x01\x00\x02 hello\r\n\r\n"),
    "HTTP/0.9": raw(b"{}"),
    "HTTP/2": raw(b"HTTP/2 200 OK\r\n\r\n{}"),
    "status of four digits": raw(b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "status 0": raw(b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\n{}"),
    "negative length": raw(OK + b"Content-Length: -2\r\n\r\n{}"),
    "two lengths": raw(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a length of many digits": raw(OK + b"Content-Length: " + b"9" * 50 + b"\r\n\r\n{}"),
    "chunks that are none": raw(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "a chunk of any size": raw(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 15 + b"\r\n{}"),
    "trailers without end": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X-A: b\r\n"),
    "an unknown transfer encoding": raw(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "a name with a blank": raw(OK + b"Content Length: 2\r\n\r\n{}"),
    "a null byte in a header": raw(OK + b"X-A: \x00\r\nContent-Length: 2\r\n\r\n{}"),
    "more than 16 MB": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + b" " * 2**20 + b"\r\n"),
    "a gzip bomb": raw(reply(200, BOMB, "Content-Encoding: gzip")),
    "words": raw(reply(200, b"it worked")),
    "a deep document": raw(reply(200, b"[" * 100_000)),
    "a deep object": raw(reply(200, b'{"a":' * 100_000)),
    "an error in a success": raw(reply(200, b'{"error":{"error_code":"KMS.0101","error_msg":"x"}}')),
    "a body in UTF-16 cut in two": raw(reply(200, "{}".encode("utf-16")[:-1])),
    "no certificate, it says": raw(b"CERTIFICATE_VERIFY_FAILED\r\n\r\n"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_answer_is_silence_and_the_next_request_works(kind: str) -> None:
    """What cannot be read may have been applied: it is silence, nothing is given up, and the link stays usable."""

    async def answer(server: Server, writer: asyncio.StreamWriter) -> None:
        if len(server.heads) == 1:
            await HOSTILE[kind](server, writer)
        else:
            writer.write(reply(200))

    told, connected = attempts(Server(answer), 2, timeout=0.08)
    assert meanings(told) == [Meaning.SILENT, Meaning.DONE]
    assert told[0].message
    assert told[0].status in {None, 200}
    assert not connected.halt.places
    assert not connected.halt.sending_ended


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (400, Meaning.REFUSED),
        (404, Meaning.REFUSED),
        (500, Meaning.AGAIN),
        (502, Meaning.SILENT),
        (429, Meaning.THROTTLED),
    ],
)
@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe\xed\xa0\x80", b"[" * 100_000, b"x" * 17 * 2**20, b'{"error":"\\ud800","error_code":NaN}', BOMB],
    ids=["empty", "no text", "deep", "huge", "odd", "gzip"],
)
def test_an_error_without_a_readable_body_is_decided_on_its_status(status: int, meaning: Meaning, body: bytes) -> None:
    """Nothing in a body makes an error more, or less, than it is; what is kept of it is short."""
    (told,), connected = attempts(says(reply(status, body, "Content-Type: application/json")))
    assert (told.meaning, told.status) == (meaning, status)
    assert len(told.message) <= 500
    told.message.encode()
    assert not connected.halt.places


@pytest.mark.parametrize("status", [400, 404, 403, 302])
def test_a_refusal_that_breaks_off_is_no_answer(status: int) -> None:
    """Its code, which decides what it means, is not known: it may even be that rotation is on already."""
    broken = f"HTTP/1.1 {status} Said\r\nContent-Length: 500\r\n\r\n{{".encode()
    told, connected = attempts(says(broken, then_close=True))
    assert meanings(told) == [Meaning.SILENT]
    assert not connected.halt.places


def test_request_ids_and_codes_are_short_and_fit_to_be_shown() -> None:
    """A header of any length and a code with control characters become one short line."""
    body = b'{"error_code":"KMS.\\u001b[31m' + b"9" * 400 + b'","error_msg":"a\\nb\\u202ec"}'
    (told,), _ = attempts(says(reply(400, body, "X-Request-Id: " + "r" * 5000 + "\xff")))
    assert len(told.request_id) == len(told.code) == 100
    assert told.message == "a b c"
    assert told.words.isprintable()


# Waiting --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("9" * 400, 1e9),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("1, 2", 0),
        ("Tue, 24 Nov 2026 03:34:30 GMT", 30),
        ("Tue, 24 Nov 2026 03:33:30 GMT", 0),
        ("Fri, 31 Dec 9999 23:00:00 -1400", 0),
        ("Tue, 99999999999999999999 Nov 2026 03:34:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float) -> None:
    """Both forms are understood, nothing else is taken for a wait, and no number is too large."""
    (told,), _ = attempts(says(reply(503, b"{}", f"Retry-After: {header}".encode().decode("latin-1"))), now=lambda: AT)
    assert told.retry_after == seconds


def test_a_date_in_retry_after_is_read_by_the_servers_clock() -> None:
    """Our clock may be wrong: the wait is counted from the answer's own date."""
    theirs = AT + timedelta(hours=2)
    dates = (f"Date: {format_datetime(theirs)}", f"Retry-After: {format_datetime(theirs + timedelta(seconds=20))}")
    (told,), _ = attempts(says(reply(503, b"{}", *dates)), now=lambda: AT)
    assert told.retry_after == 20


def test_a_429_is_counted_and_holds_the_next_request() -> None:
    """The pace is cut for whoever comes next."""

    async def scene() -> tuple[list[Attempt], int, float]:
        async with says(reply(429), reply(200)).serving() as base:
            connected = Connected(base)
            first = await connected.attempt()
            began = asyncio.get_running_loop().time()
            second = await connected.attempt()
            held = asyncio.get_running_loop().time() - began
            await connected.link.close()
        return [first, second], connected.tally.throttled, held

    told, throttled, held = asyncio.run(scene())
    assert (meanings(told), throttled) == ([Meaning.THROTTLED, Meaning.DONE], 1)
    assert held >= 0.49


def test_cancelled_requests_leave_nothing_behind() -> None:
    """Requests cut short at odd moments take their connection with them: afterwards everybody is served."""

    async def answer(_: Server, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.003)
        writer.write(reply(200))
        writer.close()

    async def scene() -> list[Attempt]:
        async with Server(answer).serving() as base:
            connected = Connected(base, concurrency=3)
            await connected.attempt()
            for number in range(40):
                tasks = [asyncio.ensure_future(connected.attempt()) for _ in range(6)]
                await asyncio.sleep(number * 0.0002)
                for task in tasks[::2]:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            told = await asyncio.gather(*(connected.attempt() for _ in range(20)))
            await connected.link.close()
        return told

    assert meanings(asyncio.run(scene())) == [Meaning.DONE] * 20


# TLS ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key.pem and cert.pem, for 127.0.0.1, of nobody's authority."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.fail("the tests of TLS make a certificate with openssl, which is not here")
    folder = tmp_path_factory.mktemp("tls")
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    who = ("-subj", "/CN=kms.test", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"))
    subprocess.run((openssl, *new, *who, *files), check=True, capture_output=True)
    return folder


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """The server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


@pytest.fixture
def trusting(certificate: Path) -> Callable[[], httpx.AsyncHTTPTransport]:
    """Makes connections of a client that trusts that server, and is otherwise like the link's own."""
    context = ssl.create_default_context(cafile=certificate / "cert.pem")
    return lambda: httpx.AsyncHTTPTransport(verify=context, trust_env=False)


def test_a_certificate_that_cannot_be_verified_is_not_tried_twice(tls: ssl.SSLContext) -> None:
    """Nothing was sent, the place is given up with the reason, and no retry follows."""
    server = says(reply(200))
    told, connected = attempts(server, 3, tls)
    assert meanings(told) == [Meaning.STOPPED, Meaning.UNSENT, Meaning.UNSENT]
    assert "the certificate of the endpoint cannot be verified" in connected.halt.places[PLACE]
    assert server.heads == []


def test_the_environment_cannot_make_a_certificate_trusted(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE and SSL_CERT_DIR, which OpenSSL obeys by itself, choose no authorities."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(certificate))
    server = says(reply(200))
    told, _ = attempts(server, 1, tls)
    assert (meanings(told), server.heads) == ([Meaning.STOPPED], [])


def test_a_verified_connection_works(tls: ssl.SSLContext, trusting: Callable[[], httpx.AsyncHTTPTransport]) -> None:
    """The fixtures of these tests are right: with the authority known, TLS is no obstacle."""
    told, _ = attempts(says(reply(200)), 2, tls, transport=trusting)
    assert meanings(told) == [Meaning.DONE] * 2


def test_a_certificate_of_another_host_is_none(
    tls: ssl.SSLContext, trusting: Callable[[], httpx.AsyncHTTPTransport]
) -> None:
    """A known authority is not enough: the name must be the endpoint's."""

    async def scene() -> tuple[list[Attempt], Server, Connected]:
        server = says(reply(200))
        async with server.serving(tls) as base:
            connected = Connected(base.replace("127.0.0.1", "localhost"), transport=trusting)
            told = [await connected.attempt() for _ in range(2)]
            await connected.link.close()
        return told, server, connected

    told, server, connected = asyncio.run(scene())
    assert (meanings(told), server.heads) == ([Meaning.STOPPED, Meaning.UNSENT], [])
    assert "cannot be verified" in connected.halt.places[PLACE]


@pytest.mark.parametrize(
    "noise",
    [b"\x17\x03\x03\x00\x20" + b"x" * 32, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"],
    ids=["a wrong record", "plain text", "an alert"],
)
def test_tls_that_breaks_under_way_is_silence(
    tls: ssl.SSLContext, trusting: Callable[[], httpx.AsyncHTTPTransport], noise: bytes
) -> None:
    """What arrives after the handshake and is no TLS ends the attempt, not the run."""

    async def answer(server: Server, writer: asyncio.StreamWriter) -> None:
        if len(server.heads) > 1:
            writer.write(reply(200))
        else:
            os.write(writer.get_extra_info("socket").fileno(), noise)

    told, connected = attempts(Server(answer), 2, tls, transport=trusting)
    assert meanings(told) == [Meaning.SILENT, Meaning.DONE]
    assert not connected.halt.places


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x15\x03\x01\x00\x02\x02\x28", None])
def test_a_handshake_that_fails_is_a_request_that_did_not_leave(said: bytes | None) -> None:
    """Plain text, the end, an alert, or nothing in place of a handshake: it may be tried again at once."""

    async def scene() -> Attempt:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            if said is None:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)
            else:
                writer.write(said)
            writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        connected = Connected(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=0.1)
        told = await connected.attempt()
        await connected.link.close()
        server.close()
        return told

    assert asyncio.run(scene()).meaning is Meaning.UNREACHED


@pytest.mark.parametrize("host", ["kms.nowhere.invalid", "a" * 64 + ".invalid", "a." * 120 + "invalid", "127.0.0.1:9"])
def test_a_host_that_is_not_there_is_a_request_that_did_not_leave(host: str) -> None:
    """A name that does not exist, or cannot, and a port where nobody listens."""

    async def scene() -> Attempt:
        connected = Connected(f"https://{host}")
        told = await connected.attempt()
        await connected.link.close()
        return told

    assert asyncio.run(scene()).meaning is Meaning.UNREACHED


# Proxies and the environment ------------------------------------------------------------------------------------------

REMOTE = "https://kms.cn-north-4.example.invalid"


def through(
    said: bytes, url: str = "http://user%40corp:pass%2Fword@127.0.0.1:{port}"
) -> tuple[list[Attempt], Connected, Server]:
    """Two attempts to a host that only a proxy can reach; the proxy answers each CONNECT with ``said``."""

    async def scene() -> tuple[list[Attempt], Connected, Server]:
        proxy = says(said, then_close=True)
        async with proxy.serving():
            connected = Connected(REMOTE, proxy=url.format(port=proxy.port))
            told = [await connected.attempt() for _ in range(2)]
            await connected.link.close()
        return told, connected, proxy

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", [Meaning.STOPPED, Meaning.UNSENT]),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", [Meaning.STOPPED, Meaning.UNSENT]),
        (b"HTTP/1.1 429 Too Many\r\n\r\n", [Meaning.UNREACHED] * 2),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", [Meaning.UNREACHED] * 2),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x\r\n\r\n", [Meaning.UNREACHED] * 2),
        (b"HTTP/1.1 200 OK\r\n\r\n", [Meaning.UNREACHED] * 2),
        (b"HTTP/1.1 200 OK\r\n\r\nplain text in place of a handshake", [Meaning.UNREACHED] * 2),
        (b"no HTTP at all\r\n\r\n", [Meaning.SILENT] * 2),
        (b"", [Meaning.SILENT] * 2),
        (b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 20_000, [Meaning.SILENT] * 2),
    ],
)
def test_a_hostile_proxy_learns_nothing_and_breaks_nothing(said: bytes, expected: list[Meaning]) -> None:
    """It sees the name of the host, never the request. What it refuses for good is given up, the rest tried again."""
    told, connected, proxy = through(said)
    assert meanings(told) == expected
    assert proxy.heads[0].startswith(b"CONNECT kms.cn-north-4.example.invalid:443 HTTP/1.1\r\n")
    assert ACCESS_KEY.encode() not in b"".join(proxy.heads)
    assert not connected.halt.sending_ended
    if Meaning.STOPPED in expected:
        assert "the proxy refuses to connect" in connected.halt.places[PLACE]


@pytest.mark.parametrize(
    "url", ["127.0.0.1", "socks5://me:pw@127.0.0.1:1", "ftp://a", "http:///", "http://me:pw@[::1", "http://a:x", "\x7f"]
)
def test_a_proxy_that_is_none_is_refused_before_anything_is_sent(url: str) -> None:
    """The message names the variable and not its value, which may hold a password."""

    async def scene() -> None:
        with pytest.raises(UsageFault, match="HTTPS_PROXY") as raised:
            Connected(REMOTE, proxy=url)
        assert url not in str(raised.value)

    asyncio.run(scene())


def test_the_environment_steers_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Proxies for everything, a netrc with a password, and files of authorities: none of them changes a request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n", encoding="utf-8")
    netrc.chmod(0o600)

    async def scene() -> tuple[Server, Server, Attempt]:
        trap, server = says(reply(200)), says(reply(200))
        async with trap.serving() as proxy, server.serving() as base:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy)
                monkeypatch.setenv(name.lower(), proxy)
            monkeypatch.setenv("NETRC", str(netrc))
            monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at/all.pem")
            connected = Connected(base, transport=None)
            told = await connected.attempt()
            await connected.link.close()
        return trap, server, told

    trap, server, told = asyncio.run(scene())
    assert told.meaning is Meaning.DONE
    assert trap.connections == 0
    assert dict(server.headers())["Authorization"].startswith("SDK-HMAC-SHA256 ")


# Secrets --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def every_log_line(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Our logger at its most talkative, whatever a terminal made of it before."""
    logger = logging.getLogger("kms_rotation")
    before = logger.propagate, logger.level
    logger.propagate = True
    with caplog.at_level(logging.DEBUG, "kms_rotation"):
        yield caplog
    logger.propagate, logger.level = before


def echo(status: int, shape: str) -> Server:
    """A server that gives back all that it was sent: in its body, and in its headers."""

    async def answer(server: Server, writer: asyncio.StreamWriter) -> None:
        told = server.heads[-1].decode("latin-1")
        named = dict(server.headers())
        body = {
            "canonical": f"Canonical request: {told.lower()}",
            "as sent": told,
            "values": " / ".join((named["X-Security-Token"], SECRET_KEY, named["Authorization"])),
            "html": f"<html><!--{'x' * 200}--><p>{named['X-Security-Token']}</p></html>" * 3,
        }[shape]
        escaped = body.replace("\r\n", "\\n").replace('"', '\\"')
        content = body if shape == "html" else f'{{"error_code":"APIGW.0301 {SECRET_KEY}","error_msg":"{escaped}"}}'
        request_id = f"X-Request-Id: {SECRET_KEY} {ACCESS_KEY} {named['X-Security-Token']}"
        writer.write(reply(status, content.encode(), request_id))

    return Server(answer)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 429, 500, 502])
@pytest.mark.parametrize("shape", ["canonical", "as sent", "values", "html"])
def test_no_secret_comes_back_out(status: int, shape: str, every_log_line: pytest.LogCaptureFixture) -> None:
    """A server may echo the whole request, as gateways do: no attempt, no reason, no log line holds a secret."""
    server = echo(status, shape)
    (told,), connected = attempts(server, token=TOKEN)
    signature = dict(server.headers())["Authorization"].rpartition("=")[2]
    shown = repr(told) + told.words + connected.halt.why + repr(connected.halt.places) + every_log_line.text
    assert told.meaning.value in every_log_line.text
    for secret in (SECRET_KEY, TOKEN[:40], ACCESS_KEY, signature):
        assert secret not in shown
