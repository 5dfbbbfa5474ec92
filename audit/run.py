"""The straight line of a run: load, walk, judge, plan, execute, verify, report."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from audit import assess, plan, undo, versions
from audit.assess import Again, Loaded, load, stored_keys, stored_places, stored_steps
from audit.closing import complete, cover, note_end, report
from audit.cloud import Cloud, Target, simulated_kms
from audit.errors import GuardRefused, Interrupted, LedgerFault, RunDirFault, Stop, UsageFault, no_terminal
from audit.evidence import SUMS, keep
from audit.halt import Halt, Tally
from audit.inventory import Defaults, open_inventory
from audit.ledger import Ledger
from audit.model import Place, Policy
from audit.order import COMPLETED, FINISHED, Finished, Order, Screen, noted, stamp, started
from audit.outcome import Meaning, Outcome, exit_code
from audit.plan import Proposal, Step
from audit.replay import Replay, histories
from audit.report import costs, own, population
from audit.rundir import LEDGER, Lock, Nursery, apart, existing, reading, run_id
from audit.scrub import Scrubber
from audit.signals import Signals, raise_interrupted
from audit.stages import Stages, interruptible
from audit.tables import Event, EventKind, check_version, intervals_before
from audit.verify import unfinished

T = TypeVar("T")


class Run:
    """One process at work on one run directory. ``directory`` is None until there is one that others may see."""

    def __init__(self, order: Order, target: Target, policy: Policy, screen: Screen, scrub: Scrubber) -> None:
        self._order, self._target, self._policy, self._screen, self._scrub = order, target, policy, screen, scrub
        self._halt, self._tally = Halt(), Tally()
        self._signals, self._runner = Signals(), asyncio.Runner()
        self._cloud: Cloud | None = None
        self._standard: Again = partial(assess.again, waivers=order.waivers)
        self._steps: list[Step] = []
        self._places: set[Place] = set()
        self._columns: tuple[str, ...] = ()
        self._hosts: tuple[str, ...] = ()
        self._usable, self._digest, self._access_key, self._closed = 0, "", "", False
        self.directory: Path | None = None

    # A new run: check, plan, remediate, rollback

    def new(self, source: str, defaults: Defaults, output_dir: Path) -> Finished:
        """Read an inventory, judge it, plan, and - where the order says so - carry the plan out.

        Until the plan is complete nothing is left behind when this fails: it raises Stop. After that it returns.
        """
        with self._signals, self._runner:
            return self._begin(output_dir, lambda: self._read(source, defaults))

    def undo(self, directory: Path, output_dir: Path) -> Finished:
        """Undo what a run changed, in a run of its own; the other is only read. Otherwise as ``new``."""
        apart(output_dir, existing(directory))
        with self._signals, self._runner, reading(directory), Replay(directory) as past:
            head = undo.check(past)
            self._take_over(past)
            return self._begin(output_dir, lambda: undo.load(past, head, self._ledger))

    def _begin(self, output_dir: Path, read: Callable[[], Loaded]) -> Finished:
        name = run_id(datetime.now(UTC), secrets.token_hex(3), simulated=self._target.simulated)
        nursery = Nursery(output_dir, name)
        try:
            with Ledger(nursery.path / LEDGER, stamp, self._scrub, create=True) as self._ledger:
                self._prepare(name, read())
            self._signals.act = self._halt.interrupt  # from here on every ending writes reports
            self.directory = nursery.publish()
            self._ledger.reopen(self.directory / LEDGER)
            return self._end(self._proceed)
        finally:
            self._disconnect()
            nursery.discard()

    def _read(self, source: str, defaults: Defaults) -> Loaded:
        order = self._order
        with open_inventory(source, defaults, live=order.live) as inventory:
            self._tally.begin("reading the inventory", 0)
            self._signals.act = self._halt.interrupt
            with self._screen.watch(self._tally):
                return load(inventory, self._ledger, self._policy, self._halt, live=order.live, waivers=order.waivers)

    def _prepare(self, name: str, loaded: Loaded) -> None:
        order, ledger = self._order, self._ledger
        self._columns, self._usable = loaded.columns, loaded.usable
        for warning in loaded.input["warnings"]:
            self._screen.warn(warning)
        if order.live:
            stages = self._connect(set(loaded.wanted))
            self._started()
            steps = self._async(stages.survey(loaded, stamp()))
            if self._halt.sending_ended:
                raise self._halt.ending or Interrupted("interrupted")
            if order.command != "check":
                self._steps, self._digest = steps, self._digest_on(steps, self._hosts)
                ledger.add_steps(steps)
        else:
            self._started()
        ledger.describe(**noted(name, order, self._target, self._policy, loaded, self._hosts, self._access_key))
        ledger.append(Event(EventKind.PLANNED, None, {"digest": self._digest, "seal": ledger.seal()}))

    def _proceed(self) -> Stop | None:
        self._signals.act = raise_interrupted
        if self._halt.ending or self._order.command == "check":
            return self._halt.ending
        proposal = self._proposal(self._steps)
        self._screen.propose(proposal)
        if refusal := self._guarded(proposal):
            return refusal
        return None if self._order.only_plan or not self._steps else self._carry_out(proposal)

    # An existing run: apply

    def resume(self, directory: Path) -> Finished:
        """Take the steps of a planned or interrupted run that are not finished. Raises Stop before it has begun."""
        lock = Lock(existing(directory))
        try:
            with self._signals, self._runner:
                with Replay(directory) as past:
                    self._recall(past)
                    left = unfinished(past.steps)
                    if not left and past.course.last_kind is EventKind.ENDED:
                        return self._left_alone(past)
                    check_version(past.db, directory / LEDGER, exact=True)
                if not (self._order.yes or self._order.approve or self._screen.can_ask()):
                    raise no_terminal()
                self._target.check()
                keep(directory)
                try:
                    self._ledger = Ledger(directory / LEDGER, stamp, self._scrub)
                except LedgerFault:
                    cover(directory)
                    raise
                self.directory = directory
                return self._end(self._go_on)
        finally:
            self._disconnect()
            lock.release()

    def _left_alone(self, past: Replay) -> Finished:
        """Nothing to apply. A run that was killed at its reports, or has lost its sums, gets them now."""
        told, given_up = own.build(past), 4 if past.course.places else 0
        code = exit_code(told.counts, given_up, population.exit_code(told.completeness))
        if (past.directory / SUMS).exists():
            return Finished(past.directory, code, next_step=FINISHED)
        keep(past.directory)
        if faults := complete(past, own.formats(past) or self._order.formats, self._order.sign_key):
            why = "; ".join(map(str, faults))
            return Finished(past.directory, exit_code({}, code, faults[0].exit_code), why, faults[0].next_step)
        return Finished(past.directory, code, next_step=COMPLETED)

    def _recall(self, past: Replay) -> None:
        about = past.about
        if not past.course.seal:
            raise RunDirFault(f"{past.directory} has no complete plan: its run ended before", "begin a new run")
        if about["command"] == "check":
            raise RunDirFault(
                f"{past.directory} is a check: it has no plan to apply", "kms-rotation plan INVENTORY makes one"
            )
        self._take_over(past)
        self._columns, self._usable = past.columns, about["usable"]
        guards = {name: about.get(name) for name in ("max_changes", "max_new_versions")}
        self._order = self._order.filled(**guards, version_price=costs.price_given([past]))
        self._order = replace(self._order, waivers=past.waivers)
        self._steps, self._places = stored_steps(past), stored_places(past)
        self._digest = self._digest_on(self._steps, about["hosts"])
        if self._digest != past.course.digest:
            raise GuardRefused(
                f"{past.directory}: its plan is not the one that was recorded (digest {past.course.digest})",
                "nothing was sent",
            )
        if fault := past.proof().fault:
            raise LedgerFault(f"{past.directory / LEDGER} is not what was written: {fault}", "nothing was sent")
        self._check_approval()
        if overtaken := past.waivers.overtaken(stamp()[:10]):
            self._screen.warn(overtaken)

    def _take_over(self, past: Replay) -> None:
        """Work under the policy of an earlier run, where it worked, and judge its steps by their own standard."""
        about = past.about
        if self._target.simulated and not about["simulated"]:
            raise UsageFault(f"{past.directory} is not a simulated run: --simulate does not go with it")
        if about["simulated"]:
            self._target = replace(self._target, simulated=True, endpoint=None)
        elif self._target.endpoint is None:
            self._target = replace(self._target, endpoint=about["endpoint"])
        self._policy = Policy(**about["policy"])
        if "rollback" in {about["command"], self._order.command}:
            self._standard = undo.again
        else:
            self._standard = partial(assess.again, waivers=past.waivers)

    def _check_approval(self) -> None:
        """What was reviewed names the hosts that are written to: an endpoint given anew is another plan."""
        here = self._target.hosts({place.region for place in self._places})
        digest, given = self._digest_on(self._steps, here), self._order.approve.lower()
        if given and (len(given) < plan.SHORTEST_DIGEST or not digest.startswith(given)):
            raise GuardRefused(
                f"--approve {given} is not this plan on {', '.join(here)}: its digest is {digest}",
                f"nothing was sent; give at least {plan.SHORTEST_DIGEST} characters of the digest that was reviewed",
            )

    def _digest_on(self, steps: Sequence[Step], hosts: Sequence[str]) -> str:
        return plan.digest(steps, self._policy, self._target.written_to(tuple(hosts)), self._order.waivers.entries)

    def _go_on(self) -> Stop | None:
        stages = self._connect(self._places)
        self._started()
        left = self._async(stages.again(self._steps, stamp()))
        if self._halt.ending:
            return self._halt.ending
        proposal = self._proposal(left)
        self._screen.propose(proposal)
        if refusal := self._guarded(proposal):
            return refusal
        return self._carry_out(proposal) if left else None

    # Both

    def _guarded(self, proposal: Proposal) -> GuardRefused | None:
        try:
            plan.guard(proposal.keys, self._usable, self._order.max_changes)
            versions.guard(proposal.new_versions, self._order.max_new_versions)
        except GuardRefused as refusal:
            self._ledger.append(Event(EventKind.GUARDED, None, {"why": str(refusal)}))
            return refusal
        return None

    def _carry_out(self, proposal: Proposal) -> Stop | None:
        if not (self._order.yes or self._order.approve) and not self._screen.ask(proposal):
            self._ledger.append(Event(EventKind.DECLINED))
            return None
        how = "digest" if self._order.approve else "--yes" if self._order.yes else "question"
        self._ledger.append(Event(EventKind.APPROVED, None, {"how": how, "digest": self._digest}))
        steps = proposal.steps
        if self._stages.stale:
            steps = self._async(self._stages.again(steps, stamp()))
        if not self._halt.ending:
            self._async(self._stages.perform(steps, self._order.max_failures, stamp))
        return self._halt.ending

    def _proposal(self, steps: Sequence[Step]) -> Proposal:
        counts = {Outcome(outcome): count for outcome, count in self._ledger.outcomes()}
        seconds, wanted = len(steps) / self._target.limits.rate, {step.number for step in steps}
        added = versions.added(self._steps, intervals_before(self._ledger.db))
        new = sum((more for step, more in added if step.number in wanted), Fraction(0))
        simulated, price = self._target.simulated, self._order.version_price
        return Proposal(self._digest, self._hosts, steps, counts, seconds, simulated, new, price)

    def _end(self, go_on: Callable[[], Stop | None]) -> Finished:
        try:
            stop = go_on()
        except Stop as caught:
            stop = caught
        return self.finish(stop)

    def finish(self, stop: Stop | None) -> Finished:
        """Write down why the run ends, close the ledger and write the reports: every ending of a published run does."""
        if self.directory is None:
            raise stop or RunDirFault("the run ended before it had a directory")
        if self._closed and stop:  # it was the reports that failed
            cover(self.directory)
            return Finished(self.directory, stop.exit_code, str(stop), stop.next_step)
        self._signals.act = lambda _: None  # the reports are on their way; a second signal still ends at once
        self._disconnect()
        stop = note_end(self._ledger, self._halt, stop)
        self._closed = True
        return report(self.directory, stop, self._halt, self._order, self._digest, self._screen)

    # Parts

    def _connect(self, places: set[Place]) -> Stages:
        self._hosts = self._target.hosts({place.region for place in places})
        self._access_key = "" if self._target.simulated else self._target.credentials.shown
        core = None
        if self._target.simulated:
            past, accepted = histories(self._ledger.db), {Meaning.DONE, Meaning.ALREADY}
            answers = ((step, past[step.number].answer) for step in self._steps)
            changed = [step for step, answer in answers if answer and answer.meaning in accepted]
            core = simulated_kms(stored_keys(self._ledger, self._columns), changed)
            self._policy = replace(self._policy, own_domain=core.own_domain)
        self._cloud = Cloud(self._target, self._halt, self._tally, self._scrub, core)
        self._stages = Stages(
            self._cloud.kms,
            self._ledger,
            self._halt,
            self._tally,
            again=self._standard,
            policy=self._policy,
            columns=self._columns,
            limits=self._target.limits,
        )
        return self._stages

    def _disconnect(self) -> None:
        if self._cloud is not None:
            cloud, self._cloud = self._cloud, None
            self._runner.run(cloud.close())

    def _started(self) -> None:
        body = started(self._order, self._access_key, self._hosts)
        self._ledger.append(Event(EventKind.STARTED, None, body))

    def _async(self, work: Coroutine[Any, Any, T]) -> T:
        """Do asynchronous work until it is done or a signal ends it."""
        with self._screen.watch(self._tally):
            return self._runner.run(interruptible(work, self._ledger, self._halt, self._signals, self._target.limits))
