"""One step -> one answer. The intent is on disk before the request is sent, and so is whatever came of it after."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Protocol

from audit.halt import Halt
from audit.ledger import Ledger
from audit.outcome import Attempt, History, Meaning
from audit.plan import Step
from audit.replay import step_event
from audit.retry import Tries
from audit.tables import Event, EventKind

_SETTLED = frozenset({Meaning.DONE, Meaning.ALREADY, Meaning.GONE, Meaning.REFUSED, Meaning.FORBIDDEN})


class Writes(Protocol):
    """What executing needs: one paced and signed request, sent once; never raises for what KMS answers."""

    async def write(self, step: Step) -> Attempt:
        """Send the write request of a step, with the step's sequence."""


class Journal:
    """The ledger and the histories that follow from it, kept in step: what is not on disk is not believed."""

    def __init__(self, ledger: Ledger, steps: Mapping[int, History]) -> None:
        self._ledger, self.steps = ledger, steps

    async def note(self, *events: Event) -> None:
        """Write events, then apply them. Raises LedgerFault: then nothing was applied."""
        await self._ledger.commit(*events)
        for event in events:
            if event.step is not None:
                step_event(self.steps[event.step], event.kind, event.body)


async def execute(step: Step, tries: Tries, writes: Writes, journal: Journal, halt: Halt) -> Attempt | None:
    """Send the request of a step until KMS answers, is silent, or the attempts are used up.

    Returns the last attempt, or None where nothing was sent because something had been stopped before. A silent attempt
    is returned at once: whether it may be sent again is for a read-back to say.
    """
    past = journal.steps[step.number]
    if halt.held(step.place) or (halt.new_steps_ended and not past.intended):
        return None
    await journal.note(Event(EventKind.INTENDED, step.number, {"key_id": step.key_id, "sequence": step.sequence}))
    while True:
        attempt = await writes.write(step)
        if attempt.meaning is Meaning.UNSENT:
            await journal.note(Event(EventKind.WITHDRAWN, step.number))
            return None
        sent = Event(EventKind.SENT, step.number, asdict(attempt))
        if attempt.meaning in _SETTLED:
            await journal.note(sent, Event(EventKind.ANSWERED, step.number, asdict(attempt)))
            return attempt
        await journal.note(sent)
        if attempt.meaning is Meaning.STOPPED:
            return attempt
        wait = tries.wait_after(attempt)
        if wait is None:
            await journal.note(Event(EventKind.ANSWERED, step.number, asdict(attempt)))
            return attempt
        await halt.sleep(wait)
        if attempt.meaning is Meaning.SILENT:
            return attempt
