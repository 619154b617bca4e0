"""The replay: move dead letters from the hold subscription back to their topic; see docs/adr/051.

Each batch is published, then journalled, then acknowledged. Wherever a replay is killed, a dead letter is published
twice at worst, and the pipeline drops the second message as a duplicate: it has the same event id.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter
from pipeline.dead_letters.held_dead_letter import HeldDeadLetter, parked_because, parked_message, replayed_message
from pipeline.dead_letters.hold_subscription import HoldSubscription
from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.dead_letters.replay_lease import LeaseState, ReplayLease
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.dead_letters.replay_rules import MAX_CAME_BACK_SHARE, too_many_come_back
from schemas.failures import ErrorClass
from schemas.replay import DeadLetterReplay, Disposition, JournalEntry, ReplayedDeadLetter
from transforms.clients.pubsub import MessagePublisher

MAX_BATCH: Final = 500
CHECK_SECONDS: Final = 10.0
"""How often the lease is renewed, and the dead letters that failed again are counted."""

EMPTY_PULL_PAUSE_SECONDS: Final = 0.1


@dataclass
class Memory:
    """What a replay has done; a resumed replay reads it from the journal."""

    done: set[str] = field(default_factory=set)
    """`dead_letter_id` of what was published and journalled: another copy is acknowledged, not published."""

    replayed: dict[tuple[str, str], int] = field(default_factory=dict)
    """(event id, account id) → `replay_count` of the published message."""

    def remember(self, held: HeldDeadLetter, disposition: Disposition) -> None:
        """Add a dead letter that was published and journalled."""
        self.done.add(held.dead_letter_id)
        if disposition is Disposition.REPLAYED:
            self.replayed[held.change] = held.replay_count + 1

    def came_back(self, held: HeldDeadLetter) -> bool:
        """Return whether a dead letter is a change that this replay has published and that failed again."""
        count = self.replayed.get(held.change)
        return count is not None and held.replay_count >= count


@dataclass
class Totals:
    """How many dead letters, so far."""

    replayed: int = 0
    parked: int = 0
    came_back: int = 0
    nacked: int = 0
    already_done: int = 0
    account_missing: int = 0
    """Of class account_not_found, while the mirror lacks the account: they stay on the subscription."""


class Step(StrEnum):
    """What to do with a message that was pulled."""

    PUBLISH = "publish"
    ACKNOWLEDGE = "acknowledge"
    NACK = "nack"


@dataclass(frozen=True)
class Ending:
    """How a replay ended."""

    entry: JournalEntry
    message: str


@dataclass
class Replay:
    """One replay; call `run` once.

    Args:
        start: The first row of its journal: who asked for it, why, and with which limits.
        dead_letter_filter: Which dead letters to replay.
        journalled: `dead_letter_id` of what earlier replays have taken, for a filter that leaves those out.
        missing_accounts: Returns those accounts that the CRM mirror lacks.
        max_batch: How many messages to pull, publish and acknowledge together, at most.
        quiet_seconds: End when no new message has come for so long.
        interrupted: Set it to end the replay after the current batch.
        on_progress: Called with the totals after each batch.
        clock: Seconds, monotonic.
    """

    hold: HoldSubscription
    publisher: MessagePublisher
    journal: ReplayJournal
    lease: ReplayLease
    resources: ReplayResources
    start: DeadLetterReplay
    dead_letter_filter: DeadLetterFilter
    memory: Memory = field(default_factory=Memory)
    totals: Totals = field(default_factory=Totals)
    journalled: AbstractSet[str] = frozenset()
    missing_accounts: Callable[[Collection[str]], AbstractSet[str]] = lambda _account_ids: frozenset()
    max_batch: int = MAX_BATCH
    quiet_seconds: float = 10.0
    interrupted: threading.Event = field(default_factory=threading.Event)
    on_progress: Callable[[Totals], None] = lambda _totals: None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._batch = batch_size(self.start.rate, self.max_batch)
        self._paid_until = self.clock()
        self._seen: set[str] = set()
        self._failed_again: set[tuple[str, str]] = set()
        self._account_missing: set[str] = set()
        self._extended: dict[str, str] = {}  # message id → ack id
        self._next_check = self.clock() + CHECK_SECONDS

    def run(self) -> Ending:
        """Replay until nothing is left, the limit is reached, or the replay is stopped; nack what was not replayed.

        Raises:
            GoogleAPICallError: Pub/Sub did not answer.
            WarehouseUnavailable: BigQuery did not answer.
        """
        try:
            ending = self._until_it_ends()
        finally:
            self.hold.nack(list(self._extended.values()))
        self.journal.write(self.start, ending.entry, came_back=self.totals.came_back, message=ending.message)
        return ending

    def _until_it_ends(self) -> Ending:
        quiet_since = self.clock()
        while True:
            if ending := self._told_to_stop():
                return ending
            room = self._room()
            if room <= 0:
                return Ending(JournalEntry.FINISHED, f"the limit of {self.start.max_letters} dead letters is reached")
            # Wait before pulling: pulled messages are leased, and their ack deadline runs.
            if self.interrupted.wait(self._seconds_until(room)):
                continue
            pulled = self.hold.pull(room)
            # Messages whose ack deadline was extended have been pulled before: they don't count as new.
            is_new = any(held.message_id not in self._extended for held in pulled)
            self._take(pulled)
            self.on_progress(self.totals)
            if is_new:
                quiet_since = self.clock()
            elif self.clock() - quiet_since > self.quiet_seconds:
                self._count_failed_again()
                return Ending(JournalEntry.FINISHED, f"no dead letter is left that matches{self._waiting()}")
            if not pulled:
                self.interrupted.wait(EMPTY_PULL_PAUSE_SECONDS)

    def _told_to_stop(self) -> Ending | None:
        if self.interrupted.is_set():
            return Ending(JournalEntry.STOPPED, "interrupted")
        if self.clock() >= self._next_check:
            self._next_check = self.clock() + CHECK_SECONDS
            state = self.lease.renew()
            if state is not LeaseState.HELD:
                entry = JournalEntry.CANCELLED if state is LeaseState.CANCELLED else JournalEntry.STOPPED
                return Ending(entry, f"the lease is {state}")
            self._count_failed_again()
        replayed, came_back = self.totals.replayed, self.totals.came_back
        if too_many_come_back(replayed, came_back):
            return Ending(
                JournalEntry.STOPPED,
                f"{came_back} of {replayed} replayed dead letters failed again, {came_back / replayed:.0%}: "
                f"their cause still exists (a replay stops above {MAX_CAME_BACK_SHARE:.0%})",
            )
        return None

    def _waiting(self) -> str:
        count = self.totals.account_missing
        return f"; {count} wait until the CRM mirror has their accounts" if count else ""

    def _count_failed_again(self) -> None:
        """Count in the table too: the subscription delivers the oldest first, so the new ones come last."""
        self.totals.came_back = max(len(self._failed_again), self.journal.came_back(self.start))

    def _room(self) -> int:
        """Return how many messages to pull; 0 or less if the limit is reached."""
        taken = self.totals.replayed + self.totals.parked
        return self._batch if self.start.max_letters is None else min(self._batch, self.start.max_letters - taken)

    def _seconds_until(self, count: int) -> float:
        """Return how long to wait before so many dead letters may be published."""
        return max(0.0, self._paid_until + count / self.start.rate - self.clock())

    def _spend(self, count: int) -> None:
        """Charge published dead letters against the rate; after idling, at most two batches may burst."""
        saved = self.clock() - 2 * self._batch / self.start.rate
        self._paid_until = max(self._paid_until, saved) + count / self.start.rate

    def _take(self, pulled: Sequence[HeldDeadLetter]) -> None:
        steps: dict[Step, list[HeldDeadLetter]] = {step: [] for step in Step}
        missing = self._missing(pulled)
        for held in pulled:
            steps[self._step(held, missing)].append(held)
        self._give_back(steps[Step.NACK])
        if already := steps[Step.ACKNOWLEDGE]:
            self.hold.acknowledge([held.ack_id for held in already])
            self.totals.already_done += len(already)
        if due := steps[Step.PUBLISH]:
            self._publish(due)

    def _missing(self, pulled: Sequence[HeldDeadLetter]) -> AbstractSet[str]:
        """Return the accounts that were not found and are still missing: those dead letters would fail again."""
        if self.start.is_forced:
            return frozenset()
        asked = {held.change[1] for held in pulled if needs_account(held)}
        return self.missing_accounts(sorted(asked)) if asked else frozenset()

    def _step(self, held: HeldDeadLetter, missing: AbstractSet[str]) -> Step:
        if held.is_dead_letter and held.dead_letter_id in self.memory.done:
            return Step.ACKNOWLEDGE
        if not self.dead_letter_filter.matches(held, self.journalled):
            return Step.NACK
        if self.memory.came_back(held):
            self._failed_again.add(held.change)
            self.totals.came_back = max(self.totals.came_back, len(self._failed_again))
            return Step.NACK  # once per replay: its cause still exists
        if needs_account(held) and held.change[1] in missing:
            self._account_missing.add(held.dead_letter_id)
            self.totals.account_missing = len(self._account_missing)
            return Step.NACK
        return Step.PUBLISH

    def _give_back(self, messages: Sequence[HeldDeadLetter]) -> None:
        """Nack messages; those that come a second time are kept back, or Pub/Sub would deliver no others."""
        again = [held for held in messages if held.message_id in self._seen]
        first = [held for held in messages if held.message_id not in self._seen]
        self.hold.nack([held.ack_id for held in first])
        self.hold.extend_ack_deadline([held.ack_id for held in again])
        self._extended |= {held.message_id: held.ack_id for held in again}
        self._seen |= {held.message_id for held in first}
        self.totals.nacked += len(first)

    def _publish(self, messages: Sequence[HeldDeadLetter]) -> None:
        """Publish, wait for the message ids, write the journal, acknowledge: in this order only."""
        due = {held.dead_letter_id: held for held in messages}.values()  # a bundle that ran twice wrote it twice
        is_forced = self.start.is_forced
        reasons = {held.dead_letter_id: why for held in due if (why := parked_because(held, is_forced=is_forced))}
        to_replay = [held for held in due if held.dead_letter_id not in reasons]
        to_park = [held for held in due if held.dead_letter_id in reasons]
        replayed_ids = self.publisher.publish(self.resources.topic_path, [replayed_message(it) for it in to_replay])
        parked_ids = self.publisher.publish(
            self.resources.parking_lot_path,
            [parked_message(held, reasons[held.dead_letter_id], self.start.replay_id) for held in to_park],
        )
        self._spend(len(to_replay))
        entries = [
            journal_entry(held, id_, reasons.get(held.dead_letter_id))
            for held, id_ in zip([*to_replay, *to_park], [*replayed_ids, *parked_ids], strict=True)
        ]
        self.journal.write(self.start, JournalEntry.LETTERS, entries, came_back=self.totals.came_back)
        self.hold.acknowledge([held.ack_id for held in messages])
        for held in due:
            is_parked = held.dead_letter_id in reasons
            self.memory.remember(held, Disposition.PARKED if is_parked else Disposition.REPLAYED)
        self._seen |= {held.message_id for held in messages}
        self.totals.replayed += len(to_replay)
        self.totals.parked += len(to_park)


def batch_size(rate: float, most: int = MAX_BATCH) -> int:
    """Return how many messages to pull at once: a second's worth."""
    return max(1, min(most, int(rate)))


def needs_account(held: HeldDeadLetter) -> bool:
    """Return whether a dead letter fails again unless the CRM mirror has its account by now."""
    is_not_found = held.is_dead_letter and held.attributes["error_class"] == ErrorClass.ACCOUNT_NOT_FOUND
    return is_not_found and bool(held.change[1])


def journal_entry(held: HeldDeadLetter, published_id: str, parked: str | None) -> ReplayedDeadLetter:
    """Return the journal's entry of a dead letter that was published.

    Args:
        held: The dead letter.
        published_id: Pub/Sub's id of the message that was published.
        parked: Why it was parked; None if it was replayed.
    """
    event_id, account_id = held.change
    return ReplayedDeadLetter(
        dead_letter_id=held.dead_letter_id,
        event_id=event_id,
        account_id=account_id or None,
        error_class=held.attributes["error_class"],
        replay_count=held.replay_count if parked else held.replay_count + 1,
        letter_message_id=held.message_id,
        published_message_id=published_id,
        fate=Disposition.PARKED if parked else Disposition.REPLAYED,
        parked_because=parked,
    )
