"""Replays with brokers and a warehouse: our broker and Google's emulator, each with Google's own clients."""

import datetime as dt
import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter, ReplayRequest
from pipeline.dead_letters.held_dead_letter import REPLAYED_OFTEN, SAME_AGAIN, HeldDeadLetter
from pipeline.dead_letters.hold_subscription import HoldSubscription
from pipeline.dead_letters.replay_session import ReplayResult, Session, replay
from pipeline.dead_letters.status import status
from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from schemas.replay import JournalEntry
from tests.fixtures.changes import ACCOUNT_FIELDS
from tests.fixtures.dead_letters import dead_letter, failed_again
from tests.integration.pubsub_targets import Target
from tests.integration.replay_resources import ReplayTopics, replace_dead_letters, replay_topics_on
from transforms.clients.bigquery import Warehouse
from transforms.clients.messages import Message
from transforms.parse.account_changes import Refusal
from transforms.parse.message_parsing import parse_message

pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag:DeprecationWarning")

QUIET_SECONDS = 0.2
"""What is published is there at the first pull, so a replay ends at its first empty one."""

mostly_embedded = pytest.mark.parametrize(
    "target", ["embedded", pytest.param("google", marks=pytest.mark.slow)], indirect=True
)
"""An empty pull of Google's emulator takes four seconds."""


def _replay(topics: ReplayTopics, chosen: DeadLetterFilter | None = None, **fields: Any) -> ReplayResult:
    asked: dict[str, Any] = {"max_dead_letters": None, "rate": 100_000.0, "is_forced": False, "reason": "a test"}
    request = ReplayRequest(dead_letter_filter=chosen or DeadLetterFilter(), **asked | fields)
    return replay(Session(topics.resources, QUIET_SECONDS), request)


def _digests(payloads: Iterator[bytes]) -> Counter[str]:
    return Counter(hashlib.sha256(payload).hexdigest() for payload in payloads)


def test_every_payload_is_replayed_unchanged(topics: ReplayTopics, run_seed: int) -> None:
    """Each of 1,000 arbitrary payloads is published again with the same SHA-256 and attributes.

    `python -m tests.benchmarks.replay payloads` does so with 20,000.
    """
    dice = random.Random(run_seed)
    dead_letters = [
        dead_letter(
            number,
            source=SourceMessage(
                payload=dice.randbytes(int(dice.expovariate(1 / 600))) or b"\x00",
                attributes={"timeout": "ours", "topic": "theirs", "event_id": f"{number}", "ключ": "\u2028"},
            ),
        )
        for number in range(1_000)
    ]
    topics.hold(dead_letters)
    result = _replay(topics)
    assert (result.totals.replayed, result.totals.parked) == (len(dead_letters), 0)
    published = topics.taken(topics.changes)
    assert _digests(it.data for it in published) == _digests(it.source.payload for it in dead_letters)
    for message in published:
        attributes = dict(message.attributes)
        assert attributes.pop("replay_count") == "1"
        assert attributes.pop("replayed_after") == "gemini_timeout@1.0.0"
        assert attributes.pop("first_failed_at")
        assert attributes == dead_letters[int(attributes["event_id"])].source.attributes
    assert topics.left() == []


@mostly_embedded
def test_dead_letters_that_don_t_match_stay_and_delay_no_others(topics: ReplayTopics) -> None:
    """Matching dead letters come last, behind many that are nacked."""
    others = [dead_letter(number, error_class=ErrorClass.UNDECODABLE) for number in range(300)]
    matching = [dead_letter(number) for number in range(1_000, 1_030)]
    topics.hold(others)
    topics.hold(matching)
    topics.hold_messages([{"data": b"another message", "attributes": {"stage": "x"}}])
    result = _replay(topics, DeadLetterFilter(error_classes=("gemini_timeout",)), rate=50.0)
    assert result.is_ok
    assert result.totals.replayed == len(matching)
    assert {it.attributes["replay_count"] for it in topics.taken(topics.changes)} == {"1"}
    assert len(topics.left()) == len(others) + 1


@mostly_embedded
def test_a_hold_that_delivers_exactly_once_is_replayed(broker: Target, warehouse: Warehouse) -> None:
    """With exactly-once delivery, ids whose ack deadline is over are reported, and the others are acknowledged."""
    replace_dead_letters(warehouse, [])
    topics = replay_topics_on(broker, warehouse, enable_exactly_once_delivery=True)
    topics.hold(dead_letter(number) for number in range(3))
    hold = HoldSubscription(topics.resources.hold)
    pulled: list[HeldDeadLetter] = []
    while len(pulled) < 3:
        pulled += hold.pull(3)
    late, *others = [it.ack_id for it in pulled]
    hold.acknowledge([late])
    hold.extend_ack_deadline([late, *others])
    hold.nack([late, *others])
    hold.close()
    assert _replay(topics).totals.replayed == len(others)
    assert topics.left() == []


@mostly_embedded
def test_the_journal_says_who_why_and_what(topics: ReplayTopics, warehouse: Warehouse) -> None:
    """The status shows a replay with the outcomes of its dead letters; afterwards another replay may run."""
    topics.hold(dead_letter(number) for number in range(25))
    chosen = DeadLetterFilter(since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    result = _replay(topics, chosen, max_dead_letters=20, reason="fixed")
    found = status(topics.resources, None).document()
    assert found["replay_id"] == result.start.replay_id
    assert (found["state"], found["replayed"], found["limit"], found["reason"]) == ("finished", 20, 20, "fixed")
    assert found["filter"] == {"since": "2026-01-01T00:00:00Z"}
    assert found["outcomes"] == {"pending": 20}
    assert "@" in found["actor"]
    assert _replay(topics).totals.replayed == 5


@mostly_embedded
def test_poison_ends_in_the_parking_lot_after_three_rounds(topics: ReplayTopics) -> None:
    """A dead letter that fails in another version each time is parked after three replays, one that fails in the same
    way after its first; the other dead letters are replayed in every round.
    """
    poison = [
        _refused(dead_letter(number, source=SourceMessage(payload=b"\xff poison %d" % number))) for number in (1, 2)
    ]
    rounds = []
    current = poison
    for number in range(4):
        topics.hold([*current, dead_letter(100 + number)])
        totals = _replay(topics).totals
        rounds.append((totals.replayed, totals.parked))
        versions = {poison[0].event_id: f"1.0.{number + 1}", poison[1].event_id: "1.0.0"}
        current = []
        for message in topics.taken(topics.changes):
            source = SourceMessage(payload=message.data, attributes=dict(message.attributes))
            if source.payload in {it.source.payload for it in poison}:
                before = next(it for it in poison if it.source.payload == source.payload)
                current.append(
                    _refused(
                        failed_again(Message(source.payload, source.attributes), before), versions[before.event_id]
                    )
                )
    assert rounds == [(3, 0), (2, 1), (2, 0), (1, 1)]
    parked = {it.data: it.attributes["parked_because"] for it in topics.taken(topics.parked)}
    assert parked == {poison[1].source.payload: SAME_AGAIN, poison[0].source.payload: REPLAYED_OFTEN}
    assert topics.left() == []


@mostly_embedded
def test_a_replay_stops_when_its_dead_letters_fail_again(
    topics: ReplayTopics, warehouse: Warehouse, monkeypatch: Any
) -> None:
    """The table shows the new failures while dead letters are left; these stay on the subscription."""
    monkeypatch.setattr("pipeline.dead_letters.replay.CHECK_SECONDS", 0.0)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    topics.hold(dead_letter(number) for number in range(100))
    again = [
        dead_letter(number, replay_count=1, failed_at=later, source=SourceMessage(payload=b"x"))
        for number in range(100)
    ]
    replace_dead_letters(warehouse, again)
    result = _replay(topics, rate=20.0)
    assert result.ending.entry is JournalEntry.STOPPED
    assert not result.is_ok
    assert "failed again" in result.ending.message
    assert result.totals.replayed < 100
    assert len(topics.left()) == 100 - result.totals.replayed


def _refused(of: DeadLetter, version: str | None = None) -> DeadLetter:
    """Return the dead letter of a payload that the parser refuses."""
    (record,) = parse_message(of.source, account_fields=ACCOUNT_FIELDS)
    assert isinstance(record, Refusal)
    return dead_letter(
        event_id=record.received.event_id,
        account_id=None,
        error_class=record.error.error_class,
        stage="Parse change events",
        source=of.source,
        replay_count=of.replay_count,
        failed_at=of.failed_at,
        pipeline_version=version or of.pipeline_version,
    )
