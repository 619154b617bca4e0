"""Change events that come in one request: each by itself, byte for byte."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.api.event_intake import MAX_EVENTS, MAX_REFUSALS, TooManyEvents, events_of, take_in
from tests.fixtures.changes import account_id, payload
from transforms.filter.materiality import load_materiality
from transforms.parse.avro_schemas import NO_SCHEMAS

RULES = load_materiality()


def test_a_list_is_its_events_byte_for_byte() -> None:
    """Numbers above 2^53, spaces and doubled keys stay as they were sent."""
    parts = [b'{"a" : 12345678901234567890123}', b'{"a":1,"a":2}', b"5", b'"[1]"', b"[ 1 ]"]
    assert events_of(b" [" + b" , ".join(parts) + b"]\n") == parts
    assert events_of(payload()) == [payload()]
    assert events_of(b"[]") == []


@given(body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(body=b"[" * 100_000)
@example(body=b"[1,")
@example(body=b"[\xff]")
def test_any_bytes_are_events(body: bytes) -> None:
    """What is no list is one event, of which the parser says what is wrong."""
    for taken in take_in(body, RULES, NO_SCHEMAS):
        document = taken.document(1)
        assert document["status"] in {"accepted", "refused", "partly_accepted"}
        assert bool(document["refusals"]) is (document["status"] != "accepted")


def test_each_event_has_its_ids_and_its_reasons() -> None:
    """An event with several records can be accepted in part."""
    partly = payload(recordIds=[account_id(1), "001bad"])
    body = b"[" + b",".join([payload(), partly, b'{"no": "event"}', b"nonsense"[:0] + b"1"]) + b"]"
    taken = take_in(body, RULES, NO_SCHEMAS)
    documents = [it.document(number) for number, it in enumerate(taken, 1)]
    assert [it["status"] for it in documents] == ["accepted", "partly_accepted", "refused", "refused"]
    assert [len(it["event_ids"]) for it in documents] == [1, 1, 0, 0]
    assert [it["refusals"][0]["error_class"] for it in documents[1:]] == ["invalid_event"] * 3
    assert "not a record id" in documents[1]["refusals"][0]["message"]
    assert taken[1].payload == partly


def test_an_immaterial_event_is_accepted() -> None:
    """The pipeline's ledger says that it was skipped, and why."""
    (taken,) = take_in(payload({"Fax": "1"}, changedFields=["Fax"]), RULES, NO_SCHEMAS)
    assert (len(taken.event_ids), taken.refusals) == (1, ())


def test_lists_and_refusals_are_bounded() -> None:
    """A request can't have more events, nor an answer more reasons, than anybody reads."""
    with pytest.raises(TooManyEvents, match="1,001 events"):
        take_in(json.dumps([1] * (MAX_EVENTS + 1)).encode(), RULES, NO_SCHEMAS)
    (taken,) = take_in(payload(recordIds=[f"001bad{number}" for number in range(100)]), RULES, NO_SCHEMAS)
    assert 0 < len(taken.document(1)["refusals"]) <= MAX_REFUSALS
