"""`rescore dead-letters replay` and `resume`: letters onto their topic again, one replay at a time."""

import getpass
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final

from google.api_core.exceptions import GoogleAPICallError

from pipeline.dead_letters.hold_subscription import HoldSubscription
from pipeline.dead_letters.letter_filter import filter_from_json
from pipeline.dead_letters.names import Place, open_warehouse
from pipeline.dead_letters.replay import MAX_BATCH, Ending, Memory, Replay, Totals
from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.dead_letters.replay_lease import ReplayLease
from pipeline.dead_letters.replay_request import ReplayRequest
from pipeline.dead_letters.rules import too_many_come_back
from schemas.clock import utc_now
from schemas.replay import DeadLetterReplay, JournalEntry, LetterFate
from transforms.clients.bigquery import Warehouse
from transforms.clients.pubsub import MessagePublisher
from transforms.errors import WarehouseUnavailable

QUIET_SECONDS: Final = 10.0
"""A replay ends when nothing new has come off the hold subscription for so long."""


@dataclass(frozen=True)
class ReplayResult:
    """How a replay ended, and what it did in all, also before it was resumed."""

    start: DeadLetterReplay
    ending: Ending
    totals: Totals
    seconds: float

    @property
    def is_ok(self) -> bool:
        """Whether it came to its end, and what it replayed did not fail again."""
        is_finished = self.ending.entry is JournalEntry.FINISHED
        return is_finished and not too_many_come_back(self.totals.replayed, self.totals.came_back)

    def document(self) -> dict[str, Any]:
        """Return the result as `--json` prints it."""
        return {
            "replay_id": self.start.replay_id,
            "state": self.ending.entry.value,
            "message": self.ending.message,
            **vars(self.totals),
            "seconds": round(self.seconds, 3),
            "ok": self.is_ok,
        }


@dataclass(frozen=True)
class Session:
    """Where a replay runs, when it ends, who is told how far it is, and how many letters go together at most."""

    place: Place
    quiet_seconds: float = QUIET_SECONDS
    on_progress: Callable[[Totals], None] = lambda _totals: None
    max_batch: int = MAX_BATCH


def replay(session: Session, request: ReplayRequest) -> ReplayResult:
    """Replay the letters that match.

    Raises:
        LeaseTaken: Another replay runs.
        GoogleAPICallError: Pub/Sub did not answer.
        WarehouseUnavailable: BigQuery did not answer.
    """
    start = DeadLetterReplay(
        entry_id=uuid.uuid4().hex,
        replay_id=f"{utc_now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
        entry=JournalEntry.STARTED,
        recorded_at=utc_now(),
        actor=actor(),
        reason=request.reason,
        letter_filter=request.letter_filter.as_json(),
        max_letters=request.max_letters,
        rate=request.rate,
        is_forced=request.is_forced,
    )
    place = session.place
    with open_warehouse(place) as warehouse, _lease(warehouse, place, start, take_over=False) as lease:
        journal = ReplayJournal(warehouse, place.dataset)
        journal.write(start, JournalEntry.STARTED)
        return _run(session, _Begun(journal, lease, start))


def resume(session: Session, replay_id: str | None, *, take_over: bool) -> ReplayResult:
    """Go on with a replay that did not come to its end; the last one where none is named.

    Letters that its journal holds are acknowledged and not published again. Those that a process held when it was
    killed come back within the subscription's ack deadline, which is waited for.

    Raises:
        ValueError: There is no such replay, or it came to its end.
        LeaseTaken: A replay runs, or seems to.
        GoogleAPICallError: Pub/Sub did not answer.
        WarehouseUnavailable: BigQuery did not answer.
    """
    place = session.place
    with open_warehouse(place) as warehouse:
        journal = ReplayJournal(warehouse, place.dataset)
        progress = journal.progress(replay_id)
        if progress is None:
            raise ValueError("there is no such replay: see rescore dead-letters status")
        start = progress.start
        if not progress.is_open:
            raise ValueError(
                f"replay {start.replay_id} came to its end: begin a new one with rescore dead-letters replay"
            )
        with _lease(warehouse, place, start, take_over=take_over) as lease:
            journal.write(start, JournalEntry.RESUMED, message=f"by {actor()}")
            memory, totals = _remembered(journal, start)
            return _run(session, _Begun(journal, lease, start, memory, totals, is_resumed=True))


def actor() -> str:
    """Return who is at it: user and machine."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # no such user in the password database: KeyError before Python 3.13
        return f"unknown@{socket.gethostname()}"


@dataclass(frozen=True)
class _Begun:
    journal: ReplayJournal
    lease: ReplayLease
    start: DeadLetterReplay
    memory: Memory = field(default_factory=Memory)
    totals: Totals = field(default_factory=Totals)
    is_resumed: bool = False


def _run(session: Session, begun: _Begun) -> ReplayResult:
    place, start, journal = session.place, begun.start, begun.journal
    letter_filter = filter_from_json(start.letter_filter)
    with ExitStack() as connections:
        hold, publisher = HoldSubscription(place.hold_path), MessagePublisher()
        connections.callback(hold.close)
        connections.callback(publisher.close)
        # What a killed process held comes back when its ack deadline is over.
        quiet = max(session.quiet_seconds, hold.ack_deadline_seconds() + 1.0 if begun.is_resumed else 0.0)
        running = Replay(
            hold=hold,
            publisher=publisher,
            journal=journal,
            lease=begun.lease,
            topics=place.topics,
            start=start,
            letter_filter=letter_filter,
            memory=begun.memory,
            totals=begun.totals,
            journalled=journal.journalled() if letter_filter.is_not_replayed else frozenset(),
            max_batch=session.max_batch,
            quiet_seconds=quiet,
            interrupted=connections.enter_context(_interruption()),
            on_progress=session.on_progress,
        )
        began = time.monotonic()
        try:
            ending = running.run()
        except (GoogleAPICallError, WarehouseUnavailable) as error:
            journal.write(start, JournalEntry.FAILED, came_back=begun.totals.came_back, message=type(error).__name__)
            raise
        return ReplayResult(start, ending, running.totals, time.monotonic() - began)


def _remembered(journal: ReplayJournal, start: DeadLetterReplay) -> tuple[Memory, Totals]:
    memory, totals = Memory(), Totals()
    for row in journal.letters(start.replay_id):
        memory.done.add(row["dead_letter_id"])
        if row["fate"] == LetterFate.REPLAYED:
            memory.replayed[row["event_id"], row["account_id"] or ""] = row["replay_count"]
            totals.replayed += 1
        else:
            totals.parked += 1
    return memory, totals


@contextmanager
def _lease(warehouse: Warehouse, place: Place, start: DeadLetterReplay, *, take_over: bool) -> Iterator[ReplayLease]:
    lease = ReplayLease(warehouse, place.dataset)
    lease.take(start.replay_id, take_over=take_over)
    try:
        yield lease
    finally:
        lease.release()


@contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C and SIGTERM set: the batch that is under way is finished first."""
    interrupted = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
