"""Where KMS is: the real one or the simulated one, with which credentials, over which proxy."""

import asyncio
from collections.abc import Mapping

import pytest

from audit.cloud import SIMULATED_CREDENTIALS, Cloud, Target, simulated_kms
from audit.errors import CredentialsMissing, UsageFault
from audit.halt import Halt, Tally
from audit.kms.credentials import AK, SK
from audit.kms.link import Limits
from audit.model import Place
from audit.outcome import Action, Meaning
from audit.plan import Step
from audit.scrub import Scrubber
from tests.simulated import ACCESS_KEY, PROJECT, REGION, SECRET_KEY, SEQUENCE, core, key, key_id, running

LIMITS = Limits(1000, 4, 5, 2)
PLACE = Place("", REGION, PROJECT)
KEYS = {AK: ACCESS_KEY, SK: SECRET_KEY}
PROXY = "http://me%40corp:s3cret@proxy.example:3128/"


def target(endpoint: str | None = None, *, simulated: bool = False, **environ: str) -> Target:
    return Target(LIMITS, endpoint, simulated, {**KEYS, **environ})


class Untouchable(Mapping[str, str]):
    """An environment that nobody may read."""

    def __getitem__(self, name: str) -> str:
        raise AssertionError(f"{name} was read")

    def __iter__(self):
        raise AssertionError("the environment was read")

    def __len__(self) -> int:
        return 1


# Credentials ----------------------------------------------------------------------------------------------------------


def test_a_real_run_needs_credentials() -> None:
    """They come from the environment, and their absence is said before anything else."""
    assert target().credentials.access_key == ACCESS_KEY
    target().check()
    with pytest.raises(CredentialsMissing):
        Target(LIMITS, environ={}).check()


def test_a_simulated_run_reads_no_environment() -> None:
    """Its credentials are made up, and there is no proxy for it."""
    rehearsal = Target(LIMITS, simulated=True, environ=Untouchable())
    rehearsal.check()
    assert rehearsal.credentials == SIMULATED_CREDENTIALS
    assert (rehearsal.proxy, rehearsal.proxy_shown) == (None, "")


def test_a_target_does_not_show_its_environment() -> None:
    """Neither as text nor in a traceback."""
    assert SECRET_KEY not in repr(target())


# Proxies --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "used", "shown"),
    [
        ({}, None, ""),
        ({"HTTPS_PROXY": ""}, None, ""),
        ({"HTTPS_PROXY": PROXY}, PROXY, "proxy.example:3128"),
        ({"HTTPS_PROXY": f" {PROXY}\n"}, PROXY, "proxy.example:3128"),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "http://proxy.example:3128", "proxy.example:3128"),
        ({"HTTPS_PROXY": "me:p@ss@proxy.example:3128"}, "http://me:p@ss@proxy.example:3128", "proxy.example:3128"),
        (
            {"HTTPS_PROXY": "https://me:pw@[2001:db8::1]:443?x@y"},
            "https://me:pw@[2001:db8::1]:443?x@y",
            "[2001:db8::1]:443",
        ),
        ({"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY, "NO_PROXY": "*"}, None, ""),
    ],
)
def test_the_proxy_is_the_one_of_https_proxy(environ: dict[str, str], used: str | None, shown: str) -> None:
    """Used as it stands, shown without user and password; other variables say nothing."""
    for endpoint in (None, "https://kms.private.example", "https://{region}.private.example"):
        assert target(endpoint, **environ).proxy == used
        assert target(endpoint, **environ).proxy_shown == shown


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8080", "https://127.3.2.1", "http://[::1]:9"])
def test_there_is_no_proxy_for_loopback(endpoint: str) -> None:
    """A KMS on this machine is not behind a proxy."""
    assert target(endpoint, HTTPS_PROXY=PROXY).proxy is None
    assert target(endpoint, HTTPS_PROXY=PROXY).proxy_shown == ""


@pytest.mark.parametrize("value", ["socks5://me:s3cret@proxy:1080", "http://me:s3cret@[::1", "me:s3cret@proxy:port"])
def test_a_proxy_that_is_none_ends_the_run_before_it_begins(value: str) -> None:
    """The message does not repeat it, and showing it is no crash either."""

    async def scene() -> None:
        named = target(HTTPS_PROXY=value)
        assert "s3cret" not in named.proxy_shown
        with pytest.raises(UsageFault, match="HTTPS_PROXY") as raised:
            Cloud(named, Halt(), Tally(), Scrubber())
        assert "s3cret" not in str(raised.value)

    asyncio.run(scene())


# Hosts ----------------------------------------------------------------------------------------------------------------


def test_hosts_are_those_of_the_regions() -> None:
    """Sorted, each once, from the table or the template."""
    assert target().hosts({"eu-west-101", "cn-north-4"}) == (
        "kms.cn-north-4.myhuaweicloud.com",
        "kms.eu-west-101.myhuaweicloud.eu",
    )
    assert target("https://{region}.example:8443").hosts({"cn-north-4", "aa-b"}) == (
        "aa-b.example:8443",
        "cn-north-4.example:8443",
    )
    assert target("https://kms.example:443").hosts({"cn-north-4"}) == ("kms.example",)
    assert target(simulated=True).hosts({"cn-north-4"}) == ("kms.cn-north-4.simulated",)
    assert target().hosts(set()) == ()


def test_one_endpoint_is_of_one_region() -> None:
    """Keys of two regions at one host would be looked for in the wrong place; loopback is excepted, for rehearsals."""
    with pytest.raises(UsageFault, match="one region") as raised:
        target("https://kms.example").hosts({"cn-north-4", "cn-east-3"})
    assert "{region}" in raised.value.next_step
    assert target("http://127.0.0.1:8080").hosts({"cn-north-4", "cn-east-3"}) == ("127.0.0.1:8080",)


def test_an_unknown_region_is_a_usage_fault_before_anything_is_sent() -> None:
    """Without an endpoint there is nowhere to go."""
    with pytest.raises(UsageFault, match="xx-nowhere-1"):
        target().hosts({"cn-north-4", "xx-nowhere-1"})


def test_the_digest_names_hosts_or_simulated() -> None:
    """A plan for one place is not the plan for another."""
    assert target().written_to(("a", "b")) == "a,b"
    assert target(simulated=True).written_to(("kms.cn-north-4.simulated",)) == "simulated"


# A connected KMS ------------------------------------------------------------------------------------------------------


def carried_out(chosen: Target, simulated: object = None) -> tuple[int, Meaning, bool | None]:
    """Keys listed, what became of a write, and whether it can be read."""

    async def scene() -> tuple[int, Meaning, bool | None]:
        cloud = Cloud(chosen, Halt(), Tally(), Scrubber(), simulated)  # type: ignore[arg-type]
        listing = await cloud.kms.list_keys(PLACE)
        told = await cloud.kms.write(Step(1, 1, PLACE, key_id(1), Action.ENABLE, None, SEQUENCE))
        back = await cloud.kms.describe(PLACE, key_id(1))
        await cloud.close()
        return len(listing.keys), told.meaning, back.facts.rotates if back.facts else None

    return asyncio.run(scene())


def test_the_same_client_speaks_to_both() -> None:
    """In process and over TCP, with their own credentials: list, write, read."""
    seeds = [key(1), key(2)]
    with running(core(seeds)) as base:
        assert carried_out(target(base)) == (2, Meaning.DONE, True)
    kept = simulated_kms(seeds, [])
    counted, meaning, _ = carried_out(target(simulated=True), kept)
    assert (counted, meaning) == (2, Meaning.DONE)
    assert kept.state(REGION, PROJECT, key_id(1)) == (True, 365)


def test_a_simulated_kms_takes_up_what_was_done_before() -> None:
    """Steps of an earlier run are on, each with its interval, or off; the rest is as the keys state."""
    steps = [
        Step(1, 1, PLACE, key_id(1), Action.ENABLE, None, SEQUENCE),
        Step(2, 2, PLACE, key_id(2), Action.SET_INTERVAL, 90, SEQUENCE),
        Step(3, 4, PLACE, key_id(4), Action.DISABLE, None, SEQUENCE),
        Step(4, 5, PLACE, key_id(5), Action.RESTORE_INTERVAL, 200, SEQUENCE),
    ]
    on = {"key_rotation_enabled": "true", "rotation_interval": "60"}
    kept = simulated_kms([*(key(number) for number in (1, 2, 3)), key(4, **on), key(5, **on)], steps)
    states = [kept.state(REGION, PROJECT, key_id(number)) for number in (1, 2, 3, 4, 5)]
    assert states == [(True, 365), (True, 90), (False, 365), (False, 365), (True, 200)]
