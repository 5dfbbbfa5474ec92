"""A simulated KMS for tests: keys to seed it with, clocks that stand still, clients that sign, both faces."""

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from audit.kms.regions import host_of
from audit.kms.signing import authorization, sdk_date
from audit.model import Facts, Key, Place
from audit.simulator import SIMULATED_ENDPOINT, Core, SimulatedTransport, serve

ACCESS_KEY, SECRET_KEY = "SIMULATEDKEY0000TEST", "made-up-secret-key-of-no-account-at-all"
REGION, PROJECT = "cn-north-4", "0123456789abcdef0123456789abcdef"
FACES = ("in process", "socket")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares httpx the reading of all authorities; it trusts nobody
SEQUENCE = "919c82d4-8046-4722-9094-35c3c6524cff"


def key_id(number: int) -> str:
    """The id of the key with this number."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def key(number: int, *, region: str = REGION, project_id: str = PROJECT, account: str = "", **facts: str) -> Key:
    """A key as an inventory states it: nothing but its id, unless facts are given by their API names."""
    return Key(number + 1, Place(account, region, project_id), key_id(number), Facts.of(facts), (key_id(number),))


class Clock:
    """A monotonic clock that moves when told to; ``sleep`` moves it too."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += seconds

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


def core(keys: Iterable[Key] = (), **terms: object) -> Core:
    """A core with the tests' access key and no lag, unless ``terms`` (those of ``Core``) say otherwise."""
    return Core(keys, **{"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "lag": 0.0, **terms})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Signer:
    """Signs requests with ``audit.kms.signing``; a wrong ``secret_key`` signs wrongly."""

    secret_key: str = SECRET_KEY
    access_key: str = ACCESS_KEY
    security_token: str = ""
    at: datetime | None = None

    def request(
        self, base: str, operation: str, body: object = None, *, method: str = "POST", project_id: str = PROJECT
    ) -> httpx.Request:
        """A signed request to ``base`` (scheme, host and port). ``body``: bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        path = f"/v1.0/{project_id}/kms/{operation}"
        headers = {
            "Content-Type": "application/json",
            "Host": host_of(base),
            "X-Sdk-Date": sdk_date(self.at or datetime.now(UTC)),
        }
        if self.security_token:
            headers["X-Security-Token"] = self.security_token
        signature = authorization(self.access_key, self.secret_key, method, path, headers, content)
        return httpx.Request(method, base + path, headers={**headers, "Authorization": signature}, content=content)


class Caller:
    """Asks one simulated KMS, over one face, as one signer."""

    def __init__(self, client: httpx.AsyncClient, base: str, signer: Signer) -> None:
        self.client = client
        self.base = base
        self.signer = signer

    async def ask(self, operation: str, body: object = None, **how: str) -> httpx.Response:
        """Send one signed request (``how``: method, project_id). Raises what httpx raises."""
        return await self.client.send(self.signer.request(self.base, operation, body, **how))

    async def code(self, operation: str, body: object = None, **how: str) -> tuple[int, str]:
        """Status and error code of the answer; the code is empty for a success."""
        answer = await self.ask(operation, body, **how)
        told = answer.json() if answer.content else {}
        return answer.status_code, str(told.get("error", told).get("error_code", ""))


@asynccontextmanager
async def reached(
    simulated: Core, face: str = "in process", *, signer: Signer | None = None, patience: float = 5.0
) -> AsyncIterator[Caller]:
    """A caller on one of ``FACES``; ``patience``: seconds until httpx gives up waiting."""
    signer = signer or Signer()
    if face == "in process":
        async with httpx.AsyncClient(transport=SimulatedTransport(simulated), timeout=patience) as client:
            yield Caller(client, SIMULATED_ENDPOINT.format(region=REGION), signer)
    else:
        async with (
            serve(simulated) as port,
            httpx.AsyncClient(timeout=patience, trust_env=False, verify=NO_TLS) as client,
        ):
            yield Caller(client, f"http://127.0.0.1:{port}", signer)


@contextmanager
def running(simulated: Core) -> Iterator[str]:
    """Serve a core on loopback from a thread of its own; yields the base URL."""
    loop = asyncio.new_event_loop()
    ready: list[int] = []
    up, down = threading.Event(), asyncio.Event()

    async def stay() -> None:
        async with serve(simulated) as port:
            ready.append(port)
            up.set()
            await down.wait()

    def run() -> None:
        try:
            loop.run_until_complete(stay())
        finally:
            up.set()
            loop.close()

    thread = threading.Thread(target=run, name="simulator")
    thread.start()
    up.wait()
    try:
        yield f"http://127.0.0.1:{ready[0]}"
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join()
