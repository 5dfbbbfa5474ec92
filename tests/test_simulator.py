"""The simulator answers as the documents say, and misbehaves as it is told, alike on both faces."""

import asyncio
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.errors import UsageFault
from audit.simulator import (
    FAULT_KINDS,
    SIMULATED_ENDPOINT,
    Core,
    Cut,
    Fault,
    Faults,
    Reply,
    Served,
    SimulatedTransport,
    parse_faults,
    serve,
)
from tests.simulated import (
    ACCESS_KEY,
    FACES,
    NO_TLS,
    PROJECT,
    REGION,
    SEQUENCE,
    Caller,
    Clock,
    Signer,
    core,
    key,
    key_id,
    reached,
    running,
)

ENABLE, DISABLE, INTERVAL = "enable-key-rotation", "disable-key-rotation", "update-key-rotation-interval"
STATUS, LIST, DESCRIBE = "get-key-rotation-status", "list-keys", "describe-key"
OURS = "d" * 32

both_faces = pytest.mark.parametrize("face", FACES)


def codes(simulated: Core, *asked: tuple[str, object], face: str = "in process", **how: str) -> list[tuple[int, str]]:
    """Status and code of each request, one after the other."""

    async def scene() -> list[tuple[int, str]]:
        async with reached(simulated, face) as caller:
            return [await caller.code(operation, body, **how) for operation, body in asked]

    return asyncio.run(scene())


def answers(simulated: Core, *asked: tuple[str, object], face: str = "in process") -> list[httpx.Response]:
    """The answer to each request, one after the other."""

    async def scene() -> list[httpx.Response]:
        async with reached(simulated, face) as caller:
            return [await caller.ask(operation, body) for operation, body in asked]

    return asyncio.run(scene())


def on(number: int = 1, **more: object) -> dict[str, object]:
    """The body of a request about a key."""
    return {"key_id": key_id(number), **more}


# What KMS answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "status", "code"),
    [
        ({"default_key_flag": "1"}, 400, "KMS.0211"),
        ({"key_alias": "evs/default"}, 400, "KMS.0211"),
        ({"origin": "external"}, 400, "KMS.0312"),
        ({"key_spec": "RSA_4096"}, 400, "KMS.0324"),
        ({"key_spec": "EC_P256"}, 400, "KMS.0325"),
        ({"key_spec": "SM2"}, 400, "KMS.0325"),
        ({"key_spec": "FOO_1"}, 400, "KMS.0325"),
        ({"key_spec": "HMAC_256"}, 400, "KMS.0341"),
        ({"keystore_id": "1"}, 400, "KMS.0338"),
        ({"domain_id": "e" * 32}, 403, "KMS.0306"),
        ({"multi_region_key_type": "REPLICA"}, 400, "KMS.0106"),
        ({"key_state": "1"}, 400, "KMS.1301"),
        ({"key_state": "3"}, 400, "KMS.0209"),
        ({"key_state": "4"}, 400, "KMS.0210"),
        ({"key_state": "5"}, 400, "KMS.1301"),
        ({"key_state": "7"}, 400, "KMS.0320"),
        ({"key_state": "9"}, 400, "KMS.1301"),
        ({"key_rotation_enabled": "true"}, 400, "KMS.2901"),
        ({"key_alias": "evs/default", "default_key_flag": "0"}, 200, ""),
        ({"key_spec": "SM4"}, 200, ""),
        ({"multi_region_key_type": "PRIMARY"}, 200, ""),
        ({}, 200, ""),
    ],
)
def test_enabling_is_refused_for_the_documented_reasons(facts: dict[str, str], status: int, code: str) -> None:
    """Each kind and state of a key meets its own code, and only what can rotate is switched on."""
    seeds = [key(1, **facts), *(key(number, domain_id=OURS) for number in (2, 3))]
    simulated = core(seeds)
    before = simulated.state(REGION, PROJECT, key_id(1))
    assert codes(simulated, (ENABLE, on())) == [(status, code)]
    assert simulated.state(REGION, PROJECT, key_id(1)) == ((True, 365) if status == 200 else before)
    assert simulated.log[-1].applied == (status == 200)


@pytest.mark.parametrize(
    ("operation", "body", "status", "code"),
    [
        (ENABLE, b"{", 400, "KMS.0202"),
        (ENABLE, b"[]", 400, "KMS.0202"),
        (ENABLE, b"", 400, "KMS.0202"),
        (ENABLE, b"[" * 100_000, 400, "KMS.0202"),
        (ENABLE, b"\xff\xfe\xff", 400, "KMS.0202"),
        (ENABLE, {}, 400, "KMS.0204"),
        (ENABLE, {"key_id": "5C1F7A90-2B3D-4E6F-8A17-0C9D2E4B6F81"}, 400, "KMS.0205"),
        (ENABLE, {"key_id": 7}, 400, "KMS.0205"),
        (DESCRIBE, {"key_id": "short"}, 400, "KMS.0205"),
        (ENABLE, on(sequence="919c82d4804647229094"), 400, "KMS.0206"),
        (ENABLE, on(sequence=None), 400, "KMS.0206"),
        (LIST, {"sequence": 36}, 400, "KMS.0206"),
        (ENABLE, on(2), 404, "KMS.0207"),
        (DESCRIBE, on(2), 404, "KMS.0207"),
        (STATUS, on(2), 404, "KMS.0207"),
        (DISABLE, on(), 400, "KMS.0313"),
        (INTERVAL, on(), 400, "KMS.0204"),
        (INTERVAL, on(rotation_interval=90), 400, "KMS.0313"),
        ("rotate-everything", on(), 404, "APIGW.0101"),
        (ENABLE, on(sequence=SEQUENCE), 200, ""),
    ],
)
def test_a_malformed_request_meets_its_code(operation: str, body: object, status: int, code: str) -> None:
    """What is wrong with a request decides its code, before any key is looked at."""
    assert codes(core([key(1)]), (operation, body)) == [(status, code)]


def test_a_wrong_method_is_refused_by_kms() -> None:
    """Everything but POST meets 405 KMS.0215, once it is signed."""
    assert codes(core([key(1)]), (DESCRIBE, on()), method="PUT") == [(405, "KMS.0215")]


def test_an_unknown_project_is_one_without_keys() -> None:
    """A project that no seed names lists nothing, and has no key."""
    asked = (LIST, {"key_spec": "ALL"}), (DESCRIBE, on())
    assert codes(core([key(1)]), *asked, project_id="f" * 32) == [(200, ""), (404, "KMS.0207")]


@pytest.mark.parametrize("days", [29, 366, -90, 0, "90", 90.0, True, [90]])
def test_an_interval_out_of_range_or_no_integer_is_refused(days: object) -> None:
    """The interval is a JSON integer of 30 to 365 days, or KMS.3001."""
    simulated = core([key(1, key_rotation_enabled="true", rotation_interval="180")])
    assert codes(simulated, (INTERVAL, on(rotation_interval=days))) == [(400, "KMS.3001")]
    assert simulated.state(REGION, PROJECT, key_id(1)) == (True, 180)


def test_enabling_always_sets_a_year() -> None:
    """The interval of a key before and after it was switched off does not survive the next enabling."""
    simulated = core([key(1)])
    asked = (ENABLE, on()), (INTERVAL, on(rotation_interval=30)), (DISABLE, on())
    assert codes(simulated, *asked) == [(200, "")] * 3
    assert simulated.state(REGION, PROJECT, key_id(1)) == (False, 30)
    assert codes(simulated, (ENABLE, on()), (ENABLE, on())) == [(200, ""), (400, "KMS.2901")]
    assert simulated.state(REGION, PROJECT, key_id(1)) == (True, 365)


def test_a_write_is_answered_with_an_object_or_with_nothing() -> None:
    """Both success bodies of the documents occur, in turn."""
    told = answers(core([key(1), key(2), key(3)]), *((ENABLE, on(number)) for number in (1, 2, 3)))
    assert [answer.content for answer in told] == [b"{}", b"", b"{}"]


def test_details_are_all_text() -> None:
    """KeyDetails state flags, times and switches as strings, and what the seed left out as documented."""
    (answer,) = answers(
        core([key(1, key_alias="app-data", domain_id=OURS, key_rotation_enabled="true")]), (DESCRIBE, on())
    )
    details = answer.json()["key_info"]
    assert all(isinstance(value, str) for value in details.values())
    expected = {
        "key_id": key_id(1),
        "domain_id": OURS,
        "key_alias": "app-data",
        "realm": REGION,
        "key_spec": "AES_256",
        "key_usage": "ENCRYPT_DECRYPT",
        "key_state": "2",
        "default_key_flag": "0",
        "origin": "kms",
        "key_rotation_enabled": "true",
        "keystore_id": "0",
        "multi_region_key_type": "SINGLE",
    }
    assert expected.items() <= details.items()


def test_status_speaks_in_booleans_and_numbers() -> None:
    """The status reply has a boolean, integers, and a time that is empty for a key that never rotated."""
    seeds = [key(1), key(2, key_rotation_enabled="true", rotation_interval="90")]
    off, switched_on = (answer.json() for answer in answers(core(seeds), (STATUS, on(1)), (STATUS, on(2))))
    assert off == {
        "key_rotation_enabled": False,
        "rotation_interval": 365,
        "last_rotation_time": "",
        "number_of_rotations": 0,
    }
    assert (switched_on["key_rotation_enabled"], switched_on["rotation_interval"]) == (True, 90)
    assert re.fullmatch(r"\d{13}", switched_on["last_rotation_time"])


def test_what_nobody_knows_is_answered_as_stated() -> None:
    """States, specs, origins and switches outside the documents reach the client as the seed states them."""
    strange = {"key_state": "9", "key_spec": "FOO_1", "origin": "moon", "key_rotation_enabled": "perhaps"}
    described, status = answers(core([key(1, **strange)]), (DESCRIBE, on()), (STATUS, on()))
    assert strange.items() <= described.json()["key_info"].items()
    assert status.json()["key_rotation_enabled"] == "perhaps"


@pytest.mark.parametrize("limit", ["2", 2])
def test_a_list_comes_in_pages(limit: object) -> None:
    """Every key is on exactly one page; ``truncated`` is text, ``total`` a number, the last marker empty."""

    async def scene() -> list[dict[str, object]]:
        async with reached(core(key(number) for number in range(5))) as caller:
            pages, marker = [], ""
            while not pages or marker:
                body = {"limit": limit, "key_spec": "ALL"} | ({"marker": marker} if marker else {})
                pages.append((await caller.ask(LIST, body)).json())
                marker = pages[-1]["next_marker"]
            return pages

    pages = asyncio.run(scene())
    assert [page["keys"] for page in pages] == [[key_id(0), key_id(1)], [key_id(2), key_id(3)], [key_id(4)]]
    assert [page["truncated"] for page in pages] == ["true", "true", "false"]
    assert [page["total"] for page in pages] == [5, 5, 5]
    assert [[details["key_id"] for details in page["key_details"]] for page in pages] == [
        page["keys"] for page in pages
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"limit": "0"}, "KMS.1601"),
        ({"limit": 2001}, "KMS.1601"),
        ({"limit": "many"}, "KMS.1601"),
        ({"limit": True}, "KMS.1601"),
        ({"limit": 1.5}, "KMS.1601"),
        ({"limit": "9" * 5000}, "KMS.1601"),
        ({"marker": "-1"}, "KMS.1602"),
        ({"marker": -1}, "KMS.1602"),
        ({"marker": "next"}, "KMS.1602"),
    ],
)
def test_a_limit_or_marker_that_is_none_is_refused(body: object, code: str) -> None:
    """Pages have 1 to 2000 keys, and markers are not negative."""
    assert codes(core([key(1)]), (LIST, body)) == [(400, code)]


@pytest.mark.parametrize(
    ("body", "listed"),
    [
        ({}, [0, 3]),
        ({"key_spec": "ALL"}, [0, 1, 2, 3]),
        ({"key_spec": "SM4"}, [1]),
        ({"key_state": "3"}, [3]),
        ({"key_spec": "ALL", "key_state": "2"}, [0, 1, 2]),
        ({"key_spec": ["ALL"]}, []),
        ({"marker": "1000"}, []),
    ],
)
def test_a_list_without_key_spec_hides_what_is_not_aes(body: object, listed: list[int]) -> None:
    """Only AES_256 keys are listed unless the request says ALL or names another spec; a state narrows it too."""
    seeds = [key(0), key(1, key_spec="SM4"), key(2, key_spec="RSA_2048"), key(3, key_state="3")]
    (answer,) = answers(core(seeds), (LIST, body))
    assert answer.json()["keys"] == [key_id(number) for number in listed]


def test_a_region_has_its_own_keys_and_loopback_has_all() -> None:
    """The host in process names the region; on the socket a project shows its keys of every region."""
    seeds = [key(1), key(2, region="cn-east-3")]
    found = [codes(core(seeds), (DESCRIBE, on(1)), (DESCRIBE, on(2)), face=face) for face in FACES]
    assert found == [[(200, ""), (404, "KMS.0207")], [(200, ""), (200, "")]]


def test_the_commonest_domain_is_ours() -> None:
    """Our account is the one that most seeds state; where none does, there is one all the same."""
    assert core([key(1, domain_id="e" * 32), key(2, domain_id=OURS), key(3, domain_id=OURS)]).own_domain == OURS
    assert re.fullmatch("[0-9a-f]{32}", core([key(1)]).own_domain)


def test_what_an_earlier_run_did_can_be_restored() -> None:
    """A restored key has been on, or off, for long: every read shows it at once, whatever the lag."""
    simulated = core([key(1), key(2), key(4, key_rotation_enabled="true")], lag=60.0)
    simulated.restore(REGION, PROJECT, key_id(1))
    simulated.restore(REGION, PROJECT, key_id(2), 90)
    simulated.restore(REGION, PROJECT, key_id(4), None)
    shown = [answer.json() for answer in answers(simulated, (STATUS, on(1)), (STATUS, on(2)), (STATUS, on(4)))]
    told = [(each["key_rotation_enabled"], each["rotation_interval"]) for each in shown]
    assert told == [(True, 365), (True, 90), (False, 365)]
    with pytest.raises(KeyError):
        simulated.restore(REGION, PROJECT, key_id(3))


def test_reads_lag_behind_writes() -> None:
    """For ``lag`` seconds reads show the state before; a second write meets the true state at once."""
    clock = Clock()
    simulated = core([key(1)], lag=0.5, clock=clock)

    async def scene() -> list[tuple[str, bool, str]]:
        shown = []
        async with reached(simulated) as caller:
            assert await caller.code(ENABLE, on()) == (200, "")
            assert await caller.code(ENABLE, on()) == (400, "KMS.2901")
            for _ in range(3):
                told = (await caller.ask(LIST, {})).json()["key_details"][0]["key_rotation_enabled"]
                status = (await caller.ask(STATUS, on())).json()["key_rotation_enabled"]
                described = (await caller.ask(DESCRIBE, on())).json()["key_info"]["key_rotation_enabled"]
                shown.append((told, status, described))
                clock.advance(0.25)
        return shown

    assert asyncio.run(scene()) == [("false", False, "false"), ("false", False, "false"), ("true", True, "true")]


def test_a_reader_sees_every_state_in_its_order() -> None:
    """Several writes within the lag come into sight one by one."""
    clock = Clock()
    simulated = core([key(1)], lag=1.0, clock=clock)
    seen = []

    async def scene() -> None:
        async with reached(simulated) as caller:
            for operation, more in ((ENABLE, {}), (INTERVAL, {"rotation_interval": 90}), (DISABLE, {})):
                assert (await caller.code(operation, on(**more)))[0] == 200
                clock.advance(0.4)
            for _ in range(4):
                told = (await caller.ask(STATUS, on())).json()
                seen.append((told["key_rotation_enabled"], told["rotation_interval"]))
                clock.advance(0.4)

    asyncio.run(scene())
    assert seen == [(True, 365), (True, 90), (False, 90), (False, 90)]


@both_faces
def test_every_answer_looks_like_the_gateways(face: str) -> None:
    """Date, server, content type and a request id of its own are on every answer; gateway errors end their line."""
    told = answers(core([key(1)]), (STATUS, on(1)), (STATUS, on(2)), ("no-such-call", {}), face=face)
    assert all(re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"]) for answer in told)
    assert len({answer.headers["X-Request-Id"] for answer in told}) == 3
    assert {answer.headers["Server"] for answer in told} == {"api-gateway"}
    assert {answer.headers["Content-Type"] for answer in told} == {"application/json"}
    assert all(answer.headers["Date"].endswith(" GMT") for answer in told)
    _, kms, gateway = told
    assert set(kms.json()) == {"error"}
    assert set(kms.json()["error"]) == {"error_code", "error_msg"}
    assert gateway.content.endswith(b"}\n")
    assert gateway.json()["request_id"] == gateway.headers["X-Request-Id"]


# Signatures, the lock, the throttle -----------------------------------------------------------------------------------


TOKEN = "made-up-security-token"
NOW = datetime(2026, 11, 24, 3, 34, tzinfo=UTC)


@pytest.mark.parametrize(
    ("signer", "terms", "status"),
    [
        (Signer(), {}, 200),
        (Signer(secret_key="another"), {}, 401),
        (Signer(access_key="NOBODY"), {}, 401),
        (Signer(security_token=TOKEN), {"security_token": TOKEN}, 200),
        (Signer(security_token="stale"), {"security_token": TOKEN}, 401),
        (Signer(), {"security_token": TOKEN}, 401),
        (Signer(at=NOW), {"now": lambda: NOW + timedelta(minutes=15)}, 200),
        (Signer(at=NOW), {"now": lambda: NOW + timedelta(minutes=15, seconds=1)}, 401),
        (Signer(at=NOW), {"now": lambda: NOW - timedelta(minutes=15, seconds=1)}, 401),
    ],
)
def test_only_a_right_and_fresh_signature_passes(signer: Signer, terms: dict[str, object], status: int) -> None:
    """Secret, access key, security token and the 15 minutes are all checked."""

    async def scene() -> tuple[int, str]:
        async with reached(core([key(1)], **terms), signer=signer) as caller:
            return await caller.code(ENABLE, on())

    assert asyncio.run(scene()) == (status, "" if status == 200 else "APIGW.0301")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", ""),
        ("Authorization", "Bearer abc"),
        ("Authorization", f"SDK-HMAC-SHA256 Access={ACCESS_KEY}, SignedHeaders=host, Signature={'0' * 64}"),
        ("Authorization", f"SDK-HMAC-SHA256 Access={ACCESS_KEY}, SignedHeaders=x-sdk-date;host, Signature={'0' * 64}"),
        ("X-Sdk-Date", "yesterday"),
        ("Content-Type", "text/plain"),
        ("Host", "kms.cn-east-3.simulated"),
    ],
)
def test_what_was_signed_must_be_what_is_sent(name: str, value: str) -> None:
    """A header changed after signing, or an Authorization that covers too little, is refused."""

    async def scene() -> int:
        async with reached(core([key(1)])) as caller:
            request = caller.signer.request(caller.base, ENABLE, on())
            request.headers[name] = value
            return (await caller.client.send(request)).status_code

    assert asyncio.run(scene()) == 401


def test_a_security_token_that_is_not_signed_is_refused() -> None:
    """A token added after signing does not pass, though it is the right one."""

    async def scene() -> int:
        async with reached(core([key(1)], security_token=TOKEN)) as caller:
            request = caller.signer.request(caller.base, ENABLE, on())
            request.headers["X-Security-Token"] = TOKEN
            return (await caller.client.send(request)).status_code

    assert asyncio.run(scene()) == 401


def attempts(caller: Caller, signers: Iterable[Signer]) -> list[int]:
    """The status of one request per signer, in turn."""

    async def scene() -> list[int]:
        requests = [signer.request(caller.base, DESCRIBE, on()) for signer in signers]
        return [(await caller.client.send(request)).status_code for request in requests]

    return asyncio.run(scene())


@pytest.mark.parametrize(("failures", "after"), [(5, 200), (6, 401)])
def test_more_than_five_failed_signatures_lock_the_access_key(failures: int, after: int) -> None:
    """Five failures in a row are borne, the sixth locks for five minutes, in which right signatures fail too."""
    clock = Clock()
    client = httpx.AsyncClient(transport=SimulatedTransport(core([key(1)], clock=clock)))
    caller = Caller(client, SIMULATED_ENDPOINT.format(region=REGION), Signer())
    assert attempts(caller, [Signer(secret_key="wrong")] * failures) == [401] * failures
    clock.advance(299)
    assert attempts(caller, [Signer()]) == [after]
    clock.advance(1)
    assert attempts(caller, [Signer()]) == [200]


def test_a_right_signature_clears_the_count() -> None:
    """Failures that are not in a row never lock."""
    client = httpx.AsyncClient(transport=SimulatedTransport(core([key(1)])))
    caller = Caller(client, SIMULATED_ENDPOINT.format(region=REGION), Signer())
    rounds = ([Signer(secret_key="wrong")] * 5 + [Signer()]) * 3
    assert attempts(caller, rounds) == ([401] * 5 + [200]) * 3


def test_requests_above_the_rate_are_throttled() -> None:
    """The bucket holds one request and a little; it fills at the rate, and the answer names no time to wait."""
    clock = Clock()
    simulated = core([key(1)], rate=20.0, clock=clock)

    async def scene() -> list[int]:
        statuses = []
        async with reached(simulated) as caller:
            for pause in (0, 0, 0, 0.05, 0, 0.1, 0, 0):
                clock.advance(pause)
                answer = await caller.ask(DESCRIBE, on())
                statuses.append(answer.status_code)
                assert "Retry-After" not in answer.headers
        return statuses

    assert asyncio.run(scene()) == [200, 200, 429, 200, 429, 200, 200, 429]
    assert simulated.log[2].code == "APIGW.0308"


def test_failed_signatures_take_nothing_from_the_rate() -> None:
    """A wrong signature is turned away before the throttle counts it."""
    simulated = core([key(1)], rate=1.0, clock=Clock())
    client = httpx.AsyncClient(transport=SimulatedTransport(simulated))
    caller = Caller(client, SIMULATED_ENDPOINT.format(region=REGION), Signer())
    wrong = Signer(secret_key="wrong")
    assert attempts(caller, [wrong, wrong, Signer(), Signer(), wrong]) == [401, 401, 200, 429, 401]


def test_latency_is_waited_for_and_never_beyond_the_read_time_out() -> None:
    """An answer takes the latency; where the client gives up first, that is when it hears of it."""
    clock = Clock()

    async def scene() -> None:
        transport = SimulatedTransport(core([key(1)], latency=2.0), sleep=clock.sleep)
        async with httpx.AsyncClient(transport=transport) as client:
            request = Signer().request(SIMULATED_ENDPOINT.format(region=REGION), DESCRIBE, on())
            request.extensions["timeout"] = {"read": 3.0}
            assert (await client.send(request)).status_code == 200
            assert clock() == 1002.0
            request.extensions["timeout"] = {"read": 1.5}
            with pytest.raises(httpx.ReadTimeout):
                await client.send(request)
            assert clock() == 1003.5

    asyncio.run(scene())


# Misbehaviour ---------------------------------------------------------------------------------------------------------

MET: dict[str, tuple[type[Exception] | int, bool]] = {
    "throttle": (429, False),
    "500": (500, False),
    "503": (503, False),
    "502": (502, False),
    "502-after": (502, True),
    "drop-before": (httpx.ReadError, False),
    "drop-after": (httpx.ReadError, True),
    "cut": (httpx.RemoteProtocolError, True),
    "garbage": (200, True),
    "noise": (httpx.RemoteProtocolError, True),
    "slow=2": (httpx.ReadTimeout, True),
    "401": (401, False),
    "401-echo": (401, False),
    "redirect": (302, False),
    "permission": (403, False),
    "policy": (403, False),
    f"forbid={PROJECT}": (403, False),
    "refuse=KMS.0105": (400, False),
}
"""Fault -> what httpx meets, and whether the write was applied."""


def test_every_fault_has_its_expectation() -> None:
    """The table above knows every kind that the simulator knows."""
    assert {text.partition("=")[0] for text in MET} == set(FAULT_KINDS)


@both_faces
@pytest.mark.parametrize("text", MET)
def test_a_fault_is_met_alike_on_both_faces(face: str, text: str) -> None:
    """Exception or status, what was applied, and what the log says agree; the next request is served as ever."""
    expected, applied = MET[text]
    simulated = core([key(1)], faults=parse_faults(f"{text}@1"))

    async def scene() -> None:
        async with reached(simulated, face, patience=0.3) as caller:
            if isinstance(expected, int):
                answer = await caller.ask(ENABLE, on())
                assert answer.status_code == expected
                assert not answer.is_redirect or answer.headers["Location"].startswith("https://kms.elsewhere.invalid")
            else:
                with pytest.raises(expected) as raised:
                    await caller.ask(ENABLE, on())
                assert type(raised.value) is expected
            assert (simulated.state(REGION, PROJECT, key_id(1)) or (None,))[0] is applied
            assert await caller.code(DESCRIBE, on()) == (200, "")

    asyncio.run(scene())
    first, second = simulated.log
    assert first.applied is applied
    broken = isinstance(expected, type) and expected is not httpx.ReadTimeout
    assert (first.status is None) == broken
    assert second.status == 200


@both_faces
def test_a_cut_answer_shows_its_head_and_half_its_body(face: str) -> None:
    """A streaming client sees a success and a part of the body before the connection ends."""
    simulated = core([key(1)], faults=parse_faults("cut"))

    async def scene() -> tuple[int, bytes]:
        part = b""
        async with reached(simulated, face) as caller:
            answer = await caller.client.send(caller.signer.request(caller.base, DESCRIBE, on()), stream=True)
            chunks = answer.aiter_raw()
            part += await anext(chunks)
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(chunks)
            await answer.aclose()
        return answer.status_code, part

    status, part = asyncio.run(scene())
    assert status == 200
    assert part.startswith(b'{"key_info": {')
    assert not part.endswith(b"}}")


@both_faces
def test_an_empty_body_can_be_cut_too(face: str) -> None:
    """The end of the connection comes before the promised end, even where there was nothing to say."""
    simulated = core([key(1), key(2)], faults=parse_faults("cut@2"))

    async def scene() -> None:
        async with reached(simulated, face) as caller:
            assert (await caller.ask(ENABLE, on(1))).content == b"{}"
            with pytest.raises(httpx.RemoteProtocolError):
                await caller.ask(ENABLE, on(2))

    asyncio.run(scene())


def test_an_echo_shows_what_no_client_may_keep() -> None:
    """The 401 that echoes holds the security token, the access key and the signature, across several lines."""
    simulated = core([key(1)], security_token=TOKEN, faults=parse_faults("401-echo"))

    async def scene() -> str:
        async with reached(simulated, signer=Signer(security_token=TOKEN)) as caller:
            return str((await caller.ask(ENABLE, on())).json()["error_msg"])

    message = asyncio.run(scene())
    assert f"\nx-security-token:{TOKEN}\n" in message
    assert f"Access={ACCESS_KEY}, " in message
    assert re.search("Signature=[0-9a-f]{64}$", message)


def test_simulated_signature_faults_lock_as_real_ones_do() -> None:
    """The sixth 401 in a row locks the access key, whoever is to blame for it."""
    simulated = core([key(1)], faults=parse_faults("401@1-3,401-echo@4-6"))
    assert codes(simulated, *[(DESCRIBE, on())] * 7) == [(401, "APIGW.0301")] * 7


def test_a_policy_refusal_carries_its_opaque_message() -> None:
    """The identity policy's 403 has the field that must never be kept."""
    (answer,) = answers(core([key(1)], faults=parse_faults("policy")), (ENABLE, on()))
    assert answer.json()["encoded_authorization_message"]
    assert answer.json()["error_code"] == "PAP5.0001"


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        ("500@2", [200, 500, 400, 200, 400, 200]),
        ("500@3+", [200, 200, 500, 500, 500, 500]),
        ("500@2-4", [200, 500, 500, 500, 400, 200]),
        ("500/writes@2", [200, 200, 500, 200, 400, 200]),
        ("500/reads", [200, 500, 400, 500, 400, 500]),
        ("500@2,503", [503, 500, 503, 503, 503, 503]),
        ("refuse=KMS.0101", [500, 200, 500, 200, 500, 200]),
        ("refuse/reads=KMS.9999", [200, 400, 400, 400, 400, 400]),
        ("forbid=elsewhere,throttle@6", [200, 200, 400, 200, 400, 429]),
        ("", [200, 200, 400, 200, 400, 200]),
    ],
)
def test_faults_strike_where_they_are_told_to(text: str, statuses: list[int]) -> None:
    """Numbers count what the part concerns, from 1; the first of several faults wins, and all of them count."""
    simulated = core([key(1)], faults=parse_faults(text))
    asked = [(ENABLE, on()), (DESCRIBE, on())] * 3
    assert [status for status, _ in codes(simulated, *asked)] == statuses


def test_the_dice_fall_the_same_way_again() -> None:
    """A probability strikes about as often as it says, the same requests each time, and others for another seed."""

    def struck(text: str) -> list[bool]:
        asked = [(DESCRIBE, on())] * 200
        return [status == 429 for status, _ in codes(core([key(1)], faults=parse_faults(text)), *asked)]

    first = struck("throttle:0.3")
    assert 40 < sum(first) < 80
    assert struck("throttle:.3,seed=1") == first
    assert struck("seed=2,throttle:.3") != first


def test_the_grammar_is_read_in_full() -> None:
    """Kind, side, argument, probability, range and seed each reach their place; blanks around a part do not matter."""
    assert parse_faults("drop-after/writes:0.2, slow=2.5@3-9 ,refuse=KMS.0105@4+,seed=7,slow") == Faults(
        (
            Fault("drop-after", "writes", probability=0.2),
            Fault("slow", argument="2.5", first=3, last=9),
            Fault("refuse", "writes", "KMS.0105", first=4),
            Fault("slow", argument="30"),
        ),
        seed=7,
    )
    assert parse_faults(" ") == Faults()


@pytest.mark.parametrize(
    ("text", "column", "why"),
    [
        ("tangle", 1, "there is no fault 'tangle'"),
        ("500, tangle", 6, "there is no fault 'tangle'"),
        ("500,,503", 5, "cannot read ''"),
        ("500,", 5, "cannot read ''"),
        ("500/sideways", 4, "cannot read '500/sideways'"),
        ("500:often", 4, "cannot read '500:often'"),
        ("500:2", 5, "a probability is above 0 and at most 1"),
        ("500:0", 5, "a probability is above 0 and at most 1"),
        ("500@0", 5, "requests are counted from 1"),
        ("500@5-4", 5, "requests are counted from 1"),
        ("500@1-", 6, "cannot read '500@1-'"),
        ("500=1", 5, "500 takes no argument"),
        ("forbid", 1, "forbid needs an argument"),
        ("forbid=a/b", 1, "forbid needs an argument"),
        ("refuse=0105", 1, "refuse needs an argument"),
        ("slow=soon", 1, "slow needs an argument"),
        ("slow=٣", 1, "slow needs an argument"),
        ("seed", 1, "the seed is seed=N"),
        ("seed=1:0.5", 1, "the seed is seed=N"),
    ],
)
def test_a_fault_that_is_none_is_a_usage_error_with_its_column(text: str, column: int, why: str) -> None:
    """The message names the column and the reason, the next step the form and every kind."""
    with pytest.raises(UsageFault) as raised:
        parse_faults(text)
    assert str(raised.value).startswith(f"--faults, column {column}: {why}")
    assert all(kind in raised.value.next_step for kind in FAULT_KINDS)


@given(st.text(alphabet="".join(sorted({*"".join(FAULT_KINDS), *"0123456789=:@+-/., seed"})), max_size=40) | st.text())
def test_no_text_is_more_than_a_usage_error(text: str) -> None:
    """Whatever is given to ``--faults`` is read or refused."""
    with suppress(UsageFault):
        assert isinstance(parse_faults(text), Faults)


# The log, and what comes in that is no request ------------------------------------------------------------------------


def test_the_log_tells_what_was_asked_and_what_became_of_it() -> None:
    """One line per request in order of arrival, with the sequence as it was sent."""
    clock = Clock()
    simulated = core([key(1)], clock=clock, faults=parse_faults("drop-before@2"))

    async def scene() -> None:
        async with reached(simulated) as caller:
            await caller.ask(ENABLE, on(sequence=SEQUENCE))
            clock.advance(2)
            with pytest.raises(httpx.ReadError):
                await caller.ask(DESCRIBE, on())
            await caller.ask(ENABLE, on(sequence=SEQUENCE))
            await caller.ask(LIST, b"\xff")
            await caller.ask("no-such-call", {})

    asyncio.run(scene())
    assert simulated.log == [
        Served(1000.0, ENABLE, PROJECT, key_id(1), SEQUENCE, 200, applied=True, code=""),
        Served(1002.0, DESCRIBE, PROJECT, key_id(1), "", None, applied=False, code=""),
        Served(1002.0, ENABLE, PROJECT, key_id(1), SEQUENCE, 400, applied=False, code="KMS.2901"),
        Served(1002.0, LIST, PROJECT, "", "", 400, applied=False, code="KMS.0202"),
        Served(1002.0, "", PROJECT, "", "", 404, applied=False, code="APIGW.0101"),
    ]


latin = st.text(st.characters(max_codepoint=255))


@given(
    method=st.sampled_from(["POST", "GET", "BREW"]) | latin,
    target=st.sampled_from([f"/v1.0/{PROJECT}/kms/{ENABLE}", f"/v1.0/{PROJECT}/kms/{LIST}?a=%", "*", ""]) | latin,
    headers=st.lists(
        st.tuples(st.sampled_from(["Host", "host", "Authorization", "X-Sdk-Date", "Content-Type"]) | latin, latin)
    ),
    names=st.sampled_from(["host;x-sdk-date", ";", "host;host"]) | latin,
    body=st.binary(max_size=50),
)
def test_no_request_is_too_strange_to_answer(
    method: str, target: str, headers: list[tuple[str, str]], names: str, body: bytes
) -> None:
    """Whatever a client sends gets a reply of its own, and never an exception."""
    signed = f"SDK-HMAC-SHA256 Access={ACCESS_KEY}, SignedHeaders={names}, Signature={'0' * 64}"
    for more in ([], [("Authorization", signed), ("X-Sdk-Date", "20261124T033400Z")]):
        for faults in ("", "401-echo"):
            simulated = core([key(1)], now=lambda: NOW, faults=parse_faults(faults))
            answer = simulated.handle(method, target, [*headers, *more], body)
            assert isinstance(answer, Reply | Cut)
            assert isinstance(answer, Reply)
            assert answer.status in {401, 404}
            assert len(simulated.log) == 1


_POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
RAW = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), b"HTTP/1.1 400 "),
    "a line of nonsense": (b"hello there\r\n\r\n", b"HTTP/1.1 400 "),
    "no host": (b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 400 "),
    "half a request": (_POST + b"Content-Length: 9\r\n\r\nhalf", b"HTTP/1.1 400 "),
    "a head without end": (_POST + b"X: " + b"x" * 100_000, b"HTTP/1.1 431 "),
    "a body without end": (_POST + b"Content-Length: 9999999\r\n\r\n" + bytes(1_100_000), b"HTTP/1.1 413 "),
    "nothing": (b"", b""),
}
"""What is sent, and how the answer begins."""


@pytest.mark.parametrize("kind", RAW)
def test_the_server_survives_what_is_no_request(kind: str) -> None:
    """Garbage, excess and silence end their own connection, at most with an error, and nobody else's."""
    sent, expected = RAW[kind]
    simulated = core([key(1)])
    with running(simulated) as base:
        with socket.create_connection(("127.0.0.1", httpx.URL(base).port or 0), timeout=5) as raw:
            told = b""
            try:
                raw.sendall(sent)
                raw.shutdown(socket.SHUT_WR)
                while chunk := raw.recv(65536):
                    told += chunk
            except ConnectionError:
                assert len(sent) > 65536  # what the server did not read makes the kernel reset the connection
                told = told or expected
        assert told.startswith(expected)
        with httpx.Client(trust_env=False, verify=NO_TLS) as client:
            assert client.send(Signer().request(base, ENABLE, on())).status_code == 200
    assert [served.status for served in simulated.log] == [200]


def test_a_connection_is_kept_until_the_client_wants_it_closed() -> None:
    """Requests follow each other on one connection; after ``Connection: close`` the server ends it."""
    request = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
    with running(core()) as base, socket.create_connection(("127.0.0.1", httpx.URL(base).port or 0), timeout=5) as raw:
        raw.sendall(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
        told = b"".join(iter(lambda: raw.recv(65536), b""))
    assert told.count(b"HTTP/1.1 404 ") == 2


def test_a_client_that_leaves_harms_nobody() -> None:
    """A connection given up in mid answer ends quietly, and the server goes on."""
    simulated = core([key(1)], faults=parse_faults("slow=0.2@1"))

    async def scene() -> tuple[int, str]:
        async with reached(simulated, "socket", patience=0.05) as caller:
            with pytest.raises(httpx.ReadTimeout):
                await caller.ask(ENABLE, on())
            await asyncio.sleep(0.25)
            return await caller.code(STATUS, on())

    assert asyncio.run(scene()) == (200, "")


def test_the_server_ends_while_answers_are_due() -> None:
    """Leaving the block ends every connection at once, also one that still owes an answer."""

    async def scene() -> None:
        simulated = core([key(1)], faults=parse_faults("slow=30"))
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as client:
            async with serve(simulated) as port:
                request = Signer().request(f"http://127.0.0.1:{port}", ENABLE, on())
                waiting = asyncio.create_task(client.send(request))
                while not simulated.log:  # noqa: ASYNC110  # the log is a list, and tells nobody
                    await asyncio.sleep(0.01)
            with pytest.raises(httpx.TransportError):
                await waiting

    asyncio.run(asyncio.wait_for(scene(), 10))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost", "kms.example.com"])  # noqa: S104  # refused
def test_the_server_listens_on_loopback_only(host: str) -> None:
    """No other address is listened on, nor a name that might mean one."""

    async def scene() -> None:
        async with serve(core(), host):
            pytest.fail("it listens")

    with pytest.raises(UsageFault, match="loopback only"):
        asyncio.run(scene())


def test_a_port_that_is_taken_is_a_usage_error() -> None:
    """The second simulator on a port is told so in one line."""

    async def scene() -> None:
        async with serve(core()) as port, serve(core(), port=port):
            pytest.fail("two servers on one port")

    with pytest.raises(UsageFault, match=r"cannot listen on 127\.0\.0\.1:\d+"):
        asyncio.run(scene())
