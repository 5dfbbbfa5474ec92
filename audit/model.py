"""What a key is, where it lives, and what is known of it.

A fact is text in the API's own terms, brought into one canonical form, because both the inventory and KMS state
facts as text (KeyDetails returns every scalar as a string; API reference, ListKeyDetail). The empty text means
"not stated". A text outside the known values is kept as it is: the rules see that it is not known, and the report
can say what it was.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple, Self

KEY_ID = re.compile(r"[0-9a-z]{8}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{12}", re.ASCII)
"""The documented pattern of a key id (EnableKeyRotation); match it in full."""
REGION = re.compile(r"(?!.{64})[a-z]{2,}(-[a-z0-9]+)+", re.ASCII)
"""A region becomes a label of a host name, at most 63 characters: match in full, refuse anything else."""
PROJECT_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
"""A project id becomes part of a path: match in full, refuse anything else."""

MIN_INTERVAL, MAX_INTERVAL = 30, 365
"""Days; the bounds of ``rotation_interval`` in UpdateKeyRotationInterval."""
DEFAULT_INTERVAL = 365
"""Days; what enable-key-rotation sets, always."""


class KeyState(StrEnum):
    """``key_state`` (KeyDetails; frozen only in the vendor's SDK, ``KeyStatusInfo``)."""

    PENDING_ACTIVATION = "1"
    ENABLED = "2"
    DISABLED = "3"
    PENDING_DELETION = "4"
    PENDING_IMPORT = "5"
    FROZEN = "7"


class KeyKind(Enum):
    """What kind of cryptography a ``key_spec`` stands for."""

    SYMMETRIC = "symmetric"
    ASYMMETRIC = "asymmetric"
    HMAC = "HMAC"
    UNKNOWN = "unknown"


def kind_of(key_spec: str) -> KeyKind:
    """The kind of a canonical (upper case) ``key_spec``; new RSA, EC and HMAC sizes are recognised by prefix."""
    if key_spec in {"AES_256", "SM4"}:
        return KeyKind.SYMMETRIC
    if key_spec.startswith("HMAC_"):
        return KeyKind.HMAC
    if key_spec.startswith(("RSA_", "EC_")) or key_spec in {"SECP256K1", "SM2", "ED25519"}:
        return KeyKind.ASYMMETRIC
    return KeyKind.UNKNOWN


_remembered = functools.lru_cache(maxsize=1024)  # few values, many keys


@_remembered
def _lower(text: str) -> str:
    return text.lower() if text.isascii() else text  # a Kelvin sign is no k: what looks alike stays unknown


@_remembered
def _upper(text: str) -> str:
    return text.upper() if text.isascii() else text


@_remembered
def _days(text: str) -> str:
    return str(int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else text


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where keys live and as whom we call: account, region, project. The account may be empty."""

    account: str
    region: str
    project_id: str

    def __str__(self) -> str:
        """``account/region/project``, the account left out where none is named."""
        return "/".join(part for part in (self.account, self.region, self.project_id) if part)


_FLAG = {"1": "1", "true": "1", "0": "0", "false": "0"}
_SWITCH = {"1": "true", "true": "true", "0": "false", "false": "false"}


class Facts(NamedTuple):
    """What is stated of a key, by the inventory or by KMS. Empty text: not stated.

    Canonical forms: ``key_spec``, ``key_usage`` and ``multi_region_key_type`` in upper case, ``origin`` in lower case,
    ``default_key_flag`` ``1`` or ``0``, ``key_rotation_enabled`` ``true`` or ``false``, ``rotation_interval`` in days
    without leading zeros. Anything else is kept as stated.
    """

    key_alias: str = ""
    domain_id: str = ""
    key_spec: str = ""
    key_state: str = ""
    default_key_flag: str = ""
    origin: str = ""
    keystore_id: str = ""
    multi_region_key_type: str = ""
    key_rotation_enabled: str = ""
    rotation_interval: str = ""
    key_usage: str = ""

    @classmethod
    def of(cls, stated: Mapping[str, str]) -> Self:
        """Facts from texts by API field name; other names are ignored."""
        get = stated.get
        flag = _lower(get("default_key_flag", ""))
        switch = _lower(get("key_rotation_enabled", ""))
        return cls(
            get("key_alias", ""),
            get("domain_id", ""),
            _upper(get("key_spec", "")),
            get("key_state", ""),
            _FLAG.get(flag, flag),
            _lower(get("origin", "")),
            get("keystore_id", ""),
            _upper(get("multi_region_key_type", "")),
            _SWITCH.get(switch, switch),
            _days(get("rotation_interval", "")),
            _upper(get("key_usage", "")),
        )

    def stated(self) -> dict[str, str]:
        """The stated facts only, by field name; ``Facts.of`` reads it back."""
        return {name: text for name, text in zip(FACT_NAMES, self, strict=True) if text}

    def over(self, older: Self) -> Self:
        """These facts, and where they state nothing, the older ones."""
        return type(self)(*(mine or theirs for mine, theirs in zip(self, older, strict=True)))

    @property
    def rotates(self) -> bool | None:
        """Whether rotation is on; None where that is not stated or not understood."""
        return {"true": True, "false": False}.get(self.key_rotation_enabled)

    @property
    def interval(self) -> int | None:
        """The rotation interval in days; None where it is not stated or is no number above zero."""
        text = self.rotation_interval
        return int(text) or None if text.isascii() and text.isdigit() else None


FACT_NAMES: tuple[str, ...] = Facts._fields


def drift(stated: Facts, live: Facts) -> dict[str, tuple[str, str]]:
    """Fields that both state and on which they disagree: name -> (inventory, KMS)."""
    pairs = zip(FACT_NAMES, stated, live, strict=True)
    return {name: (old, new) for name, old, new in pairs if old and new and old != new}


@dataclass(frozen=True, slots=True)
class Key:
    """A usable record of the inventory: one key in one place.

    ``line`` is the physical line on which the record begins (the header is 1), ``cells`` its values in the order of
    the header, ``note`` what was changed while reading it.
    """

    line: int
    place: Place
    key_id: str
    facts: Facts
    cells: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record of the inventory that cannot be used, with the column at fault (empty: the whole record) and why."""

    line: int
    column: str
    why: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the run asks of a key.

    ``max_interval``: most days between two rotations. ``interval``: days to set, None to leave KMS's default.
    ``own_domain``: our account id, empty where it is not known (rule E06 is then not judged).
    """

    max_interval: int = MAX_INTERVAL
    interval: int | None = None
    own_domain: str = ""
