"""Records that are made without validation are no different from those that were validated."""

import copy
import pickle

from schemas.change_event import AccountChange
from schemas.record import replaced, trusted
from tests.fixtures.changes import change


def _trusted() -> AccountChange:
    return trusted(AccountChange)(**{name: getattr(change(), name) for name in AccountChange.model_fields})


def test_a_trusted_record_is_the_validated_one() -> None:
    """It is equal, has the same JSON to the byte, and the fields it was made without have their defaults."""
    assert _trusted() == change()
    assert _trusted().model_dump_json() == change().model_dump_json()
    given = {name: getattr(change(), name) for name in AccountChange.model_fields if name != "coalesced"}
    assert trusted(AccountChange)(**given) == change()


def test_the_order_of_arguments_does_not_show() -> None:
    """The JSON has the model's order, so that equal values have equal bytes."""
    backwards = {name: getattr(change(), name) for name in reversed(AccountChange.model_fields)}
    assert trusted(AccountChange)(**backwards).model_dump_json() == change().model_dump_json()


def test_a_replaced_field_leaves_the_original_be() -> None:
    """A copy has the new value; both stay in the model's order."""
    original = change()
    other = replaced(original, trace_id="t")
    assert other.trace_id == "t"
    assert original == change()
    assert other == change(trace_id="t")
    assert other.model_dump_json() == change(trace_id="t").model_dump_json()


def test_a_trusted_record_is_copied_and_pickled_like_any() -> None:
    """What pydantic and Python do with a record works on it."""
    record = _trusted()
    assert copy.copy(record) == record
    assert pickle.loads(pickle.dumps(record)) == record  # noqa: S301 - our own bytes
    assert record.model_copy(update={"trace_id": "t"}).trace_id == "t"
    assert record.trace_id != "t"
