"""`rescore dead-letters replay` and `resume`: run a replay, one at a time."""

import getpass
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from rich.console import Group

from pipeline.dead_letters.dead_letter_filter import ReplayRequest, filter_from_json
from pipeline.dead_letters.hold_subscription import HoldSubscription
from pipeline.dead_letters.mirror_accounts import open_mirror
from pipeline.dead_letters.replay import MAX_BATCH, Ending, Memory, Replay, Totals
from pipeline.dead_letters.replay_journal import ReplayJournal, unknown_replay
from pipeline.dead_letters.replay_lease import ReplayLease
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.dead_letters.replay_rules import too_many_come_back
from pipeline.terminal.progress import progress_bar
from pipeline.terminal.signals import finish_first
from pipeline.terminal.tables import Paragraph, fact_table
from schemas.clock import utc_now
from schemas.replay import DeadLetterReplay, Disposition, JournalEntry
from transforms.clients.bigquery import Warehouse
from transforms.clients.pubsub import MessagePublisher, pubsub_calls
from transforms.errors import WarehouseUnavailable

QUIET_SECONDS: Final = 10.0
"""A replay ends when the hold subscription has delivered nothing new for so long."""


@dataclass(frozen=True)
class ReplayResult:
    """How a replay ended, and its totals, with those from before it was resumed."""

    start: DeadLetterReplay
    ending: Ending
    totals: Totals
    seconds: float

    @property
    def is_ok(self) -> bool:
        """Whether it finished, and little of what it replayed failed again."""
        is_finished = self.ending.entry is JournalEntry.FINISHED
        return is_finished and not too_many_come_back(self.totals.replayed, self.totals.came_back)

    def document(self) -> dict[str, Any]:
        """Return the result as `--json` prints it."""
        return {
            "replay_id": self.start.replay_id,
            "state": self.ending.entry.value,
            "message": self.ending.message,
            "replayed": self.totals.replayed,
            "parked": self.totals.parked,
            "came_back": self.totals.came_back,
            "handed_back": self.totals.nacked,
            "already_done": self.totals.already_done,
            "account_missing": self.totals.account_missing,
            "seconds": round(self.seconds, 3),
            "ok": self.is_ok,
            "executed": True,
        }


@dataclass(frozen=True)
class Session:
    """How to run a replay; see the arguments of `Replay`."""

    resources: ReplayResources
    quiet_seconds: float = QUIET_SECONDS
    on_progress: Callable[[Totals], None] = lambda _totals: None
    max_batch: int = MAX_BATCH
    actor: str | None = None
    """Who asks, for the journal; None: the user of this process."""

    interrupted: threading.Event | None = None
    """Set it to end the replay after its current batch; None: a signal to this process does."""

    on_started: Callable[[str], None] = lambda _replay_id: None
    """Called with the replay's id when it has the lease and its first row."""


def replay(session: Session, request: ReplayRequest) -> ReplayResult:
    """Replay the dead letters that match.

    Raises:
        LeaseTaken: Another replay is running.
        PubSubUnavailable: Pub/Sub did not answer.
        WarehouseUnavailable: BigQuery did not answer.
    """
    start = DeadLetterReplay(
        entry_id=uuid.uuid4().hex,
        replay_id=f"{utc_now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
        entry=JournalEntry.STARTED,
        recorded_at=utc_now(),
        actor=session.actor or actor(),
        reason=request.reason,
        letter_filter=request.dead_letter_filter.as_json(),
        max_letters=request.max_dead_letters,
        rate=request.rate,
        is_forced=request.is_forced,
    )
    dataset = session.resources.dataset
    with session.resources.open_warehouse() as warehouse, _lease(warehouse, dataset, start) as lease:
        journal = ReplayJournal(warehouse, dataset)
        journal.write(start, JournalEntry.STARTED)
        session.on_started(start.replay_id)
        return _run(session, journal, lease, start)


def resume(session: Session, replay_id: str | None, *, take_over: bool) -> ReplayResult:
    """Continue a replay that did not finish; the last one if none is named.

    Dead letters in its journal are acknowledged and not published again. Those that a killed process had pulled are
    delivered again when their ack deadline has passed; the replay waits for that.

    Raises:
        ValueError: The replay was not found, or has finished.
        LeaseTaken: A replay is running, or its lease has not expired.
        PubSubUnavailable: Pub/Sub did not answer.
        WarehouseUnavailable: BigQuery did not answer.
    """
    dataset = session.resources.dataset
    with session.resources.open_warehouse() as warehouse:
        journal = ReplayJournal(warehouse, dataset)
        progress = journal.progress(replay_id)
        if progress is None:
            raise unknown_replay(replay_id)
        start = progress.start
        if not progress.is_open:
            raise ValueError(f"replay {start.replay_id} has finished: start a new one with rescore dead-letters replay")
        with _lease(warehouse, dataset, start, take_over=take_over) as lease:
            journal.write(start, JournalEntry.RESUMED, message=f"by {actor()}")
            return _run(session, journal, lease, start, _remembered(journal, start))


def actor() -> str:
    """Return user and machine as `user@host`."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):  # unknown to the password database: KeyError before Python 3.13
        return f"unknown@{socket.gethostname()}"


def _run(
    session: Session,
    journal: ReplayJournal,
    lease: ReplayLease,
    start: DeadLetterReplay,
    resumed: tuple[Memory, Totals] | None = None,
) -> ReplayResult:
    memory, totals = resumed or (Memory(), Totals())
    dead_letter_filter = filter_from_json(start.letter_filter)
    resources = session.resources
    # Ctrl-C and SIGTERM let the current batch finish.
    end_signal = nullcontext(session.interrupted) if session.interrupted else finish_first()
    with pubsub_calls(resources.hold_path), end_signal as interrupted, ExitStack() as connections:
        mirror = connections.enter_context(open_mirror(resources.project, resources.crm_dataset))
        began = time.monotonic()
        try:
            hold = connections.enter_context(closing(HoldSubscription(resources.hold_path)))
            hold.check_answers()
            # What a killed process had pulled is delivered again when its ack deadline has passed.
            quiet = max(session.quiet_seconds, hold.ack_deadline_seconds() + 1.0 if resumed else 0.0)
            running = Replay(
                hold=hold,
                publisher=connections.enter_context(closing(MessagePublisher.for_command())),
                journal=journal,
                lease=lease,
                resources=resources,
                start=start,
                dead_letter_filter=dead_letter_filter,
                memory=memory,
                totals=totals,
                journalled=journal.journalled() if dead_letter_filter.is_not_replayed else frozenset(),
                missing_accounts=mirror.missing,
                max_batch=session.max_batch,
                quiet_seconds=quiet,
                interrupted=interrupted,
                on_progress=session.on_progress,
            )
            ending = running.run()
        except (GoogleAPIError, GoogleAuthError, WarehouseUnavailable) as error:
            journal.write(start, JournalEntry.FAILED, came_back=totals.came_back, message=type(error).__name__)
            raise
        return ReplayResult(start, ending, totals, time.monotonic() - began)


def _remembered(journal: ReplayJournal, start: DeadLetterReplay) -> tuple[Memory, Totals]:
    memory, totals = Memory(), Totals()
    for row in journal.dead_letters(start.replay_id):
        memory.done.add(row["dead_letter_id"])
        if row["fate"] == Disposition.REPLAYED:
            memory.replayed[row["event_id"], row["account_id"] or ""] = row["replay_count"]
            totals.replayed += 1
        else:
            totals.parked += 1
    return memory, totals


@contextmanager
def _lease(
    warehouse: Warehouse, dataset: str, start: DeadLetterReplay, *, take_over: bool = False
) -> Iterator[ReplayLease]:
    lease = ReplayLease(warehouse, dataset)
    lease.take(start.replay_id, take_over=take_over)
    try:
        yield lease
    finally:
        lease.release()


@contextmanager
def replay_progress(max_dead_letters: int | None) -> Iterator[Callable[[Totals], None]]:
    """Yield a function that shows a replay's totals on a progress bar."""
    with progress_bar() as bar:
        task = bar.add_task("replaying", total=max_dead_letters)

        def show(totals: Totals) -> None:
            text = f"replayed {totals.replayed}, parked {totals.parked}, came back {totals.came_back}"
            bar.update(task, description=text, completed=totals.replayed + totals.parked)

        yield show


def render(result: ReplayResult) -> Group:
    """Return the report."""
    of, style = result.totals, "green" if result.is_ok else "bold red"
    facts = fact_table(
        ("replayed", str(of.replayed)),
        ("parked", str(of.parked)),
        ("came back", f"{of.came_back} so far; see `status` for their outcomes"),
        ("account missing", f"{of.account_missing} that wait until the CRM mirror has their accounts"),
        ("nacked", f"{of.nacked} that did not match, came back, or wait"),
        ("seconds", f"{result.seconds:.1f}"),
    )
    title = f"replay {result.start.replay_id} {result.ending.entry}: {result.ending.message}"
    return Group(Paragraph(title, style), facts)
