"""The first stages in Beam: outputs, batches, counters."""

import datetime as dt
from collections import Counter
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that
from google.api_core.datetime_helpers import DatetimeWithNanoseconds

from schemas.change_event import AccountChange
from schemas.outcome import OutcomeKind
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, payload
from transforms.coders import RecordCoder
from transforms.parse import parse_change_events
from transforms.parse.avro_schemas import NO_SCHEMAS
from transforms.parse.parse_change_events import ParseChangeEvents, _ParseMessage


def test_parsing_accounts_for_every_message() -> None:
    """Each message gives `received` rows and its changes, outcomes or dead letters; counters count them."""
    messages = [
        PubsubMessage(payload(recordIds=[account_id(1), account_id(2)]), {"a": "b"}),
        PubsubMessage(payload({}, entityName="Lead", recordIds=["003ak00000IiFInAAN"]), {}),
        PubsubMessage(b"garbage \xff", {"origin": "x"}),
        PubsubMessage(None, {"empty": "true"}),
    ]

    def check_outcomes(rows: list[Any]) -> None:
        kinds = Counter(row.outcome for row in rows)
        assert kinds == {OutcomeKind.RECEIVED: 5, OutcomeKind.SKIPPED: 1}

    def check_dead_letters(dead_letters: list[Any]) -> None:
        assert sorted(dead_letter.source.payload for dead_letter in dead_letters) == [b"", b"garbage \xff"]
        assert {dead_letter.source.attributes.get("origin") for dead_letter in dead_letters} == {"x", None}

    def check_changes(changes: list[Any]) -> None:
        assert sorted(change.account_id for change in changes) == [account_id(1), account_id(2)]
        assert all(change.source.attributes == {"a": "b"} for change in changes)

    pipeline = TestPipeline(runner=FnApiRunner())
    parsed = pipeline | beam.Create(messages) | ParseChangeEvents("1", ACCOUNT_FIELDS)
    assert_that(parsed.changes, check_changes, label="changes")
    assert_that(parsed.outcomes, check_outcomes, label="outcomes")
    assert_that(parsed.dead_letters, check_dead_letters, label="dead_letters")
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(parse_change_events.STAGE))["counters"]
    counted = {counter.key.metric.name: counter.committed for counter in counters}
    assert counted == {"messages_total": 4, "changes_total": 2, "without_change_total": 1, "refused_total": 2}


def test_the_pubsub_clients_times_are_encoded() -> None:
    """Publish times of streaming sources are a subclass of datetime, which our coder would not encode."""
    published = DatetimeWithNanoseconds(  # type: ignore[no-untyped-call] # google-api-core has no annotations here
        2026, 3, 2, 9, 30, 0, tzinfo=dt.UTC, nanosecond=123_456_789
    )
    message = PubsubMessage(payload(), {"a": "b"}, message_id="1", publish_time=published)
    (_, change_) = _ParseMessage("1", ACCOUNT_FIELDS, NO_SCHEMAS).process(message)
    assert isinstance(change_, AccountChange)
    assert change_.source.published_at == dt.datetime(2026, 3, 2, 9, 30, 0, 123_456, tzinfo=dt.UTC)
    coder = RecordCoder(AccountChange)
    assert coder.decode(coder.encode(change_)) == change_
