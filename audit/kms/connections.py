"""Connections to KMS: TLS, the proxy, and one exchange of a request for what came back.

No httpx client stands in between: its transports keep no cookies, follow no redirects, read no environment, and decode
no bodies, so that what is sent is what was signed, and what comes back is what was sent.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import httpx

from audit.errors import UsageFault

MAX_BODY = 16 * 2**20
"""Bytes of an answer that are read at most; a full page has about 1.5 MB."""

_TOLD_BY_STATUS = frozenset({401, 429})  # the body does not change what these mean


class Received(NamedTuple):
    """What came back. ``content``: None where it is too long, or broke off after a status that says enough."""

    status: int
    headers: httpx.Headers
    content: bytes | None


def trusted() -> ssl.SSLContext:
    """TLS with the system's authorities, whatever SSL_CERT_FILE says; with those of httpx where the system has none."""
    paths = ssl.get_default_verify_paths()
    file, folder = Path(paths.openssl_cafile), Path(paths.openssl_capath)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        stored = folder.is_dir() and any(folder.iterdir())
        tls.load_verify_locations(file if file.is_file() else None, folder if stored else None)
    except (OSError, TypeError):  # neither, or not readable
        return httpx.create_ssl_context(trust_env=False)
    return tls


def to_network(proxy: str | None) -> Callable[[], httpx.AsyncBaseTransport]:
    """What makes connections to the network, over a proxy if there is one. Raises UsageFault for an unusable proxy."""
    try:
        over = httpx.Proxy(proxy) if proxy else None
        usable = over is None or (over.url.scheme in {"http", "https"} and bool(over.url.host))
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable:  # its value may hold a password
        raise UsageFault("HTTPS_PROXY is not the URL of an HTTP proxy: http://[USER:PASSWORD@]HOST:PORT")
    tls, limits = trusted(), httpx.Limits(max_connections=1)
    return lambda: httpx.AsyncHTTPTransport(verify=tls, proxy=over, trust_env=False, limits=limits)


class Connections:
    """One transport per request in flight, each with one connection, made when first needed.

    httpx's pool slows down with its size and loses slots when a request is cancelled, so no pool is shared, and one
    that met a fault is closed. ``seconds``: until an exchange must be over.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], seconds: float) -> None:
        self._make, self._seconds = make, seconds
        self._free: list[httpx.AsyncBaseTransport] = []

    async def exchange(self, request: httpx.Request) -> Received:
        """Send once. Raises httpx.TransportError or OSError (TLS and time-outs are some)."""
        connection = self._free.pop() if self._free else self._make()
        response, content = None, None
        try:
            async with asyncio.timeout(self._seconds):  # a server that drips bytes resets every other limit
                response = await connection.handle_async_request(request)
                content = await _bounded(response)
        except (httpx.TransportError, OSError):
            await connection.aclose()
            if response is None or response.status_code not in _TOLD_BY_STATUS:
                raise
        except BaseException:
            await connection.aclose()
            raise
        else:
            self._free.append(connection)
        return Received(response.status_code, response.headers, content)

    async def close(self) -> None:
        """Close every connection that is not in use; those in use are closed when their exchange is cancelled."""
        while self._free:
            await self._free.pop().aclose()


async def _bounded(response: httpx.Response) -> bytes | None:
    content = bytearray()
    try:
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > MAX_BODY:
                return None
    finally:
        await response.aclose()
    return bytes(content)
