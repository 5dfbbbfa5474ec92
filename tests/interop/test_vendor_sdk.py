"""The vendor's own SDK works with the simulator over TCP, and meets the documented answers there."""

from collections.abc import Callable, Iterator
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from audit.simulator import Core, parse_faults
from tests.command import FAST, Operator
from tests.simulated import ACCESS_KEY, PROJECT, REGION, SECRET_KEY, SEQUENCE, core, key, key_id, running

# Importing the SDK writes to ~/.huaweicloud, so it gets a home of its own.
with TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
    patch.setenv("HOME", home)
    from huaweicloudsdkcore.auth.credentials import BasicCredentials
    from huaweicloudsdkcore.exceptions.exceptions import (
        ClientRequestException,
        ConnectionException,
        ServerResponseException,
    )
    from huaweicloudsdkkms.v2 import (
        EnableKeyRotationRequest,
        KmsClient,
        ListKeyDetailRequest,
        ListKeysRequest,
        ListKeysRequestBody,
        OperateKeyRequestBody,
        ShowKeyRotationStatusRequest,
        UpdateKeyRotationIntervalRequest,
        UpdateKeyRotationIntervalRequestBody,
    )

TOKEN = "made-up-security-token"
Connect = Callable[..., KmsClient]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """A client of the SDK for a base URL, which a proxy of the environment must not see."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    clients: list[KmsClient] = []

    def build(base: str, *, secret_key: str = SECRET_KEY, security_token: str = "") -> KmsClient:
        credentials = BasicCredentials(ACCESS_KEY, secret_key, PROJECT)
        if security_token:
            credentials = credentials.with_security_token(security_token)
        clients.append(KmsClient.new_builder().with_credentials(credentials).with_endpoint(base).build())
        return clients[-1]

    yield build
    for client in clients:
        client.get_http_client().close()


def enable(client: KmsClient, number: int) -> Any:  # the SDK is not typed
    body = OperateKeyRequestBody(key_id=key_id(number), sequence=SEQUENCE)
    return client.enable_key_rotation(EnableKeyRotationRequest(body=body))


def refused(client: KmsClient, number: int) -> tuple[int, str]:
    """Status and code with which enabling a key is refused."""
    with pytest.raises(ClientRequestException) as raised:
        enable(client, number)
    assert len(raised.value.request_id) == 32
    return raised.value.status_code, raised.value.error_code


def walk(client: KmsClient, **more: str) -> list[list[str]]:
    """The ids on every page of a list."""
    pages, marker = [], ""
    while not pages or marker:
        body = ListKeysRequestBody(limit="2", marker=marker or None, **more)
        page = client.list_keys(ListKeysRequest(body=body))
        pages.append(page.keys)
        assert [details.key_id for details in page.key_details] == page.keys
        marker = page.next_marker
        assert page.truncated == ("true" if marker else "false")
    return pages


def test_the_sdk_walks_all_pages(connect: Connect) -> None:
    """With ``key_spec`` ALL the SDK finds every key, two on a page."""
    seeds = [key(0), key(1, key_spec="RSA_2048"), key(2), key(3, key_spec="SM4"), key(4)]
    with running(core(seeds)) as base:
        pages = walk(connect(base), key_spec="ALL")
    assert pages == [[key_id(0), key_id(1)], [key_id(2), key_id(3)], [key_id(4)]]


def test_the_sdk_sees_only_aes_keys_unless_it_asks_for_all(connect: Connect) -> None:
    """Without ``key_spec`` every key that is not AES_256 is missing, and the total says nothing of them."""
    seeds = [key(0), key(1, key_spec="RSA_2048"), key(2), key(3, key_spec="SM4")]
    with running(core(seeds)) as base:
        client = connect(base)
        assert walk(client) == [[key_id(0), key_id(2)]]
        assert client.list_keys(ListKeysRequest(body=ListKeysRequestBody())).total == 2


def test_the_sdk_enables_and_is_told_when_it_is_on_already(connect: Connect) -> None:
    """The first call switches rotation on for a year; the second is KMS.2901."""
    simulated = core([key(1)])
    with running(simulated) as base:
        client = connect(base)
        assert enable(client, 1).status_code == 200
        assert refused(client, 1) == (400, "KMS.2901")
    assert simulated.state(REGION, PROJECT, key_id(1)) == (True, 365)
    assert [served.sequence for served in simulated.log] == [SEQUENCE] * 2


def test_the_sdk_reads_an_empty_success(connect: Connect) -> None:
    """Both success bodies of a write, an object and nothing, are successes to the SDK."""
    with running(core([key(1), key(2)])) as base:
        client = connect(base)
        assert [enable(client, number).status_code for number in (1, 2)] == [200, 200]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"key_alias": "evs/default"}, (400, "KMS.0211")),
        ({"origin": "external"}, (400, "KMS.0312")),
        ({"domain_id": "e" * 32}, (403, "KMS.0306")),
        (None, (404, "KMS.0207")),
    ],
)
def test_the_sdk_is_refused_with_the_documented_code(
    connect: Connect, facts: dict[str, str] | None, expected: tuple[int, str]
) -> None:
    """Default, imported, shared and unknown keys each meet their code."""
    seeds = [key(number, domain_id="d" * 32) for number in (2, 3)] + ([key(1, **facts)] if facts else [])
    with running(core(seeds)) as base:
        assert refused(connect(base), 1) == expected


def test_the_sdk_sets_an_interval_and_reads_it_back(connect: Connect) -> None:
    """Interval, status and description go through the SDK's own types."""
    with running(core([key(1, key_rotation_enabled="true"), key(2)])) as base:
        client = connect(base)
        wanted = UpdateKeyRotationIntervalRequestBody(key_id=key_id(1), rotation_interval=90)
        client.update_key_rotation_interval(UpdateKeyRotationIntervalRequest(body=wanted))
        status, off = (
            client.show_key_rotation_status(
                ShowKeyRotationStatusRequest(body=OperateKeyRequestBody(key_id=key_id(number)))
            )
            for number in (1, 2)
        )
        described = client.list_key_detail(ListKeyDetailRequest(body=OperateKeyRequestBody(key_id=key_id(1)))).key_info
    assert (status.key_rotation_enabled, status.rotation_interval, off.key_rotation_enabled) == (True, 90, False)
    assert (described.key_id, described.realm, described.key_rotation_enabled) == (key_id(1), REGION, "true")


def test_the_sdk_sees_that_a_run_was_undone(connect: Connect, operator: Operator) -> None:
    """After a remediation the SDK sees rotation on; after its rollback off again, and only there."""
    keys = [key(1), key(2), key(3, key_rotation_enabled="true")]

    def seen() -> list[bool]:
        bodies = [OperateKeyRequestBody(key_id=one.key_id) for one in keys]
        asked = [client.show_key_rotation_status(ShowKeyRotationStatusRequest(body=body)) for body in bodies]
        return [status.key_rotation_enabled for status in asked]

    with running(core(keys)) as base:
        client = connect(base)
        first = operator.run("remediate", operator.inventory(keys), "--yes", "--endpoint", base, *FAST)
        assert (first.exit_code, seen()) == (0, [True, True, True])
        assert operator.run("rollback", first.directory, "--yes", "--endpoint", base, *FAST).exit_code == 0
        assert seen() == [False, False, True]


def test_the_sdk_signs_with_a_security_token(connect: Connect) -> None:
    """Temporary credentials pass with their token, and meet 401 without it."""
    with running(core([key(1), key(2)], security_token=TOKEN)) as base:
        assert enable(connect(base, security_token=TOKEN), 1).status_code == 200
        assert refused(connect(base), 2) == (401, "APIGW.0301")


def test_the_sdk_with_a_wrong_secret_is_refused(connect: Connect) -> None:
    """A wrong secret key is a 401 of the gateway, and nothing is applied."""
    simulated = core([key(1)])
    with running(simulated) as base:
        assert refused(connect(base, secret_key="wrong"), 1) == (401, "APIGW.0301")
    assert simulated.state(REGION, PROJECT, key_id(1)) == (False, 365)


@pytest.mark.parametrize(
    ("fault", "exception"),
    [
        ("throttle", ClientRequestException),
        ("503", ServerResponseException),
        ("502-after", ServerResponseException),
        ("drop-after", ConnectionException),
        ("noise", ConnectionException),
    ],
)
def test_the_sdk_meets_what_the_simulator_gets_wrong(connect: Connect, fault: str, exception: type[Exception]) -> None:
    """Misbehaviour reaches another client too, as that client's own exceptions."""
    simulated: Core = core([key(1)], faults=parse_faults(f"{fault}@1"))
    with running(simulated) as base:
        client = connect(base)
        with pytest.raises(exception):
            enable(client, 1)
    assert simulated.log[0].applied == (fault in {"502-after", "drop-after", "noise"})
