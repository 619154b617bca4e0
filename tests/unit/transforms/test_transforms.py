"""The first stages in Beam: outputs, batches, counters."""

import datetime as dt
from collections import Counter
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import TimestampedValue
from google.api_core.datetime_helpers import DatetimeWithNanoseconds

from schemas.change_event import AccountChange
from schemas.outcome import OutcomeKind
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, change, payload
from transforms.admit.batch_accounts import BatchAccounts, shard_of
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


def test_a_batch_ends_when_it_is_full_or_old() -> None:
    """A full batch is emitted at once; an incomplete batch is emitted when its first change has waited long enough."""
    changes = [change(number) for number in range(5)]
    stream = TestStream().advance_watermark_to(0).add_elements([TimestampedValue(item, 0) for item in changes])
    # GroupIntoBatches reads the wall clock, but TestStream's clock starts at 0: advance it past any wait.
    stream = stream.advance_processing_time(2**32).advance_watermark_to_infinity()

    def check(batches: list[list[Any]]) -> None:
        assert sorted(len(batch) for batch in batches) == [2, 3]
        assert sorted(item.event_id for batch in batches for item in batch) == [item.event_id for item in changes]

    with TestPipeline(options=PipelineOptions(["--streaming"])) as pipeline:
        batches = pipeline | stream | BatchAccounts(max_batch_size=3, max_wait_seconds=1, shards=1) | beam.Map(list)
        assert_that(batches, check)


def test_a_shard_is_the_same_everywhere() -> None:
    """A change's shard depends on its event id only; shards are used evenly, also by changes of one account."""
    shards = Counter(shard_of(f"{number:032x}", 4) for number in range(1_000))
    assert set(shards) == {"0", "1", "2", "3"}
    assert min(shards.values()) > 150
    assert shard_of("3f2a", 4) == "2"


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
