"""What the operator sees, to the letter."""

import contextlib
import io
import json
from pathlib import Path

from audit.scrub import Scrubber
from audit.terminal import Terminal
from tests.command import Operator

EXAMPLE = Path(__file__).parents[1] / "inventory.example.csv"


def test_the_plan_of_the_example_is_shown_as_before(tmp_path, golden) -> None:
    """Steps, what is left alone, the cost and the digest: the same inventory makes the same plan."""
    shown = Operator(tmp_path).run("plan", EXAMPLE, "--simulate").stderr.splitlines(keepends=True)
    end = next(n for n, line in enumerate(shown) if line.startswith("Digest: "))
    golden("plan.txt", "".join(line.rstrip() + "\n" for line in shown[: end + 1]))


def test_with_json_every_line_is_an_object_without_secrets() -> None:
    """A scheduler reads standard error line by line, whatever a message holds."""
    with contextlib.redirect_stderr(io.StringIO()) as told:
        terminal = Terminal(Scrubber(["TOPSECRET"]), as_json=True)
        terminal.warn("a TOPSECRET\nin two lines")
        terminal.error("ended", "go on")
    lines = [json.loads(line) for line in told.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["warning", "error", "info"]
    assert "TOPSECRET" not in told.getvalue()
