"""Records: frozen, with equal JSON for equal values, and convertible to rows and back."""

import copy
import pickle

import msgspec
import pytest
from msgspec.structs import replace

from schemas.change_event import AccountChange
from schemas.outcome import Outcome, OutcomeKind
from schemas.record import from_row, to_json, to_row
from tests.fixtures.changes import NOW, change


def _outcome() -> Outcome:
    return Outcome(
        event_id="e1",
        outcome=OutcomeKind.RECEIVED,
        stage="Parse change events",
        recorded_at=NOW,
        trace_id="t1",
        pipeline_version="1",
    )


def test_a_record_is_frozen() -> None:
    """A step can't change a value that another step holds too."""
    with pytest.raises(AttributeError):
        change().trace_id = "t"  # type: ignore[misc]


def test_equal_records_have_equal_json() -> None:
    """The insertion order of a mapping does not change the JSON."""
    one, other = change(values={"Rating": "Hot", "Type": "x"}), change(values={"Type": "x", "Rating": "Hot"})
    assert one == other
    assert to_json(one) == to_json(other)
    assert msgspec.json.decode(to_json(one), type=AccountChange) == other


def test_a_replaced_field_leaves_the_original_alone() -> None:
    """The copy has the new value; the original keeps the old one."""
    original = change()
    assert replace(original, trace_id="t") == change(trace_id="t")
    assert original == change()


def test_a_record_is_copied_and_pickled_like_any_value() -> None:
    """Beam copies and pickles values for which it has no coder."""
    assert copy.copy(change()) == change()
    assert pickle.loads(pickle.dumps(change())) == change()  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "changes",
    [{"committed_at": "2026-03-02T09:30:00"}, {"account_id": "003000000000001AAA"}, {"sequence_number": "1"}],
)
def test_decoding_checks_types(changes: dict[str, object]) -> None:
    """A time without a zone, an id of another object, and a number as text are refused."""
    document = msgspec.json.decode(to_json(change())) | changes
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(document), type=AccountChange)


def test_a_row_leaves_empty_columns_out_and_becomes_the_record_again() -> None:
    """BigQuery takes a missing column for NULL; values that equal a default are written."""
    row = to_row(_outcome())
    assert "reason" not in row
    assert row["replay_count"] == 0
    assert from_row(Outcome, row) == _outcome()


def test_a_row_of_another_type_is_refused_without_its_value() -> None:
    """The error names the column, not the value, which can be CRM text."""
    with pytest.raises(msgspec.ValidationError, match="event_id") as refusal:
        from_row(Outcome, to_row(_outcome()) | {"event_id": 5_551_234})
    assert "5551234" not in str(refusal.value)
