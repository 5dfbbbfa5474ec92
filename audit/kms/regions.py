"""Where KMS answers: region -> endpoint, and what an endpoint may look like.

A region and an endpoint decide to which host signed requests go, so both are matched against a pattern in full and
never repaired.
"""

import ipaddress
import re
from urllib.parse import urlsplit

from audit.errors import UsageFault
from audit.model import REGION

_HUAWEI = """
cn-north-1 cn-north-2 cn-north-4 cn-north-9 cn-north-11 cn-north-12 cn-east-2 cn-east-3 cn-east-4 cn-east-5
cn-south-1 cn-south-2 cn-south-4 cn-southwest-2 cn-southwest-3 af-south-1 af-north-1 ap-southeast-1 ap-southeast-2
ap-southeast-3 ap-southeast-4 ap-southeast-5 la-south-2 la-north-2 sa-brazil-1 na-mexico-1 tr-west-1 ae-ad-1
me-east-1 my-kualalumpur-1 ru-moscow-1
"""

ENDPOINTS: dict[str, str] = {
    **{region: f"https://kms.{region}.myhuaweicloud.com" for region in _HUAWEI.split()},
    "eu-west-101": "https://kms.eu-west-101.myhuaweicloud.eu",
    "eu-de": "https://kms.eu-de.otc.t-systems.com",
    "eu-nl": "https://kms.eu-nl.otc.t-systems.com",
}
"""Region -> base URL, from the vendor's SDK (``kms_region.py``) and Open Telekom Cloud's list of endpoints."""

_LONGEST_PART, _LONGEST_NAME = 63, 253  # characters of one part of a host name, and of the whole
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)


def is_loopback(host: str) -> bool:
    """Whether the host is 127.0.0.0/8 or ::1, written as an address (``localhost`` is a name, and not enough)."""
    try:
        return "%" not in host and ipaddress.ip_address(host).is_loopback  # %: the zone of an IPv6 address
    except ValueError:
        return False


def check_endpoint(template: str) -> str:
    """The endpoint given with ``--endpoint``, without a trailing slash; it may contain ``{region}``.

    Raises UsageFault unless it is https without user info, path, query or fragment (http to loopback only).
    """
    try:
        parts = urlsplit(template.replace("{region}", "region-0"))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    plain = parts.scheme == "http" and is_loopback(host)
    authority = f"[{host}]" if ":" in host else host
    rebuilt = f"{parts.scheme}://{authority}" + (f":{port}" if port is not None else "")
    if not (
        (_is_name(host) or is_loopback(host))
        and (parts.scheme == "https" or plain)
        and template.replace("{region}", "region-0") in {rebuilt, rebuilt + "/"}
    ):
        raise UsageFault(
            f"--endpoint {template!r} is not usable: it must be https://HOST[:PORT] without user, path, query or "
            "fragment (http only to 127.0.0.0/8 and [::1]); {region} may stand in the host"
        )
    return template.rstrip("/")


def _is_name(host: str) -> bool:
    """Whether the host is a DNS name or an IPv4 address; what ends in a number is nothing but an address."""
    if len(host) > _LONGEST_NAME or not _HOST.fullmatch(host):
        return False
    try:
        return not host.rpartition(".")[2].isdigit() or bool(ipaddress.IPv4Address(host))
    except ValueError:
        return False


def endpoint_for(region: str, template: str | None) -> str:
    """The base URL for a region, from the endpoint template if there is one, else from the table.

    Raises UsageFault for a region outside the table without a template.
    """
    if not REGION.fullmatch(region) or len(region) > _LONGEST_PART:
        raise UsageFault(f"region {region!r} is not a region name such as cn-north-4")
    if template is not None:
        return template.replace("{region}", region)
    if region not in ENDPOINTS:
        raise UsageFault(
            f"no endpoint is known for region {region}",
            f"give it: --endpoint https://kms.{region}.example.com",
        )
    return ENDPOINTS[region]


def host_of(url: str) -> str:
    """The host (and port, unless it is the scheme's own) of a base URL: what goes into the Host header."""
    parts = urlsplit(url)
    return parts.netloc.removesuffix(":443" if parts.scheme == "https" else ":80")
