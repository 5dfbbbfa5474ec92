"""The access key we call with, from the environment variables of the vendor's SDK."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from audit.errors import CredentialsMissing, UsageFault

AK, SK = "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK"
TOKEN = "HUAWEICLOUD_SDK_SECURITY_TOKEN"  # noqa: S105  # the name of a variable
PROJECT_ID, DOMAIN_ID = "HUAWEICLOUD_SDK_PROJECT_ID", "HUAWEICLOUD_SDK_DOMAIN_ID"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key. Neither ``repr`` nor a traceback shows a secret."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    security_token: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The access key as it may be shown: its last four characters."""
        return "..." + self.access_key[-4:]

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must never be stored or shown."""
        return tuple(text for text in (self.access_key, self.secret_key, self.security_token) if text)


def from_environment(environ: Mapping[str, str]) -> Credentials:
    """The credentials of ``HUAWEICLOUD_SDK_AK``, ``_SK`` and, for temporary keys, ``_SECURITY_TOKEN``.

    Raises CredentialsMissing naming what was looked for, UsageFault for a value that cannot stand in a header.
    """
    found = {name: environ.get(name, "").strip() for name in (AK, SK, TOKEN)}
    missing = [name for name in (AK, SK) if not found[name]]
    if missing:
        raise CredentialsMissing(
            f"no credentials: {' and '.join(missing)} not set (looked for {AK}, {SK}, and {TOKEN} for temporary keys)",
            "set them in the environment, or rehearse with --simulate",
        )
    for name, value in found.items():
        if not (value.isascii() and value.isprintable()) or " " in value:
            raise UsageFault(f"{name} holds a character that no access key has (blank, control or non-ASCII)")
    return Credentials(found[AK], found[SK], found[TOKEN])


def secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What the environment holds that must never be stored or shown, whether or not it is used."""
    named = tuple(value for name in (AK, SK, TOKEN) if (value := environ.get(name, "").strip()))
    user, _, password = environ.get("HTTPS_PROXY", "").rpartition("@")[0].rpartition("/")[2].partition(":")
    if not password:
        return named
    sent = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return (*named, password, unquote(password), sent)
