"""The replay: letters off the hold subscription and onto their topic again; see docs/adr/051.

For each batch: publish, wait for the ids, write the journal's row, acknowledge. Wherever that is cut off, a letter is
published twice at worst, and the second one falls away as a duplicate: its identity is the first one's.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

from pipeline.dead_letters.held_letter import HeldLetter, parked_message, replayed_message
from pipeline.dead_letters.letter_filter import LetterFilter
from pipeline.dead_letters.replay_lease import LeaseState
from pipeline.dead_letters.rules import NO_ROOM, parked_because, too_many_come_back
from pipeline.dead_letters.token_bucket import TokenBucket
from schemas.replay import DeadLetterReplay, JournalEntry, LetterFate, ReplayedLetter
from transforms.clients.pubsub import Message

MAX_BATCH: Final = 500
CHECK_SECONDS: Final = 10.0
"""How often the lease is renewed, and looked up how many letters came back."""

EMPTY_PULL_PAUSE_SECONDS: Final = 0.1


class Hold(Protocol):
    """What a replay needs of the hold subscription."""

    def pull(self, max_letters: int) -> list[HeldLetter]:
        """Return some letters, or none."""

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Let letters go for good."""

    def hand_back(self, ack_ids: Sequence[str]) -> None:
        """Give letters back at once."""

    def set_aside(self, ack_ids: Sequence[str]) -> None:
        """Keep letters out of the way."""


class Publisher(Protocol):
    """What a replay needs of Pub/Sub."""

    def publish(self, topic: str, messages: Sequence[Message]) -> list[str]:
        """Publish messages and return their ids."""


class Journal(Protocol):
    """What a replay needs of its journal."""

    def write(
        self,
        start: DeadLetterReplay,
        entry: JournalEntry,
        letters: Sequence[ReplayedLetter] = (),
        *,
        came_back: int | None = None,
        message: str | None = None,
    ) -> None:
        """Write a row."""

    def came_back(self, start: DeadLetterReplay, /) -> int:
        """Return how many letters have failed again."""


class Lease(Protocol):
    """What a replay needs of its lease."""

    def renew(self) -> LeaseState:
        """Prolong it."""


@dataclass(frozen=True)
class Topics:
    """Where letters go: `projects/P/topics/NAME` each."""

    changes: str
    parking_lot: str


@dataclass
class Memory:
    """What a replay knows of what it did; one that is resumed gets it from the journal."""

    done: set[str] = field(default_factory=set)
    """`dead_letter_id` of letters that were published and journalled: another copy needs its acknowledgement only."""

    replayed: dict[tuple[str, str], int] = field(default_factory=dict)
    """Event and account → `replay_count` of what was published."""

    def remember(self, letter: HeldLetter, fate: LetterFate) -> None:
        """Take in what became of a letter."""
        self.done.add(letter.letter_id)
        if fate is LetterFate.REPLAYED:
            self.replayed[letter.change] = letter.replay_count + 1

    def came_back(self, letter: HeldLetter) -> bool:
        """Whether a letter tells that something failed again which this replay has published."""
        count = self.replayed.get(letter.change)
        return count is not None and letter.replay_count >= count


@dataclass
class Totals:
    """How many letters, so far."""

    replayed: int = 0
    parked: int = 0
    came_back: int = 0
    handed_back: int = 0
    already_done: int = 0


class Step(StrEnum):
    """What to do with a letter that was pulled."""

    PUBLISH = "publish"
    ACKNOWLEDGE = "acknowledge"
    HAND_BACK = "hand_back"


@dataclass(frozen=True)
class Ending:
    """How a replay ended."""

    entry: JournalEntry
    message: str


@dataclass
class Replay:
    """One replay; `run` it once.

    Args:
        start: Who, why and what: the row with which its journal begins.
        letter_filter: Which letters.
        journalled: `dead_letter_id` of what earlier replays have taken, for a filter that asks.
        max_batch: Letters that are pulled, published and acknowledged together, at most.
        quiet_seconds: It ends when nothing new came for so long.
        interrupted: Set it, and the replay ends after the batch that it is at.
        on_progress: Called with the totals after each batch.
    """

    hold: Hold
    publisher: Publisher
    journal: Journal
    lease: Lease
    topics: Topics
    start: DeadLetterReplay
    letter_filter: LetterFilter
    memory: Memory = field(default_factory=Memory)
    totals: Totals = field(default_factory=Totals)
    journalled: AbstractSet[str] = frozenset()
    max_batch: int = MAX_BATCH
    quiet_seconds: float = 10.0
    interrupted: threading.Event = field(default_factory=threading.Event)
    on_progress: Callable[[Totals], None] = lambda _totals: None

    def __post_init__(self) -> None:
        self._batch = batch_size(self.start.rate, self.max_batch)
        # Room for two batches: what comes in while one is under way would overflow otherwise, and slow the next.
        self._bucket = TokenBucket(self.start.rate, 2 * self._batch)
        self._seen: set[str] = set()
        self._failed_again: set[tuple[str, str]] = set()
        self._aside: dict[str, str] = {}
        self._next_check = time.monotonic() + CHECK_SECONDS

    def run(self) -> Ending:
        """Replay until nothing is left, the limit is reached, or something says stop; hand back what was not replayed.

        Raises:
            GoogleAPICallError: Pub/Sub did not answer.
            WarehouseUnavailable: BigQuery did not answer.
        """
        try:
            ending = self._until_it_ends()
        finally:
            self.hold.hand_back(list(self._aside.values()))
        self.journal.write(self.start, ending.entry, came_back=self.totals.came_back, message=ending.message)
        return ending

    def _until_it_ends(self) -> Ending:
        quiet_since = time.monotonic()
        while True:
            if ending := self._told_to_stop():
                return ending
            room = self._room()
            if not room:
                return Ending(JournalEntry.FINISHED, f"the limit of {self.start.max_letters} letters is reached")
            # Waited for before the pull: what waits with us, nobody else gets, and its ack deadline comes closer.
            if self.interrupted.wait(self._bucket.seconds_until(min(room, self._batch))):
                continue
            letters = self.hold.pull(min(room, self._batch))
            # One that is set aside now has been seen before, and yet makes way for others.
            is_news = any(letter.message_id not in self._aside for letter in letters)
            self._take(letters)
            self.on_progress(self.totals)
            if is_news:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > self.quiet_seconds:
                self._count_failed_again()
                return Ending(JournalEntry.FINISHED, "no letter is left that matches")
            if not letters:
                self.interrupted.wait(EMPTY_PULL_PAUSE_SECONDS)

    def _told_to_stop(self) -> Ending | None:
        if self.interrupted.is_set():
            return Ending(JournalEntry.STOPPED, "interrupted")
        if time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + CHECK_SECONDS
            state = self.lease.renew()
            if state is not LeaseState.HELD:
                entry = JournalEntry.CANCELLED if state is LeaseState.CANCELLED else JournalEntry.STOPPED
                return Ending(entry, f"the lease is {state}")
            self._count_failed_again()
        if too_many_come_back(self.totals.replayed, self.totals.came_back):
            return Ending(
                JournalEntry.STOPPED,
                f"{self.totals.came_back} of {self.totals.replayed} replayed letters failed again: their cause stands",
            )
        return None

    def _count_failed_again(self) -> None:
        """Count by what was pulled, and by the rows of `dead_letters`: on the subscription, the oldest come first."""
        self.totals.came_back = max(len(self._failed_again), self.journal.came_back(self.start))

    def _room(self) -> int:
        taken = self.totals.replayed + self.totals.parked
        return self._batch if self.start.max_letters is None else max(0, self.start.max_letters - taken)

    def _take(self, letters: Iterable[HeldLetter]) -> None:
        """Do with each letter of a pull what it is due."""
        steps: dict[Step, list[HeldLetter]] = {step: [] for step in Step}
        for letter in letters:
            steps[self._step(letter)].append(letter)
        self._return(steps[Step.HAND_BACK])
        if already := steps[Step.ACKNOWLEDGE]:
            self.hold.acknowledge([letter.ack_id for letter in already])
            self.totals.already_done += len(already)
        if due := steps[Step.PUBLISH]:
            self._publish(due)

    def _step(self, letter: HeldLetter) -> Step:
        if letter.is_letter and letter.letter_id in self.memory.done:
            return Step.ACKNOWLEDGE
        if not self.letter_filter.matches(letter, self.journalled):
            return Step.HAND_BACK
        if self.memory.came_back(letter):
            self._failed_again.add(letter.change)
            self.totals.came_back = max(self.totals.came_back, len(self._failed_again))
            return Step.HAND_BACK  # not twice in one replay: its cause stands
        return Step.PUBLISH

    def _return(self, letters: Sequence[HeldLetter]) -> None:
        """Hand letters back at once; those that come again are set aside, or they would be all that ever comes."""
        again = [letter for letter in letters if letter.message_id in self._seen]
        first = [letter for letter in letters if letter.message_id not in self._seen]
        self.hold.hand_back([letter.ack_id for letter in first])
        self.hold.set_aside([letter.ack_id for letter in again])
        self._aside |= {letter.message_id: letter.ack_id for letter in again}
        self._seen |= {letter.message_id for letter in first}
        self.totals.handed_back += len(first)

    def _publish(self, letters: Sequence[HeldLetter]) -> None:
        """Publish, wait for the ids, write the journal, acknowledge: in this order, and never another."""
        due = {letter.letter_id: letter for letter in letters}.values()  # a letter's bundle may have run twice
        parked = {letter.letter_id: why for letter in due if (why := self._parked_because(letter))}
        to_replay = [letter for letter in due if letter.letter_id not in parked]
        to_park = [letter for letter in due if letter.letter_id in parked]
        replayed_ids = self._publish_all(self.topics.changes, [_replayed(letter) for letter in to_replay])
        parked_ids = self._publish_all(
            self.topics.parking_lot,
            [parked_message(letter, parked[letter.letter_id], self.start.replay_id) for letter in to_park],
        )
        self._bucket.take(len(to_replay))
        entries = [_entry(letter, id_, None) for letter, id_ in zip(to_replay, replayed_ids, strict=True)]
        entries += [
            _entry(letter, id_, parked[letter.letter_id]) for letter, id_ in zip(to_park, parked_ids, strict=True)
        ]
        self.journal.write(self.start, JournalEntry.LETTERS, entries, came_back=self.totals.came_back)
        self.hold.acknowledge([letter.ack_id for letter in letters])
        for letter in due:
            self.memory.remember(letter, LetterFate.PARKED if letter.letter_id in parked else LetterFate.REPLAYED)
        self._seen |= {letter.message_id for letter in letters}
        self.totals.replayed += len(to_replay)
        self.totals.parked += len(to_park)

    def _parked_because(self, letter: HeldLetter) -> str | None:
        return parked_because(letter, is_forced=self.start.is_forced)

    def _publish_all(self, topic: str, messages: Sequence[Message]) -> list[str]:
        return self.publisher.publish(topic, messages) if messages else []


def batch_size(rate: float, most: int = MAX_BATCH) -> int:
    """Return how many letters to pull at once: a second's worth."""
    return max(1, min(most, int(rate)))


def _replayed(letter: HeldLetter) -> Message:
    message = replayed_message(letter)
    if message is None:
        raise ValueError(NO_ROOM)  # such a letter is parked, whoever asks
    return message


def _entry(letter: HeldLetter, published_id: str, parked: str | None) -> ReplayedLetter:
    event_id, account_id = letter.change
    return ReplayedLetter(
        dead_letter_id=letter.letter_id,
        event_id=event_id,
        account_id=account_id or None,
        error_class=letter.attributes["error_class"],
        replay_count=letter.replay_count if parked else letter.replay_count + 1,
        letter_message_id=letter.message_id,
        published_message_id=published_id,
        fate=LetterFate.PARKED if parked else LetterFate.REPLAYED,
        parked_because=parked,
    )
