"""The one scrubber: everything from outside passes it before it is stored or shown."""

import re
from collections.abc import Iterable

KEPT = 500
"""Characters of a foreign text that are kept."""

_REDACTED = "[redacted]"
# Quotes and backslashes: a request may be echoed as JSON, or as JSON within JSON.
_TELLTALE = re.compile(
    r"""((?:x-security-token|x-auth-token|authorization)[\\"']*\s*[:=][\s\\"']*|signature[\\"']*\s*=[\s\\"']*)[^\r\n,;]+""",
    re.IGNORECASE,
)
_AUTHORIZATION_MESSAGE = re.compile(
    r"""(encoded_authorization_message[\\"']*\s*[:=]\s*)(\\*"[^"]*"?|\S+)""", re.IGNORECASE
)
# Control characters, and those that reorder or hide text on a screen.
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]")


class Scrubber:
    """Takes known secrets, telltale fields and control characters out of a text.

    ``secrets``: texts that must never appear, with their usual encodings' own spelling (they are plain ASCII).
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def secrets(self, text: str) -> str:
        """The text without known secrets, otherwise unchanged."""
        for secret in self._secrets:
            text = text.replace(secret, _REDACTED)
        return text

    def __call__(self, text: str, limit: int = KEPT) -> str:
        """The text fit to be stored and shown: one line, at most ``limit`` characters."""
        text = _TELLTALE.sub(rf"\1{_REDACTED}", self.secrets(text))
        text = _AUTHORIZATION_MESSAGE.sub(rf"\1{_REDACTED}", text)
        text = _UNSHOWABLE.sub(" ", text)
        return text if len(text) <= limit else text[: limit - 1] + "…"
