"""What a change costs: the key versions a year that it adds, and the money where a price is given."""

from collections.abc import Sequence

from audit.replay import Replay
from audit.report.facets import Cost
from audit.report.language import Language


def cost(runs: Sequence[Replay], say: Language) -> Cost:  # noqa: ARG001  # not counted yet
    """What the steps of these runs add, made or planned."""
    return Cost(0.0, "", "", ())
