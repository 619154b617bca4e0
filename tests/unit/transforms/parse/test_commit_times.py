"""An event of the future is refused: it would win over every real change of its account until then."""

import datetime as dt
from typing import Any

import apache_beam as beam
import orjson
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.change_event import EPOCH_MS_2000, EPOCH_MS_2100, SourceMessage
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from tests.fixtures.changes import ACCOUNT_FIELDS, COMMITTED_AT, NOW, event, payload
from transforms.errors import InvalidEvent
from transforms.parse.account_changes import ParsedRecord, Refusal
from transforms.parse.commit_times import CLOCK_SKEW, refuse_future_commit
from transforms.parse.message_parsing import parse_events, parse_message
from transforms.parse.parse_change_events import ParseChangeEvents

SECOND = dt.timedelta(seconds=1)
ADDED = {"replay_count": "1", "first_failed_at": (COMMITTED_AT + SECOND).isoformat()}


def _parsed(committed_at: dt.datetime, now: dt.datetime | None = None, **source: Any) -> ParsedRecord:
    bytes_ = payload(commitTimestamp=int(committed_at.timestamp() * 1000))
    (record,) = parse_message(SourceMessage(payload=bytes_, **source), account_fields=ACCOUNT_FIELDS, now=now)
    return record


def test_an_event_of_the_future_is_a_dead_letter_that_says_so() -> None:
    """The reason names the field, the limit and the remedy."""
    record = _parsed(COMMITTED_AT + CLOCK_SKEW + SECOND, published_at=COMMITTED_AT)
    assert isinstance(record, Refusal)
    assert record.error.error_class is ErrorClass.INVALID_EVENT
    assert "ChangeEventHeader.commitTimestamp: 2026-03-02 09:35:01 UTC" in str(record.error)
    assert "5 minutes" in str(record.error)
    assert "correct the sender's clock" in str(record.error)


@pytest.mark.parametrize(
    "ahead", [CLOCK_SKEW, SECOND, dt.timedelta(), -SECOND, dt.timedelta(days=-3), dt.timedelta(days=-9_000)]
)
def test_a_clock_that_differs_a_little_refuses_nothing(ahead: dt.timedelta) -> None:
    """Nor does an old event."""
    assert not isinstance(_parsed(COMMITTED_AT + ahead, published_at=COMMITTED_AT), Refusal)


def test_publication_decides_and_not_the_time_of_reading() -> None:
    """A delivery days later, as after a seek, has the same decision; a message of a file has the time of reading."""
    future = COMMITTED_AT + dt.timedelta(hours=1)
    for now in (COMMITTED_AT, future, future + dt.timedelta(days=30)):
        assert isinstance(_parsed(future, now, published_at=COMMITTED_AT), Refusal)
    assert isinstance(_parsed(future, COMMITTED_AT), Refusal)
    assert not isinstance(_parsed(future, future), Refusal)


def test_a_replay_has_the_decision_of_the_first_time() -> None:
    """Its own publication is later; when it first failed is among its attributes."""
    future = COMMITTED_AT + dt.timedelta(hours=1)
    later = future + dt.timedelta(days=1)
    assert isinstance(_parsed(future, attributes=ADDED, published_at=later), Refusal)
    assert not isinstance(_parsed(COMMITTED_AT, attributes=ADDED, published_at=later), Refusal)


def test_attributes_never_move_the_limit_ahead() -> None:
    """A publisher may set any; those of a message that is no replay are its sender's."""
    future = COMMITTED_AT + dt.timedelta(hours=1)
    forged = {"replay_count": "1", "first_failed_at": future.isoformat()}
    assert isinstance(_parsed(future, attributes=forged, published_at=COMMITTED_AT), Refusal)
    assert not isinstance(
        _parsed(future, attributes={"first_failed_at": NOW.isoformat()}, published_at=future), Refusal
    )


@given(
    st.integers(EPOCH_MS_2000, EPOCH_MS_2100 - 1),
    st.integers(EPOCH_MS_2000, EPOCH_MS_2100 - 1),
    st.integers(0, 10**12),
)
@example(EPOCH_MS_2100 - 1, 1_772_000_000_000, 0)
def test_no_accepted_event_freezes_its_account_for_long(commit: int, published: int, waited: int) -> None:
    """What is accepted is at most the skew ahead; and it is accepted, or refused, again as a replay."""
    times = [dt.datetime.fromtimestamp(it / 1000, dt.UTC) for it in (commit, published, published + waited)]
    committed_at, published_at, replayed_at = times
    replay = SourceMessage(
        payload=b"",
        attributes={"replay_count": "1", "first_failed_at": published_at.isoformat()},
        published_at=replayed_at,
    )
    outcomes = []
    for source in (SourceMessage(payload=b"", published_at=published_at), replay):
        try:
            refuse_future_commit(committed_at, source, None)
        except InvalidEvent:
            outcomes.append(False)
        else:
            outcomes.append(True)
    assert outcomes[0] == (committed_at - published_at <= CLOCK_SKEW)
    # Nothing failed before this pipeline existed: such a time is not believed.
    if published_at.year >= 2020:
        assert outcomes[0] == outcomes[1]


def test_of_several_events_only_that_one_is_refused() -> None:
    """The others of the message go on."""
    events = [event(), event(commitTimestamp=EPOCH_MS_2100 - 1, sequenceNumber=2)]
    source = SourceMessage(payload=orjson.dumps(events), published_at=COMMITTED_AT)
    ((first,), (second,)) = parse_events(source, account_fields=ACCOUNT_FIELDS)
    assert not isinstance(first, Refusal)
    assert isinstance(second, Refusal)


@pytest.mark.parametrize("publish_time", [dt.datetime.now(dt.UTC), None])
def test_the_step_knows_the_time(publish_time: dt.datetime | None) -> None:
    """In the pipeline, a message with and without its time of publication, as a backfill's, is bounded."""
    message = PubsubMessage(payload(commitTimestamp=EPOCH_MS_2100 - 1), {}, "1")
    message.publish_time = publish_time
    with TestPipeline() as pipeline:
        parsed = pipeline | beam.Create([message]) | ParseChangeEvents("1", ACCOUNT_FIELDS)
        assert_that(parsed.dead_letters, _check)


def _check(dead_letters: list[DeadLetter]) -> None:
    (dead_letter,) = dead_letters
    assert "commitTimestamp: 2099-12-31" in dead_letter.error_message
