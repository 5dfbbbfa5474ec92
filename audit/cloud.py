"""The KMS that a run talks to: the real one, or the simulated one, through the same client."""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from audit.errors import UsageFault
from audit.halt import Halt, Tally
from audit.kms.client import Kms
from audit.kms.credentials import Credentials, from_environment
from audit.kms.link import Limits, Link
from audit.kms.regions import endpoint_for, host_of, is_loopback
from audit.model import DEFAULT_INTERVAL, Key
from audit.outcome import Action
from audit.plan import Step
from audit.scrub import Scrubber
from audit.simulator import SIMULATED_ENDPOINT, SIMULATED_KEY, Core, SimulatedTransport

SIMULATED_CREDENTIALS = Credentials(*SIMULATED_KEY)


@dataclass(frozen=True, slots=True)
class Target:
    """Where KMS is and how hard to press it.

    ``endpoint``: template given by the operator, None for the table of regions. ``environ``: where credentials and
    ``HTTPS_PROXY`` come from; neither is read for a simulated run.
    """

    limits: Limits
    endpoint: str | None = None
    simulated: bool = False
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def credentials(self) -> Credentials:
        """The access key. Raises CredentialsMissing."""
        return SIMULATED_CREDENTIALS if self.simulated else from_environment(self.environ)

    def check(self) -> None:
        """Raise CredentialsMissing where there is no access key to call with."""
        _ = self.credentials

    @property
    def proxy(self) -> str | None:
        """The proxy of ``HTTPS_PROXY``; never for a simulated run or an endpoint on loopback."""
        if self.simulated or _on_loopback(self.endpoint):
            return None
        named = self.environ.get("HTTPS_PROXY", "").strip() or None
        return f"http://{named}" if named and "://" not in named else named

    @property
    def proxy_shown(self) -> str:
        """Host and port of the proxy, without its user and password."""
        return re.split("[/?#]", (self.proxy or "").partition("://")[2])[0].rpartition("@")[2]

    def base(self, region: str) -> str:
        """The base URL for a region. Raises UsageFault."""
        return endpoint_for(region, SIMULATED_ENDPOINT if self.simulated else self.endpoint)

    def hosts(self, regions: set[str]) -> tuple[str, ...]:
        """The hosts of these regions, sorted; known to be usable before anything is sent. Raises UsageFault."""
        fixed = self.endpoint is not None and "{region}" not in self.endpoint
        if fixed and len(regions) > 1 and not _on_loopback(self.endpoint):
            raise UsageFault(
                f"--endpoint {self.endpoint} is of one region, the inventory names {', '.join(sorted(regions))}",
                "put {region} into the endpoint, or split the inventory",
            )
        return tuple(sorted({host_of(self.base(region)) for region in regions}))

    def written_to(self, hosts: tuple[str, ...]) -> str:
        """What the plan's digest names as the place of the writes."""
        return "simulated" if self.simulated else ",".join(hosts)


def _on_loopback(endpoint: str | None) -> bool:
    return endpoint is not None and is_loopback(urlsplit(endpoint).hostname or "")


class Cloud:
    """A connected KMS: the network, or in process the simulated KMS that is given as ``core``."""

    def __init__(self, target: Target, halt: Halt, tally: Tally, scrub: Scrubber, core: Core | None = None) -> None:
        self._link = Link(
            target.credentials,
            target.base,
            target.limits,
            halt,
            tally,
            scrub,
            transport=functools.partial(SimulatedTransport, core) if core else None,
            proxy=target.proxy,
        )
        self.kms = Kms(self._link, halt, scrub, target.limits.attempts)

    async def close(self) -> None:
        """Close every connection."""
        await self._link.close()


def simulated_kms(keys: Iterable[Key], changed: Iterable[Step]) -> Core:
    """A simulated KMS that holds these keys, as the steps given have left them, and knows the simulated access key."""
    known = SIMULATED_CREDENTIALS
    core = Core(keys, access_key=known.access_key, secret_key=known.secret_key)
    for step in changed:
        days = None if step.action is Action.DISABLE else step.interval or DEFAULT_INTERVAL
        core.restore(step.place.region, step.place.project_id, step.key_id, days)
    return core
