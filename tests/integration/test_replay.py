"""Replays against brokers and a warehouse: our broker and Google's emulator, each with Google's own clients."""

import datetime as dt
import hashlib
import itertools
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from pipeline.dead_letters.held_letter import HeldLetter
from pipeline.dead_letters.hold_subscription import HoldSubscription
from pipeline.dead_letters.letter_filter import LetterFilter
from pipeline.dead_letters.names import Place
from pipeline.dead_letters.replay import Totals
from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.dead_letters.replay_request import ReplayRequest
from pipeline.dead_letters.replay_session import ReplayResult, Session, replay, resume
from pipeline.dead_letters.rules import REPLAYED_OFTEN, SAME_AGAIN
from pipeline.dead_letters.status import status
from pipeline.resources.names import SCORING_DATASET
from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from schemas.replay import JournalEntry
from schemas.tables import DEAD_LETTER_REPLAY_LEASE
from tests.fixtures.letters import failed_again, letter
from tests.integration.pubsub_targets import Target, embedded, google_emulator
from tests.integration.replay_places import ACK_DEADLINE_SECONDS, Stage, stage_on, tell_table
from transforms.clients.bigquery import Warehouse
from transforms.clients.pubsub import Message
from transforms.parse.account_changes import Refusal
from transforms.parse.parse_change_events import parse_message

pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag:DeprecationWarning")

QUIET_SECONDS = 1.0
SEED = 6
KILLS = 20
LETTERS_TO_KILL_AT = 2_500
KILLED_BATCH = 20
MAX_BATCHES_TO_KILL = 4


@pytest.fixture(scope="module", params=["embedded", "google"])
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, environment: pytest.MonkeyPatch
) -> Iterator[Target]:
    """Yield each broker in turn; Google's clients find it."""
    running = embedded() if request.param == "embedded" else google_emulator(tmp_path_factory.mktemp("pubsub"))
    with running as target:
        environment.setenv("PUBSUB_EMULATOR_HOST", target.host)
        yield target


@pytest.fixture
def stage(broker: Target, warehouse: Warehouse) -> Stage:
    """Return topics and subscriptions of this test alone, an empty table of letters, and a lease that nobody has."""
    tell_table(warehouse, [])
    warehouse.replace_rows(SCORING_DATASET, DEAD_LETTER_REPLAY_LEASE, [])
    return stage_on(broker, warehouse)


def _replay(stage: Stage, meant: LetterFilter | None = None, **fields: Any) -> ReplayResult:
    asked: dict[str, Any] = {"max_letters": None, "rate": 100_000.0, "is_forced": False, "reason": "a test"}
    request = ReplayRequest(letter_filter=meant or LetterFilter(), **asked | fields)
    return replay(Session(stage.place, QUIET_SECONDS), request)


def _digests(payloads: Iterator[bytes]) -> Counter[str]:
    return Counter(hashlib.sha256(payload).hexdigest() for payload in payloads)


def test_every_byte_string_comes_back_as_it_was(stage: Stage) -> None:
    """Of 1,000 arbitrary payloads, with arbitrary attributes, each is published again with its SHA-256.

    `python -m tests.benchmarks.replay payloads` does so with 20,000.
    """
    dice = random.Random(SEED)
    letters = [
        letter(
            number,
            source=SourceMessage(
                payload=dice.randbytes(int(dice.expovariate(1 / 600))) or b"\x00",
                attributes={"timeout": "ours", "topic": "theirs", "event_id": f"{number}", "ключ": "\u2028"},
            ),
        )
        for number in range(1_000)
    ]
    stage.hold(letters)
    result = _replay(stage)
    assert (result.totals.replayed, result.totals.parked) == (len(letters), 0)
    published = stage.taken(stage.changes)
    assert _digests(it.data for it in published) == _digests(it.source.payload for it in letters)
    for message in published:
        attributes = dict(message.attributes)
        assert attributes.pop("replay_count") == "1"
        assert attributes.pop("replayed_after") == "gemini_timeout@1.0.0"
        assert attributes.pop("first_failed_at")
        assert attributes == letters[int(attributes["event_id"])].source.attributes
    assert stage.left() == []


def test_letters_that_don_t_match_stay_and_hold_up_nobody(stage: Stage) -> None:
    """Those that are meant come last, behind many that are handed back."""
    others = [letter(number, error_class=ErrorClass.UNDECODABLE) for number in range(300)]
    wanted = [letter(number) for number in range(1_000, 1_030)]
    stage.hold(others)
    stage.hold(wanted)
    stage.hold_messages([{"data": b"no letter", "attributes": {"stage": "x"}}])
    result = _replay(stage, LetterFilter(error_classes=("gemini_timeout",)), rate=50.0)
    assert result.is_ok
    assert result.totals.replayed == len(wanted)
    assert {it.attributes["replay_count"] for it in stage.taken(stage.changes)} == {"1"}
    assert len(stage.left()) == len(others) + 1


def test_a_hold_that_delivers_exactly_once_is_replayed(broker: Target, warehouse: Warehouse) -> None:
    """Such a subscription refuses what comes after the ack deadline; the others of a request are done all the same."""
    tell_table(warehouse, [])
    stage = stage_on(broker, warehouse, enable_exactly_once_delivery=True)
    stage.hold(letter(number) for number in range(3))
    hold = HoldSubscription(stage.place.hold)
    pulled: list[HeldLetter] = []
    while len(pulled) < 3:
        pulled += hold.pull(3)
    late, *others = [it.ack_id for it in pulled]
    hold.acknowledge([late])
    hold.set_aside([late, *others])
    hold.hand_back([late, *others])
    hold.close()
    assert _replay(stage).totals.replayed == len(others)
    assert stage.left() == []


def test_the_journal_says_who_why_and_what(stage: Stage, warehouse: Warehouse) -> None:
    """A replay is told by its status, with what became of its letters; another one may then run."""
    stage.hold(letter(number) for number in range(25))
    meant = LetterFilter(since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    result = _replay(stage, meant, max_letters=20, reason="mended")
    found = status(stage.place, None).document()
    assert found["replay_id"] == result.start.replay_id
    assert (found["state"], found["replayed"], found["limit"], found["reason"]) == ("finished", 20, 20, "mended")
    assert found["filter"] == {"since": "2026-01-01T00:00:00+00:00"}
    assert found["outcomes"] == {"pending": 20}
    assert "@" in found["actor"]
    assert _replay(stage).totals.replayed == 5


def test_poison_ends_in_the_parking_lot_after_three_rounds(stage: Stage) -> None:
    """A letter that fails in another version each time is parked after three replays, one that fails in the same way
    after its first; each letter beside them is replayed, in every round.
    """
    poison = [_refused(letter(number, source=SourceMessage(payload=b"\xff poison %d" % number))) for number in (1, 2)]
    rounds = []
    current = poison
    for number in range(4):
        stage.hold([*current, letter(100 + number)])
        totals = _replay(stage).totals
        rounds.append((totals.replayed, totals.parked))
        versions = {poison[0].event_id: f"1.0.{number + 1}", poison[1].event_id: "1.0.0"}
        current = []
        for message in stage.taken(stage.changes):
            source = SourceMessage(payload=message.data, attributes=dict(message.attributes))
            if source.payload in {it.source.payload for it in poison}:
                before = next(it for it in poison if it.source.payload == source.payload)
                current.append(
                    _refused(
                        failed_again(Message(source.payload, source.attributes), before), versions[before.event_id]
                    )
                )
    assert rounds == [(3, 0), (2, 1), (2, 0), (1, 1)]
    parked = {it.data: it.attributes["parked_because"] for it in stage.taken(stage.parked)}
    assert parked == {poison[1].source.payload: SAME_AGAIN, poison[0].source.payload: REPLAYED_OFTEN}
    assert stage.left() == []


def test_a_replay_stops_when_its_letters_fail_again(stage: Stage, warehouse: Warehouse, monkeypatch: Any) -> None:
    """The table of letters tells it while there are letters left; they stay."""
    monkeypatch.setattr("pipeline.dead_letters.replay.CHECK_SECONDS", 0.0)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    stage.hold(letter(number) for number in range(100))
    again = [
        letter(number, replay_count=1, failed_at=later, source=SourceMessage(payload=b"x")) for number in range(100)
    ]
    tell_table(warehouse, again)
    result = _replay(stage, rate=20.0)
    assert result.ending.entry is JournalEntry.STOPPED
    assert not result.is_ok
    assert "failed again" in result.ending.message
    assert result.totals.replayed < 100
    assert len(stage.left()) == 100 - result.totals.replayed


def test_a_replay_killed_at_random_loses_nothing(stage: Stage, warehouse: Warehouse) -> None:
    """SIGKILL at twenty random moments, and resumed each time: every letter is published, and what comes twice is
    the same to the last byte, so that it falls away as a duplicate.
    """
    dice = random.Random(SEED)
    sys.stdout.write(f"seed {SEED}\n")
    letters = [letter(number) for number in range(LETTERS_TO_KILL_AT)]
    stage.hold(letters)
    for kill in range(KILLS):
        _kill_a_replay(
            stage.place,
            is_first=kill == 0,
            kill_at=KillAt(dice.randint(1, MAX_BATCHES_TO_KILL), dice.uniform(0.0, 0.02)),
        )
    assert status(stage.place, None).document()["replayed"] < len(letters)
    # What the last one had pulled comes back once its ack deadline is past.
    result = resume(Session(stage.place, ACK_DEADLINE_SECONDS + QUIET_SECONDS), None, take_over=True)
    assert result.ending.entry is JournalEntry.FINISHED
    published = stage.taken(stage.changes)
    by_payload: dict[bytes, set[frozenset[tuple[str, str]]]] = {}
    for message in published:
        by_payload.setdefault(message.data, set()).add(frozenset(message.attributes.items()))
    assert set(by_payload) == {it.source.payload for it in letters}
    assert all(len(attributes) == 1 for attributes in by_payload.values())
    assert len(published) - len(letters) <= KILLS * KILLED_BATCH
    assert stage.left() == []
    assert len(list(ReplayJournal(warehouse, SCORING_DATASET).letters(result.start.replay_id))) == len(letters)
    sys.stdout.write(f"{len(published) - len(letters)} duplicates among {len(published)}\n")


def _refused(of: DeadLetter, version: str | None = None) -> DeadLetter:
    """Return what the parser makes of a letter's payload: a refusal, each time."""
    (record,) = parse_message(of.source)
    assert isinstance(record, Refusal)
    return letter(
        event_id=record.received.event_id,
        account_id=None,
        error_class=record.error.error_class,
        stage="Parse change events",
        source=of.source,
        replay_count=of.replay_count,
        failed_at=of.failed_at,
        pipeline_version=version or of.pipeline_version,
    )


class KillAt(NamedTuple):
    """When a replay is killed: by what it has done, so that a slow machine kills it amid its work too."""

    batches: int
    seconds_later: float


def _kill_a_replay(place: Place, kill_at: KillAt, *, is_first: bool) -> None:
    """Start a replay in a process of its own, which is killed amid its work."""
    # A server that has imported all, and from which each process is forked: to import takes a second of CPU.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_run, args=(dict(os.environ), place, kill_at, is_first))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "the replay ended before it was killed"


def _run(environment: dict[str, str], place: Place, kill_at: KillAt, is_first: bool) -> None:  # noqa: FBT001
    os.environ.update(environment)
    batches = itertools.count(1)

    def on_progress(totals: Totals) -> None:
        if totals.replayed and next(batches) == kill_at.batches:
            threading.Timer(kill_at.seconds_later, os.kill, (os.getpid(), signal.SIGKILL)).start()

    session = Session(place, QUIET_SECONDS, on_progress, max_batch=KILLED_BATCH)
    if is_first:
        replay(session, ReplayRequest(LetterFilter(), None, 100_000.0, is_forced=False, reason="to be killed"))
    else:
        resume(session, None, take_over=True)
