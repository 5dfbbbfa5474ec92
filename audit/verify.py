"""From answers to what is known: silence is settled and every accepted change is confirmed by reading the key back."""

from collections.abc import Collection, Mapping
from dataclasses import asdict

from audit.execute import Journal, Writes, execute
from audit.halt import Halt, Tally, crew
from audit.outcome import INTERVALS, Action, Attempt, History, Meaning, ReadBack, shows
from audit.plan import Step
from audit.retry import Tries
from audit.tables import Event, EventKind
from audit.walk import Reads, Walk

POLLS, POLL_SECONDS = 5, 1.0
"""How often, and how far apart, a key is read that does not show its change yet; so do the vendor's own tools."""
FORBIDDEN_IN_A_ROW = 3
"""Refusals for want of permission after which no new step is begun."""


def unfinished(steps: Mapping[int, History]) -> frozenset[int]:
    """The numbers of the steps for which `apply` still has something to do: to send, to settle or to confirm them.

    A second step of which nothing was sent is over when the first is, unless that shows what it was for.
    """
    first = {past.record: past for past in steps.values() if past.action is Action.ENABLE and past.superseded is None}
    done = {record for record, past in first.items() if not _open(past) and not past.satisfied}
    over = {
        n for n, past in steps.items() if past.action is not Action.ENABLE and not past.intended and past.record in done
    }
    return frozenset(n for n, past in steps.items() if _open(past)) - over


def _open(step: History) -> bool:
    if step.superseded is not None or step.satisfied:
        return False
    if step.answer is None:
        return True
    if step.answer.meaning in {Meaning.GONE, Meaning.REFUSED, Meaning.FORBIDDEN}:
        return step.answer.meaning is not Meaning.GONE and step.reached and step.satisfied is None
    return step.answer.meaning in {Meaning.DONE, Meaning.ALREADY} or step.satisfied is None


class Crew:
    """Carries out steps and confirms them. ``width``: steps at a time. ``attempts``: per request.

    ``max_failures``: refused steps in a row after which no new step is begun.
    """

    def __init__(
        self,
        writes: Writes,
        reads: Reads,
        journal: Journal,
        halt: Halt,
        tally: Tally,
        *,
        width: int,
        attempts: int,
        max_failures: int,
    ) -> None:
        self._writes, self._reads, self._journal, self._halt, self._tally = writes, reads, journal, halt, tally
        self._width, self._attempts, self._max_failures = width, attempts, max_failures
        self._refused = self._forbidden = 0

    async def carry_out(self, steps: Collection[Step]) -> None:
        """Send what is not answered yet, in the order of the plan."""
        self._tally.begin("writing", len(steps))
        await crew(steps, self._one, self._width)

    async def _one(self, step: Step) -> None:
        past = self._journal.steps[step.number]
        tries = Tries(self._attempts)
        if past.answer is not None:  # an earlier process counted it
            self._tally.done += 1
            return
        if past.intended and not await self._may_send(step):
            return  # an earlier process sent it: the key is read first
        while past.answer is None:
            attempt = await execute(step, tries, self._writes, self._journal, self._halt)
            if attempt is None or attempt.meaning is Meaning.STOPPED:
                return
            if attempt.meaning is Meaning.SILENT and not await self._may_send(step):
                break
        self._count(past.answer)

    async def _may_send(self, step: Step) -> bool:
        """Whether a read-back shows that a request without an answer was not applied."""
        if self._halt.sending_ended:
            return False
        return await self._look(step) is False

    async def _look(self, step: Step) -> bool | None:
        if step.action in INTERVALS:
            back = await self._reads.rotation(step.place, step.key_id)
        else:
            back = await self._reads.describe(step.place, step.key_id)
        await self._journal.note(_read_back(step, back))
        return self._journal.steps[step.number].satisfied

    def _count(self, answer: Attempt | None) -> None:
        self._tally.done += 1
        if answer is None:
            return
        if answer.meaning in {Meaning.DONE, Meaning.ALREADY}:
            self._refused = self._forbidden = 0
            return
        self._tally.failed += 1
        if answer.meaning is Meaning.GONE:
            return
        self._refused += 1
        self._forbidden = self._forbidden + 1 if answer.meaning is Meaning.FORBIDDEN else 0
        if self._refused >= self._max_failures:
            self._halt.end_steps(
                f"{self._refused} keys in a row were refused (--max-failures), the last with {answer.words}"
            )
        elif self._forbidden >= FORBIDDEN_IN_A_ROW:
            self._halt.end_steps(
                f"{self._forbidden} keys in a row were refused for want of permission, the last with {answer.words}",
                "the README lists the permissions that writing needs",
            )

    async def confirm(self, steps: Collection[Step], walk: Walk | None) -> None:
        """Read back every step that KMS accepted or that has no clear answer, until it shows or the polls are used up.

        ``walk``: a walk made after the writes, which answers for most keys at once; None where it cannot (intervals).
        """
        waiting = [step for step in steps if self._to_confirm(self._journal.steps[step.number])]
        self._tally.begin("verifying", len(waiting))
        if walk is not None:
            shown = [(step, facts) for step in waiting if (facts := walk.facts(step.place, step.key_id)) is not None]
            events = [
                _read_back(step, ReadBack(walk.at, facts))
                for step, facts in shown
                if shows(step.action, step.interval, facts)
            ]
            if events:
                await self._journal.note(*events)
            waiting = [step for step in waiting if not self._journal.steps[step.number].satisfied]
            self._tally.done = self._tally.total - len(waiting)
        await crew(waiting, self._poll, self._width)

    async def _poll(self, step: Step) -> None:
        for poll in range(POLLS):
            if poll:
                await self._halt.sleep(POLL_SECONDS)
            if self._halt.held(step.place) or await self._look(step):
                break
        self._tally.done += 1

    def _to_confirm(self, past: History) -> bool:
        if past.superseded is not None or past.satisfied:
            return False
        if past.answer is None:
            return past.intended and not (past.attempts and past.attempts[-1].meaning is Meaning.STOPPED)
        if past.answer.meaning in {Meaning.REFUSED, Meaning.FORBIDDEN}:
            return past.reached and past.satisfied is None  # an earlier attempt may have been applied
        return past.answer.meaning is not Meaning.GONE


def _read_back(step: Step, back: ReadBack) -> Event:
    facts = back.facts.stated() if back.facts is not None else None
    return Event(EventKind.READ_BACK, step.number, {**asdict(back), "facts": facts})
