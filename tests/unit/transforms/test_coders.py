"""How values travel between steps."""

import pickle

import apache_beam as beam
import pytest
from apache_beam.coders import registry

from schemas.change_event import AccountChange, SourceMessage
from schemas.record import Record
from tests.fixtures.changes import change
from transforms.coders import RecordCoder


def test_a_change_comes_back_equal_with_its_bytes() -> None:
    """Encoding loses nothing, whatever bytes the message had."""
    value = change(source=SourceMessage(payload=bytes(range(256)), attributes={"a": "ü"}))
    coder = RecordCoder(AccountChange)
    assert coder.decode(coder.encode(value)) == value


def test_equal_values_have_equal_bytes() -> None:
    """The order in which values were put together does not show."""
    coder = RecordCoder(AccountChange)
    one = change(values={"Rating": "Hot", "Type": "Customer"})
    other = change(values={"Type": "Customer", "Rating": "Hot"})
    assert coder.encode(one) == coder.encode(other)
    assert coder.is_deterministic()


@pytest.mark.parametrize("model", ["AccountChange", "DeadLetter", "Outcome", "Score", "ScoredChange", "ScoringResult"])
def test_beam_finds_the_coder_of_each_model(model: str) -> None:
    """A step that declares a model gets our coder, alone and within lists."""
    classes = {cls.__name__: cls for cls in Record.__subclasses__()}
    assert isinstance(registry.get_coder(classes[model]), RecordCoder)


def test_a_coder_can_be_sent_to_a_worker() -> None:
    """It survives pickling, as Dataflow submits it."""
    coder = pickle.loads(pickle.dumps(RecordCoder(AccountChange)))  # noqa: S301 - our own bytes
    assert coder == RecordCoder(AccountChange)


def test_the_grouping_step_uses_it() -> None:
    """Changes that wait in GroupIntoBatches' state are encoded by our coder, not pickled."""
    hint = beam.typehints.Tuple[str, AccountChange]
    assert isinstance(registry.get_coder(hint).value_coder(), RecordCoder)
