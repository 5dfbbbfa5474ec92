"""A run's own reports: a function of its ledger and of the version that renders them, and of nothing else."""

from audit import __version__
from audit.replay import Replay
from audit.report import view
from audit.report.language import ENGLISH, Language, language
from audit.report.shapes import View


def build(replay: Replay, say: Language = ENGLISH) -> View:
    """The view of a run's own reports, as of its last event."""
    return view.build([replay], report_id=replay.about["id"], version=__version__, now=replay.course.last_at, say=say)


def page(replay: Replay, told: View) -> View:
    """The view of the page: ``told``, in the language that the last process of the run was told to write."""
    say = language(str(_told(replay).get("lang") or ENGLISH.code))
    return told if say is ENGLISH else build(replay, say)


def formats(replay: Replay) -> frozenset[str] | None:
    """The formats that the last process of a run was told to write; None where that is not on record."""
    told = _told(replay).get("formats")
    return frozenset(map(str, told)) if isinstance(told, list) else None


def version(replay: Replay) -> str:
    """The version of the program that wrote the reports; empty where that is not on record."""
    return str(replay.course.started[-1].get("version", "")) if replay.course.started else ""


def signed(replay: Replay) -> bool:
    """Whether the last process was told to sign the sums."""
    return bool(_told(replay).get("sign_key"))


def _told(replay: Replay) -> dict[str, object]:
    arguments = replay.course.started[-1].get("arguments") if replay.course.started else None
    return arguments if isinstance(arguments, dict) else {}
