"""What a dead letter becomes: the original message, or itself on the parking lot; and when it is parked."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from pipeline.dead_letters.held_dead_letter import (
    NO_ROOM,
    REPLAYED_OFTEN,
    SAME_AGAIN,
    HeldDeadLetter,
    parked_because,
    parked_message,
    replayed_message,
)
from schemas.change_event import SourceMessage
from schemas.dead_letter import (
    ENVELOPE_ATTRIBUTES,
    MAX_ATTRIBUTES,
    MAX_MESSAGE_BYTES,
    REPLAY_ATTRIBUTES,
    DeadLetter,
    dead_letter_row,
    fits_message,
    message_attributes,
    original_attributes,
)
from schemas.failures import ErrorClass
from tests.fixtures.changes import NOW
from tests.fixtures.dead_letters import dead_letter, failed_again, held

NAMES = st.one_of(
    st.text(min_size=1, max_size=20),
    st.sampled_from(
        [*sorted(ENVELOPE_ATTRIBUTES - REPLAY_ATTRIBUTES), "original.stage", "original.", "timeout", "data"]
    ),
)
ATTRIBUTES = st.dictionaries(
    NAMES.filter(lambda name: name not in REPLAY_ATTRIBUTES), st.text(max_size=40), max_size=12
)


@given(st.binary(max_size=2_000), ATTRIBUTES)
def test_a_replay_is_the_original_message(payload: bytes, attributes: dict[str, str]) -> None:
    """With its payload and attributes, whatever their names are; the replay's attributes are added."""
    message = replayed_message(held(dead_letter(source=SourceMessage(payload=payload, attributes=attributes))))
    assert message.payload == payload
    assert message.attributes == attributes | {
        "replay_count": "1",
        "first_failed_at": NOW.isoformat(),
        "replayed_after": "gemini_timeout@1.0.0",
    }


@given(st.binary(max_size=200), ATTRIBUTES, st.integers(1, 5))
def test_replays_don_t_accumulate_attributes(payload: bytes, attributes: dict[str, str], rounds: int) -> None:
    """After any number of rounds through the pipeline the message is the original one with a higher count."""
    current = dead_letter(source=SourceMessage(payload=payload, attributes=attributes))
    for _ in range(rounds):
        message = replayed_message(held(current))
        current = failed_again(message, current)
    assert current.replay_count == rounds
    assert current.source.payload == payload
    assert original_attributes(held(current).attributes) == attributes
    again = replayed_message(held(current))
    assert again.attributes["first_failed_at"] == NOW.isoformat()


def test_a_dead_letter_and_its_row_have_one_id() -> None:
    """A message of the hold subscription can be looked up in the table."""
    written = dead_letter()
    assert held(written).dead_letter_id == dead_letter_row(written).dead_letter_id
    without_account = dead_letter(account_id=None)
    assert held(without_account).dead_letter_id == dead_letter_row(without_account).dead_letter_id


def test_a_dead_letter_names_the_model_that_was_called() -> None:
    """One that failed before the prompt names none, neither in its message nor in its row."""
    prompted, parsed = dead_letter(), dead_letter(prompt_version=None, error_class=ErrorClass.UNDECODABLE)
    assert (
        message_attributes(prompted, "gemini-x")["model"] == dead_letter_row(prompted, "gemini-x").model == "gemini-x"
    )
    assert "model" not in message_attributes(parsed, "gemini-x")
    assert dead_letter_row(parsed, "gemini-x").model is None


def test_a_parked_dead_letter_says_why() -> None:
    """It keeps its envelope, too."""
    of = held()
    message = parked_message(of, "replayed 3 times", "r1")
    assert message.payload == of.payload
    assert message.attributes == dict(of.attributes) | {"parked_because": "replayed 3 times", "parked_by": "r1"}


def test_a_message_without_an_envelope_is_not_a_dead_letter() -> None:
    """Nor is one whose time can't be read."""
    assert not HeldDeadLetter("a", "m", b"x", {}).is_dead_letter
    unreadable = dict(held().attributes) | {"failed_at": "yesterday"}
    assert not dataclasses.replace(held(), attributes=unreadable).is_dead_letter
    assert held().is_dead_letter


def test_a_message_without_room_for_an_envelope_is_published_as_it_came() -> None:
    """Pub/Sub's limits never make a dead letter unpublishable: its bundle would be retried for ever."""
    crowded = {f"name-{number}": "x" for number in range(MAX_ATTRIBUTES)}
    assert message_attributes(dead_letter(source=SourceMessage(payload=b"x", attributes=crowded))) == crowded
    large = b"x" * (MAX_MESSAGE_BYTES - 100)
    assert message_attributes(dead_letter(source=SourceMessage(payload=large, attributes={"a": "b"}))) == {"a": "b"}


@given(st.binary(max_size=100), st.dictionaries(st.text(max_size=300), st.text(max_size=1100), max_size=110))
def test_what_fits_is_within_pub_subs_limits(payload: bytes, attributes: dict[str, str]) -> None:
    """Limits are in bytes, not in characters."""
    within = (
        len(attributes) <= 100
        and all(len(name.encode()) <= 256 for name in attributes)
        and all(len(value.encode()) <= 1_024 for value in attributes.values())
    )
    assert fits_message(payload, attributes) == within


def test_a_dead_letter_without_room_for_its_count_is_not_replayed() -> None:
    """A message must say that it is a replay, or its change would be dropped as a duplicate."""
    crowded = {f"name-{number}": "x" for number in range(90)}
    of = held(dead_letter(source=SourceMessage(payload=b"x", attributes=crowded)))
    assert of.is_dead_letter
    more = dict(of.attributes) | {f"more-{number}": "x" for number in range(8)}
    assert parked_because(dataclasses.replace(of, attributes=more)) == NO_ROOM


def _again(of: DeadLetter, **fields: object) -> DeadLetter:
    message = replayed_message(held(of))
    assert message
    return failed_again(message, of, **fields)


def test_a_dead_letter_that_was_never_replayed_is_replayed() -> None:
    """Whatever its error class: the operator decides."""
    for error_class in ErrorClass:
        assert parked_because(held(dead_letter(error_class=error_class))) is None


def test_the_same_error_at_the_same_version_is_parked() -> None:
    """The replay did not help."""
    assert parked_because(held(_again(dead_letter()))) == SAME_AGAIN


def test_another_error_or_another_version_is_replayed_again() -> None:
    """Something has changed."""
    assert parked_because(held(_again(dead_letter(), error_class=ErrorClass.MISSING_SCORE))) is None
    assert parked_because(held(_again(dead_letter(), pipeline_version="1.0.1"))) is None


def test_after_three_replays_a_dead_letter_is_parked() -> None:
    """Even if it failed in another way each time."""
    current = dead_letter()
    for number in range(3):
        assert parked_because(held(current)) is None
        current = _again(current, pipeline_version=f"1.0.{number + 1}")
    assert current.replay_count == 3
    assert parked_because(held(current)) == REPLAYED_OFTEN


def test_force_replays_what_would_be_parked() -> None:
    """The operator decides."""
    current = _again(dead_letter())
    assert parked_because(held(current), is_forced=True) is None


def test_force_makes_no_room() -> None:
    """A message that has no room for its replay count is parked nevertheless."""
    of = held()
    full = dataclasses.replace(of, attributes=dict(of.attributes) | {f"n{number}": "" for number in range(98)})
    assert parked_because(full, is_forced=True) == NO_ROOM
