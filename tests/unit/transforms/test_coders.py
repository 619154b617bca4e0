"""Encoding of values between steps and in state."""

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import apache_beam as beam
import msgspec
import pytest
from apache_beam.coders import Coder, registry
from apache_beam.runners.pipeline_context import PipelineContext

import transforms.find.remember_accounts  # noqa: F401 - registers the coders of that stage
from schemas.account_context import EnrichedChange
from schemas.change_event import AccountChange, SourceMessage, UnnamedChange
from schemas.dead_letter import DeadLetter
from schemas.outcome import Outcome, ScoredChange, ScoringResult
from schemas.record import Record
from schemas.score import Score
from tests.fixtures.changes import change, enriched_change
from transforms.coalesce.account_state import AccountState
from transforms.coalesce.coalescing import merged_change
from transforms.coders import EnrichedChangeCoder, RecordCoder
from transforms.find.sightings import Sighting, Wanted
from transforms.record_changes import ValueKind


def test_a_decoded_change_is_equal() -> None:
    """A change with arbitrary payload bytes and non-ASCII attributes is equal after encoding and decoding."""
    value = change(source=SourceMessage(payload=bytes(range(256)), attributes={"a": "ü"}))
    coder = RecordCoder(AccountChange)
    assert coder.decode(coder.encode(value)) == value


def test_equal_values_have_equal_bytes() -> None:
    """The insertion order of a mapping does not change the bytes."""
    coder = RecordCoder(AccountChange)
    one = change(values={"Rating": "Hot", "Type": "Customer"})
    other = change(values={"Type": "Customer", "Rating": "Hot"})
    assert coder.encode(one) == coder.encode(other)
    assert coder.is_deterministic()


@pytest.mark.parametrize(
    "model",
    [AccountChange, UnnamedChange, Sighting, Wanted, DeadLetter, Outcome, Score, ScoredChange, ScoringResult],
)
def test_beam_finds_the_coder_of_each_model(model: type[Record]) -> None:
    """A step that declares a model gets our coder."""
    assert isinstance(registry.get_coder(model), RecordCoder)


def test_a_change_with_its_context_travels_as_a_record() -> None:
    """A list of them, as steps hand them on, is equal after encoding and decoding; equal ones have equal bytes."""
    coder = registry.get_coder(list[EnrichedChange])
    items = [enriched_change(1), enriched_change(2)]
    assert coder.decode(coder.encode(items)) == items
    assert coder.encode([enriched_change(1)]) == coder.encode(items[:1])
    assert pickle.loads(pickle.dumps(EnrichedChangeCoder())) == EnrichedChangeCoder()  # noqa: S301 - our own bytes
    context = PipelineContext()
    assert Coder.from_runner_api(coder.to_runner_api(context), context) == coder


def test_a_context_of_another_release_is_read() -> None:
    """What only a newer release knows is left out at any depth; what an older one did not write gets its default."""
    item = enriched_change(1)
    written = json.loads(EnrichedChangeCoder().encode(item))
    context = json.loads(written["context"])
    newer = context | {"tasks": [{"a": 1}], "profile": context["profile"] | {"mood": "good"}}
    newer["opportunities"] = [one | {"added": None} for one in context["opportunities"]]
    older = {"profile": {name: context["profile"][name] for name in ("account_id", "name", "modified_at")}}
    assert _with_context(written | {"added": 1}, newer) == item
    least = _with_context(written, older).context
    assert (least.profile.industry, least.opportunities, least.calls) == (None, (), ())
    assert least.profile.name == item.context.profile.name


def _with_context(written: dict[str, Any], context: dict[str, Any]) -> EnrichedChange:
    return EnrichedChangeCoder().decode(json.dumps(written | {"context": json.dumps(context)}).encode())


def test_a_coder_can_be_sent_to_a_worker() -> None:
    """A coder is equal after pickling, which is how Beam submits it."""
    coder = pickle.loads(pickle.dumps(RecordCoder(AccountChange)))  # noqa: S301 - our own bytes
    assert coder == RecordCoder(AccountChange)


def test_a_coder_is_equal_after_the_job_graph() -> None:
    """A coder is equal after Beam's proto, from which workers decode it."""
    coder, context = RecordCoder(AccountState), PipelineContext()
    assert Coder.from_runner_api(coder.to_runner_api(context), context) == coder


def test_grouped_changes_use_the_coder() -> None:
    """Changes in the state of GroupIntoBatches are encoded by our coder, not pickled."""
    hint = beam.typehints.Tuple[str, AccountChange]
    assert isinstance(registry.get_coder(hint).value_coder(), RecordCoder)


def test_state_and_messages_of_older_versions_are_read() -> None:
    """An updated job reads what the previous version wrote, including its JSON names and URL-safe base64."""
    lines = (Path(__file__).parents[2] / "fixtures" / "older_state.jsonl").read_bytes().splitlines()
    states = [RecordCoder(AccountState).decode(line) for line in lines[:2]]
    assert all(merged_change(state.pending).event_id == state.pending.newest.event_id for state in states)
    assert states[1].pending.evicted_fields
    assert states[1].pending.evicted_through
    kinds = {value.kind for record in states[1].pending.records.values() for value in record.values.values()}
    assert ValueKind.CHANGED in kinds
    in_flight = RecordCoder(AccountChange).decode(lines[2])
    assert in_flight.source.payload == base64.urlsafe_b64decode(json.loads(lines[2])["source"]["payload"])


def test_other_json_is_refused() -> None:
    """The fallback for URL-safe base64 accepts no other JSON."""
    with pytest.raises(msgspec.ValidationError):
        RecordCoder(AccountChange).decode(b'{"event_id": 1}')


def test_reading_older_bytes_changes_payloads_only() -> None:
    """Field values that look like a message keep their text."""
    lines = (Path(__file__).parents[2] / "fixtures" / "older_state.jsonl").read_bytes().splitlines()
    document = json.loads(lines[2])
    look_alike: dict[str, object] = {"payload": "a-b_c=", "attributes": {}, "message_id": "", "published_at": None}
    document["values"] = {"Look__c": look_alike}
    assert RecordCoder(AccountChange).decode(json.dumps(document).encode()).values == {"Look__c": look_alike}
