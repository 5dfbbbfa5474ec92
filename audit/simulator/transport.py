"""The in-process face: httpx speaks to a core as if through a connection, and meets the same exceptions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx

from audit.simulator.core import Core
from audit.simulator.wire import Break, Cut


class _Body(httpx.AsyncByteStream):
    """A body that is read as from a connection; ``broken``: what the reader meets at its end."""

    def __init__(self, content: bytes, broken: httpx.TransportError | None = None) -> None:
        self._content = content
        self._broken = broken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content
        if self._broken is not None:
            raise self._broken


class SimulatedTransport(httpx.AsyncBaseTransport):
    """Raises what a real connection would: ReadError (reset), RemoteProtocolError (cut, noise), ReadTimeout (slow).

    ``sleep``: a coroutine function of seconds.
    """

    def __init__(self, core: Core, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        self._core = core
        self._sleep = sleep

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request; waits as long as the answer takes, and never longer than the read time-out."""
        told = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        answer = self._core.handle(request.method, request.url.raw_path.decode("ascii"), told, await request.aread())
        reply = answer.reply if isinstance(answer, Cut) else answer
        patience = request.extensions.get("timeout", {}).get("read")
        if patience is not None and reply.after > patience:
            await self._sleep(patience)
            raise httpx.ReadTimeout("simulated: no answer in time", request=request)
        await self._sleep(reply.after)
        body, headers = reply.body, [*reply.headers, ("Content-Length", str(len(reply.body)))]
        if not isinstance(answer, Cut):
            return httpx.Response(reply.status, headers=headers, stream=_Body(body), request=request)
        match answer.how:
            case Break.RESET:
                raise httpx.ReadError("simulated: the connection was reset", request=request)
            case Break.NOISE:
                raise httpx.RemoteProtocolError("simulated: the answer is not HTTP", request=request)
            case Break.EOF:
                broken = httpx.RemoteProtocolError("simulated: the connection ended in mid body", request=request)
                return httpx.Response(reply.status, headers=headers, stream=_Body(answer.part, broken), request=request)
