"""Whether the records are all keys that there are: what is missing, unlisted, or was not counted."""

from collections.abc import Sequence

from audit.replay import Replay
from audit.report.facets import Completeness
from audit.report.language import Language


def completeness(runs: Sequence[Replay], say: Language) -> Completeness:  # noqa: ARG001  # cannot be required yet
    """What speaks against the records being all keys of their places."""
    return Completeness(required=False, faults=(), words="")
