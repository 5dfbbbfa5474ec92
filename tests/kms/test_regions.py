"""To which host signed requests go is decided by patterns that match in full; nothing is repaired."""

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from audit.errors import UsageFault
from audit.kms.regions import ENDPOINTS, check_endpoint, endpoint_for, host_of, is_loopback
from audit.model import REGION

PATH = "/v1.0/" + "0" * 32 + "/kms/list-keys"


def test_every_region_of_the_table_has_its_own_https_host() -> None:
    """The table holds only usable endpoints, each naming its region, on three known domains."""
    assert len(set(ENDPOINTS.values())) == len(ENDPOINTS) == 34
    for region, endpoint in ENDPOINTS.items():
        assert REGION.fullmatch(region)
        assert check_endpoint(endpoint) == endpoint_for(region, None) == endpoint
        assert endpoint.startswith(f"https://kms.{region}.")
    domains = {endpoint.partition(f"kms.{region}.")[2] for region, endpoint in ENDPOINTS.items()}
    assert domains == {"myhuaweicloud.com", "myhuaweicloud.eu", "otc.t-systems.com"}


def test_the_european_site_has_its_own_domain() -> None:
    """eu-west-101 is the exception of the vendor's table."""
    assert endpoint_for("eu-west-101", None) == "https://kms.eu-west-101.myhuaweicloud.eu"


@pytest.mark.parametrize("region", ["eu-west-0", "xx-nowhere-1", "cn-north-99"])
def test_a_region_outside_the_table_needs_an_endpoint(region: str) -> None:
    """It is not guessed from the pattern; the next step shows how to give it."""
    with pytest.raises(UsageFault, match=region) as raised:
        endpoint_for(region, None)
    assert f"--endpoint https://kms.{region}." in raised.value.next_step
    assert endpoint_for(region, "https://kms.{region}.private.example") == f"https://kms.{region}.private.example"


@pytest.mark.parametrize(
    "region",
    [
        "",
        "CN-NORTH-4",
        "cn",
        "cn north-4",
        "cn-north-4 ",
        "cn-north-4\n",
        "cn-north-4.evil.example",
        "evil.example/#",
        "evil.example/",
        "cn-north-4@evil.example",
        "cn-north-4:8443",
        "cn_north_4",
        "\u0441n-north-4",
        "cn-north-\uff14",
        "-cn-north-4",
        "cn-north-",
        "cn--north",
        "{region}-x",
        "a" * 64 + "-1",
        "ab-" + "c" * 70_000,
    ],
)
@pytest.mark.parametrize("template", [None, "https://{region}.example.com", "https://kms.example.com"])
def test_what_is_no_region_never_reaches_a_host_name(region: str, template: str | None) -> None:
    """Whatever the endpoint is: a cell of an inventory does not choose a host, a path or a port."""
    with pytest.raises(UsageFault):
        endpoint_for(region, template)


@pytest.mark.parametrize(
    ("given_as", "used"),
    [
        ("https://kms.example.com", "https://kms.example.com"),
        ("https://kms.example.com/", "https://kms.example.com"),
        ("https://kms.example.com:8443", "https://kms.example.com:8443"),
        ("https://kms.example.com:443/", "https://kms.example.com:443"),
        ("https://kms.{region}.example.com", "https://kms.{region}.example.com"),
        ("https://{region}", "https://{region}"),
        ("https://10.0.0.7:8443", "https://10.0.0.7:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("https://[::1]", "https://[::1]"),
        ("https://localhost:8443", "https://localhost:8443"),
    ],
)
def test_an_endpoint_that_is_usable(given_as: str, used: str) -> None:
    """A name or an address over https, a loopback address over http, and a region in the host."""
    assert check_endpoint(given_as) == used


@pytest.mark.parametrize(
    "given_as",
    [
        "",
        "kms.example.com",
        "//kms.example.com",
        "http://kms.example.com",
        "http://localhost:8080",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "http://2130706433",
        "http://0x7f.1",
        "http://127.1",
        "http://10.0.0.7",
        "http://[::ffff:10.0.0.7]",
        "http://0.0.0.0",
        "ftp://kms.example.com",
        "HTTPS://kms.example.com",
        "https://KMS.example.com",
        "https://",
        "https:///x",
        "https://user@kms.example.com",
        "https://user:password@kms.example.com",
        "https://kms.example.com/path",
        "https://kms.example.com//",
        "https://kms.example.com?x",
        "https://kms.example.com?",
        "https://kms.example.com#",
        "https://kms.example.com#{region}",
        "https://kms.example.com/{region}",
        "https://kms.example.com:",
        "https://kms.example.com:port",
        "https://kms.example.com:99999",
        "https://kms.example.com:{region}",
        "https://{region}@kms.example.com",
        "https://kms.{project}.example.com",
        "https://kms..example.com",
        "https://256.1.1.1",
        "https://1.2.3",
        "https://kms.example.5",
        "https://" + "a." * 130 + "example",
        "https://" + "a" * 70_000,
        "https://-kms.example.com",
        "https://kms.example.com.",
        "https://kms_1.example.com",
        "https://kms.exämple.com",
        "https://kms.example.com\\@evil.example",
        "https://kms.example.com\n",
        " https://kms.example.com",
        "https://kms.exa\tmple.com",
        "https://kms.example.com:\uff18\uff14",
        "https://[::1",
        "https://[::1%25eth0]",
        "https://[fe80::1]",
    ],
)
def test_an_endpoint_that_is_refused(given_as: str) -> None:
    """User info, paths, queries, fragments, plain http to anything but loopback, and whatever needs repairing."""
    with pytest.raises(UsageFault, match="--endpoint"):
        check_endpoint(given_as)


SPELLED = "https:// http:// kms . example com {region} : 443 80 8443 / // ? # @ [ ] ::1 127.0.0.1 256.1.1.1 1."
ODD = "localhost - _ \\ % %25 é a xn--"
parts = st.sampled_from([*SPELLED.split(), *ODD.split(), " ", "\t", "\n"])


@given(st.lists(parts, min_size=1, max_size=9).map("".join))
@example("https://127.0.0.1:80")
@example("http://127.0.0.1:443")
@example("http://[::1]:80")
def test_whatever_is_accepted_is_where_the_request_goes(template: str) -> None:
    """Of any endpoint that is accepted: the host that is signed is connected to, and the path is ours."""
    try:
        base = endpoint_for("cn-north-4", check_endpoint(template))
    except UsageFault:
        return
    url = httpx.URL(base + PATH)
    assert url.netloc.decode() == host_of(base)
    assert (url.userinfo, url.query, url.fragment, url.path) == (b"", b"", "", PATH)
    assert url.scheme == "https" or is_loopback(url.host)


@pytest.mark.parametrize(
    ("base", "host"),
    [
        ("https://kms.example.com", "kms.example.com"),
        ("https://kms.example.com:443", "kms.example.com"),
        ("https://kms.example.com:80", "kms.example.com:80"),
        ("https://kms.example.com:4443", "kms.example.com:4443"),
        ("http://127.0.0.1:80", "127.0.0.1"),
        ("http://127.0.0.1:443", "127.0.0.1:443"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
def test_the_host_header_leaves_out_the_schemes_own_port(base: str, host: str) -> None:
    """As every client does; the signature covers it."""
    assert host_of(base) == host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.0.1", True),
        ("::1", True),
        ("localhost", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104  # nothing listens on it
        ("::", False),
        ("", False),
        ("127.0.0.1.example", False),
    ],
)
def test_loopback_is_an_address_and_not_a_name(host: str, expected: bool) -> None:
    """What a name resolves to is not known before it is too late."""
    assert is_loopback(host) is expected
