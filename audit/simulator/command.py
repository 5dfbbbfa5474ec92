"""`kms-rotation simulator`: a simulated KMS on loopback until a signal ends it."""

import asyncio
import signal
import sys
from collections.abc import Mapping

from audit.inventory import Defaults, open_inventory
from audit.model import Key
from audit.simulator.core import SIMULATED_KEY, Core
from audit.simulator.faults import parse_faults
from audit.simulator.server import serve


def serve_forever(
    *,
    environ: Mapping[str, str],
    inventory: str,
    port: int,
    region: str,
    project_id: str,
    rate: float | None,
    latency: float,
    lag: float,
    faults: str,
) -> None:
    """Print the URL on standard output, and serve. Raises InventoryFault and UsageFault."""
    wrong = parse_faults(faults)
    with open_inventory(inventory, Defaults("", region, project_id), live=True) as opened:
        keys = [item for chunk in opened.chunks() for item in chunk if isinstance(item, Key)]
    given = environ.get("HUAWEICLOUD_SDK_AK", "").strip(), environ.get("HUAWEICLOUD_SDK_SK", "").strip()
    access_key, secret_key = given if all(given) else SIMULATED_KEY
    if not all(given):
        print(f"HUAWEICLOUD_SDK_AK={access_key} HUAWEICLOUD_SDK_SK={secret_key}", file=sys.stderr)  # noqa: T201  # its job
    core = Core(
        keys,
        access_key=access_key,
        secret_key=secret_key,
        security_token=environ.get("HUAWEICLOUD_SDK_SECURITY_TOKEN", "").strip() if all(given) else "",
        rate=rate,
        latency=latency,
        lag=lag,
        faults=wrong,
    )
    asyncio.run(_serve(core, port))


async def _serve(core: Core, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(core, port=port) as bound:
        print(f"http://127.0.0.1:{bound}", flush=True)  # noqa: T201  # its job
        await stop.wait()
