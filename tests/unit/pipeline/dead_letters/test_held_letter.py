"""What a letter becomes: the message as it first came, or the letter as it is, on the parking lot."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from pipeline.dead_letters.held_letter import HeldLetter, parked_message, replayed_message
from schemas.change_event import SourceMessage
from schemas.dead_letter import (
    ENVELOPE_ATTRIBUTES,
    MAX_ATTRIBUTES,
    MAX_MESSAGE_BYTES,
    REPLAY_ATTRIBUTES,
    dead_letter_row,
    fits_message,
    message_attributes,
    original_attributes,
)
from schemas.failures import ErrorClass
from tests.fixtures.changes import NOW
from tests.fixtures.letters import failed_again, held, letter

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
    """Payload and attributes are those that first came, whatever they are called; the replay's own are added."""
    message = replayed_message(held(letter(source=SourceMessage(payload=payload, attributes=attributes))))
    assert message
    assert message.payload == payload
    assert message.attributes == attributes | {
        "replay_count": "1",
        "first_failed_at": NOW.isoformat(),
        "replayed_after": "gemini_timeout@1.0.0",
    }


@given(st.binary(max_size=200), ATTRIBUTES, st.integers(1, 5))
def test_replays_don_t_pile_up_in_the_message(payload: bytes, attributes: dict[str, str], rounds: int) -> None:
    """After any number of rounds through the pipeline the message is the original one, and the count has gone up."""
    current = letter(source=SourceMessage(payload=payload, attributes=attributes))
    for _ in range(rounds):
        message = replayed_message(held(current))
        assert message
        current = failed_again(message, current)
    assert current.replay_count == rounds
    assert current.source.payload == payload
    assert original_attributes(held(current).attributes) == attributes
    again = replayed_message(held(current))
    assert again
    assert again.attributes["first_failed_at"] == NOW.isoformat()


def test_a_letter_and_its_row_have_one_identity() -> None:
    """What the hold subscription has is found in the table."""
    written = letter()
    assert held(written).letter_id == dead_letter_row(written).dead_letter_id
    without_account = letter(account_id=None)
    assert held(without_account).letter_id == dead_letter_row(without_account).dead_letter_id


def test_a_letter_tells_the_model_it_got_as_far_as() -> None:
    """One that failed before there was a prompt tells of none, neither in its message nor in its row."""
    prompted, parsed = letter(), letter(prompt_version=None, error_class=ErrorClass.UNDECODABLE)
    assert (
        message_attributes(prompted, "gemini-x")["model"] == dead_letter_row(prompted, "gemini-x").model == "gemini-x"
    )
    assert "model" not in message_attributes(parsed, "gemini-x")
    assert dead_letter_row(parsed, "gemini-x").model is None


def test_a_parked_letter_says_why() -> None:
    """It keeps its envelope, so that whoever looks into the parking lot knows what happened."""
    of = held()
    message = parked_message(of, "replayed 3 times", "r1")
    assert message.payload == of.payload
    assert message.attributes == dict(of.attributes) | {"parked_because": "replayed 3 times", "parked_by": "r1"}


def test_a_message_of_strangers_is_no_letter() -> None:
    """Without envelope, or with a time that is none, nothing is concluded from it."""
    assert not HeldLetter("a", "m", b"x", {}).is_letter
    assert not dataclasses.replace(held(), attributes=dict(held().attributes) | {"failed_at": "yesterday"}).is_letter
    assert held().is_letter


def test_a_message_without_room_for_an_envelope_is_published_as_it_came() -> None:
    """Pub/Sub's limits never make a letter unpublishable: a bundle would repeat for ever, and hold all others up."""
    crowded = {f"name-{number}": "x" for number in range(MAX_ATTRIBUTES)}
    assert message_attributes(letter(source=SourceMessage(payload=b"x", attributes=crowded))) == crowded
    large = b"x" * (MAX_MESSAGE_BYTES - 100)
    assert message_attributes(letter(source=SourceMessage(payload=large, attributes={"a": "b"}))) == {"a": "b"}


@given(st.binary(max_size=100), st.dictionaries(st.text(max_size=300), st.text(max_size=1100), max_size=110))
def test_what_fits_is_within_pub_subs_limits(payload: bytes, attributes: dict[str, str]) -> None:
    """Limits are of bytes, not of characters."""
    within = (
        len(attributes) <= 100
        and all(len(name.encode()) <= 256 for name in attributes)
        and all(len(value.encode()) <= 1_024 for value in attributes.values())
    )
    assert fits_message(payload, attributes) == within


def test_a_letter_without_room_for_its_count_is_not_replayed() -> None:
    """A message must tell that it is a replay, or its change would count as a duplicate."""
    crowded = {f"name-{number}": "x" for number in range(90)}
    of = held(letter(source=SourceMessage(payload=b"x", attributes=crowded)))
    assert of.is_letter
    more = dict(of.attributes) | {f"more-{number}": "x" for number in range(8)}
    assert replayed_message(dataclasses.replace(of, attributes=more)) is None
