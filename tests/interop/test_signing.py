"""Two ways to sign, the client's and the simulator's, against the vendor's signer and its recorded vectors."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.halt import Halt, Tally
from audit.kms.credentials import Credentials
from audit.kms.link import Limits, Link
from audit.kms.signing import authorization, sdk_date
from audit.model import Place
from audit.scrub import Scrubber
from audit.simulator.gate import Gate
from audit.simulator.wire import Request
from tests.simulated import ACCESS_KEY, SECRET_KEY, Clock

# Importing the SDK writes to ~/.huaweicloud, so it gets a home of its own.
with TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
    patch.setenv("HOME", home)
    from huaweicloudsdkcore.auth.credentials import BasicCredentials
    from huaweicloudsdkcore.sdk_request import SdkRequest
    from huaweicloudsdkcore.signer.signer import Signer

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "signing-vectors.json").read_text(encoding="utf-8")
)
SPOKEN = [vector for vector in VECTORS if vector["authorization"].startswith("SDK-HMAC-SHA256 ")]
OTHERS = [vector for vector in VECTORS if vector not in SPOKEN]
AT = datetime(2026, 1, 1, tzinfo=UTC)

every_vector = pytest.mark.parametrize("vector", SPOKEN, ids=lambda vector: vector["name"])


def gate(access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY, security_token: str = "") -> Gate:
    """The simulator's check of signatures, on the day of the vectors."""
    return Gate(access_key, secret_key, security_token, None, clock=Clock(), now=lambda: AT)


class Kept(httpx.AsyncBaseTransport):
    """Keeps what it is asked to send, and answers with an empty success."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, stream=httpx.ByteStream(b""))


# Recorded requests ----------------------------------------------------------------------------------------------------


@every_vector
def test_a_recorded_request_gets_the_recorded_signature(vector: dict[str, Any]) -> None:
    """Our signature of every SDK-HMAC-SHA256 vector is the vendor's, character by character."""
    headers = {**vector["headers_before"], "Host": vector["host"]}
    query = [(name, value) for name, value in vector["query"]]
    keys, body = (vector["ak"], vector["sk"]), vector["body"].encode()
    signed = authorization(*keys, vector["method"], vector["resource_path"], headers, body, query)
    assert signed == vector["authorization"]


@every_vector
def test_the_simulator_accepts_a_recorded_signature(vector: dict[str, Any]) -> None:
    """What the vendor signed passes the simulator's check; one digit changed, it does not."""
    token = vector["headers_before"].get("X-Security-Token", "")
    right = vector["authorization"]
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    headers = {**vector["headers_before"], "Host": vector["host"]}
    said = [
        gate(vector["ak"], vector["sk"], token).objection(
            Request.of(
                vector["method"],
                vector["uri_sent"],
                [*headers.items(), ("Authorization", signature)],
                vector["body"].encode(),
            )
        )
        for signature in (right, wrong)
    ]
    assert said == ["", "signature mismatch"]


@pytest.mark.parametrize("vector", OTHERS, ids=lambda vector: vector["name"])
def test_other_algorithms_are_set_aside_by_name(vector: dict[str, Any]) -> None:
    """The derived and the SM3 algorithms are used only by clients that ask for them; no part of ours does."""
    algorithm = vector["authorization"].partition(" ")[0]
    assert algorithm in {"V11-HMAC-SHA256", "SDK-HMAC-SM3"}
    pytest.skip(f"{algorithm} is not spoken here; KMS takes SDK-HMAC-SHA256")


def test_every_vector_is_accounted_for() -> None:
    """Seven vectors are compared, two are set aside."""
    assert (len(SPOKEN), len(OTHERS)) == (7, 2)


# Any request ----------------------------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
segments = st.lists(
    text | st.sampled_from(["kms", "%20", "%E5%AF%86", "100%", "a%2Bb", "%2F", "a%2fb", "~", "."]), max_size=5
)
names = st.from_regex("[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True).filter(
    lambda name: name.lower() not in {"host", "x-sdk-date", "content-type", "authorization", "x-sdk-content-sha256"}
)
extra_headers = st.dictionaries(names, text, max_size=4).filter(
    lambda headers: len({name.lower() for name in headers}) == len(headers)
)
content_types = st.sampled_from(
    [{}, {"Content-Type": "application/json"}, {"content-type": "application/json;charset=UTF-8"}]
)
queries = st.lists(st.tuples(text, text), max_size=4)
methods = st.sampled_from(["POST", "GET", "put", "Delete"])


def vendors(
    method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes
) -> tuple[SdkRequest, str]:
    """The request after the vendor's signer, and the Authorization header that it made."""
    request = SdkRequest(
        method=method,
        schema="https",
        host="kms.cn-north-4.myhuaweicloud.com",
        resource_path=path,
        query_params=list(query),
        header_params={"X-Sdk-Date": sdk_date(AT), **headers},
        body=body,
    )
    signed = Signer(BasicCredentials(ACCESS_KEY, SECRET_KEY)).sign(request)
    return signed, signed.header_params["Authorization"]


@given(methods, segments, queries, extra_headers, content_types, st.binary(max_size=64))
def test_any_request_is_signed_as_the_vendor_signs_it(
    method: str,
    parts: list[str],
    query: list[tuple[str, str]],
    extra: dict[str, str],
    content_type: dict[str, str],
    body: bytes,
) -> None:
    """Method, path, query, headers and body of any kind get the vendor's signature, encoded slashes included."""
    path = "/" + "/".join(parts)
    headers = {**extra, **content_type}
    _, expected = vendors(method, path, query, headers, body)
    ours = {**headers, "Host": "kms.cn-north-4.myhuaweicloud.com", "X-Sdk-Date": sdk_date(AT)}
    assert authorization(ACCESS_KEY, SECRET_KEY, method, path, ours, body, query) == expected


@given(
    st.from_regex("[0-9A-Za-z_-]{1,64}", fullmatch=True),
    st.sampled_from(["enable-key-rotation", "list-keys"]),
    st.binary(max_size=64),
    st.sampled_from(["", "made-up/security+token=="]),
)
def test_what_the_link_sends_is_signed_as_the_vendor_signs_it(
    project_id: str, operation: str, body: bytes, token: str
) -> None:
    """The headers that go out, signed once more by the vendor's signer, get the signature that went out with them."""
    kept = Kept()

    async def send() -> None:
        link = Link(
            Credentials(ACCESS_KEY, SECRET_KEY, token),
            lambda region: f"https://kms.{region}.myhuaweicloud.com",
            Limits(1000, 1, 1, 1),
            Halt(),
            Tally(),
            Scrubber(),
            transport=lambda: kept,
            now=lambda: AT,
        )
        await link.attempt(Place("", "cn-north-4", project_id), operation, body)
        await link.close()

    asyncio.run(send())
    (sent,) = kept.requests
    names = sent.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"content-type", "host", "x-project-id", "x-sdk-date"} <= set(names)
    assert ("x-security-token" in names) == bool(token)
    signed = {name: sent.headers[name] for name in names if name not in {"host", "x-sdk-date"}}
    _, expected = vendors("POST", sent.url.raw_path.decode(), [], signed, sent.content)
    assert sent.headers["Host"] == "kms.cn-north-4.myhuaweicloud.com"
    assert sent.headers["Authorization"] == expected


@given(methods, st.lists(text, max_size=5), queries, extra_headers, content_types, st.binary(max_size=64))
def test_the_simulator_accepts_whatever_the_vendor_signs(
    method: str,
    parts: list[str],
    query: list[tuple[str, str]],
    extra: dict[str, str],
    content_type: dict[str, str],
    body: bytes,
) -> None:
    """The simulator's check works on the bytes of the wire, and comes to the vendor's result for any of them."""
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    request, _ = vendors(method, path, query, {**extra, **content_type}, body)
    sent = Request.of(method, request.uri, request.header_params.items(), body)
    assert gate().objection(sent) == ""
    assert gate(secret_key="another").objection(sent) == "signature mismatch"
    tampered = Request.of(method, request.uri, request.header_params.items(), body + b" ")
    assert gate().objection(tampered) == "signature mismatch"
