"""The socket face: a core behind HTTP/1.1 on loopback, with asyncio streams and h11."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import h11

from audit.errors import UsageFault
from audit.kms.regions import is_loopback
from audit.simulator.core import Core
from audit.simulator.wire import NOISE, Break, Cut, Reply, refusal

MAX_HEAD, MAX_BODY = 64 * 1024, 1024 * 1024
"""Bytes of a request's head and body; more is answered with 431 or 413, and the connection is closed."""

_READ = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # linger on, no seconds: close() sends RST
_Sleep = Callable[[float], Awaitable[object]]


@asynccontextmanager
async def serve(
    core: Core, host: str = "127.0.0.1", port: int = 0, *, sleep: _Sleep = asyncio.sleep
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port (chosen by the system for port 0).

    Raises UsageFault for a host that is not loopback, and for a port that cannot be had.
    """
    if not is_loopback(host):
        raise UsageFault(f"the simulator listens on loopback only, not on {host}")
    talks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.get_running_loop().create_task(_talk(core, reader, writer, sleep))
        talks.add(talk)
        talk.add_done_callback(talks.discard)

    try:
        server = await asyncio.start_server(accept, host, port)
    except OSError as fault:
        raise UsageFault(f"cannot listen on {host}:{port}: {fault.strerror}") from fault
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for talk in tuple(talks):
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
        await server.wait_closed()


async def _talk(core: Core, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sleep: _Sleep) -> None:
    """One connection, from its first byte to its last."""
    wire = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
    try:
        while (received := await _receive(wire, reader)) is not None:
            request, body = received
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
            answer = core.handle(request.method.decode("ascii"), request.target.decode("latin-1"), headers, body)
            reply = answer.reply if isinstance(answer, Cut) else answer
            await sleep(reply.after)
            if isinstance(answer, Cut):
                _break_off(answer, wire, writer)
                break
            writer.write(_whole(wire, reply))
            await writer.drain()
            if wire.our_state is not h11.DONE or wire.their_state is not h11.DONE:
                break
            wire.start_next_cycle()
    except h11.RemoteProtocolError as fault:
        if wire.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            said = refusal("APIGW.0201", "what came is no request that is answered here")
            writer.write(_whole(wire, Reply(fault.error_status_hint, (), said.body)))
    except OSError:
        pass  # the client has gone
    except asyncio.CancelledError:
        writer.transport.abort()
        raise
    finally:
        writer.close()


async def _receive(wire: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes] | None:
    """The next request and its body; None when the client has no more."""
    request, body = None, bytearray()
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await reader.read(_READ))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY:
                raise h11.RemoteProtocolError("the body is too long", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return request, bytes(body)
        else:
            return None


def _break_off(cut: Cut, wire: h11.Connection, writer: asyncio.StreamWriter) -> None:
    match cut.how:
        case Break.RESET:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        case Break.NOISE:
            writer.write(NOISE)
        case Break.EOF:
            promised = len(cut.reply.body) + 1  # an empty body is cut short too
            writer.write(_head(wire, cut.reply, promised) + (wire.send(h11.Data(data=cut.part)) or b""))


def _whole(wire: h11.Connection, reply: Reply) -> bytes:
    body = (wire.send(event) or b"" for event in (h11.Data(data=reply.body), h11.EndOfMessage()))
    return b"".join((_head(wire, reply, len(reply.body)), *body))


def _head(wire: h11.Connection, reply: Reply, length: int) -> bytes:
    headers = [*reply.headers, ("Content-Length", str(length))]
    return wire.send(h11.Response(status_code=reply.status, headers=headers)) or b""
