"""The AK/SK signature ``SDK-HMAC-SHA256`` (API signing guide; the vendor's SDK, ``signer/signer.py``)."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote, unquote

_ALGORITHM = "SDK-HMAC-SHA256"


def sdk_date(now: datetime) -> str:
    """``X-Sdk-Date`` for a UTC time; KMS accepts 15 minutes to either side of its own clock."""
    return now.strftime("%Y%m%dT%H%M%SZ")


def authorization(
    access_key: str,
    secret_key: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    query: Sequence[tuple[str, str]] = (),
) -> str:
    """The value of ``Authorization`` for a request.

    ``headers``: exactly those to be signed, ``Host`` and ``X-Sdk-Date`` among them; they must reach the wire
    unchanged. ``body``: the bytes as sent. ``path``: as sent, percent-encoded or not.
    """
    lowered = {name.lower(): value.strip() for name, value in headers.items()}
    names = sorted(lowered)
    signed = ";".join(names)
    segments = quote(unquote(path), safe="/~")
    canonical = "\n".join(
        (
            method.upper(),
            segments if segments.endswith("/") else segments + "/",
            "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query)),
            "".join(f"{name}:{lowered[name]}\n" for name in names),
            signed,
            hashlib.sha256(body).hexdigest(),
        )
    )
    to_sign = f"{_ALGORITHM}\n{lowered['x-sdk-date']}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(secret_key.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    return f"{_ALGORITHM} Access={access_key}, SignedHeaders={signed}, Signature={signature}"
