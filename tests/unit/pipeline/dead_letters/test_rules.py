"""When a letter is parked, and when a replay stops."""

import dataclasses

import pytest

from pipeline.dead_letters.held_letter import replayed_message
from pipeline.dead_letters.rules import (
    NO_ROOM,
    REPLAYED_OFTEN,
    SAME_AGAIN,
    parked_because,
    too_many_come_back,
)
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from tests.fixtures.letters import failed_again, held, letter


def _again(of: DeadLetter, **fields: object) -> DeadLetter:
    message = replayed_message(held(of))
    assert message
    return failed_again(message, of, **fields)


def test_a_letter_that_was_never_replayed_is_replayed() -> None:
    """Whatever its class: what it takes to mend it is for the operator to say."""
    for error_class in ErrorClass:
        assert parked_because(held(letter(error_class=error_class))) is None


def test_the_same_error_at_the_same_version_is_parked() -> None:
    """A replay that ended where it began has mended nothing."""
    assert parked_because(held(_again(letter()))) == SAME_AGAIN


def test_another_error_or_another_version_is_replayed_again() -> None:
    """Then something has changed."""
    assert parked_because(held(_again(letter(), error_class=ErrorClass.MISSING_SCORE))) is None
    assert parked_because(held(_again(letter(), pipeline_version="1.0.1"))) is None


def test_after_three_replays_a_letter_is_parked() -> None:
    """Also where it fails in another way each time."""
    current = letter()
    for number in range(3):
        assert parked_because(held(current)) is None
        current = _again(current, pipeline_version=f"1.0.{number + 1}")
    assert current.replay_count == 3
    assert parked_because(held(current)) == REPLAYED_OFTEN


def test_force_replays_what_would_be_parked() -> None:
    """The operator knows better."""
    current = _again(letter())
    assert parked_because(held(current), is_forced=True) is None


def test_force_makes_no_room() -> None:
    """A message that can't tell that it is a replay is not published as one."""
    of = held()
    full = dataclasses.replace(of, attributes=dict(of.attributes) | {f"n{number}": "" for number in range(98)})
    assert parked_because(full, is_forced=True) == NO_ROOM


@pytest.mark.parametrize(
    ("replayed", "came_back", "stops"),
    [(0, 0, False), (9, 9, False), (10, 2, False), (10, 3, True), (1_000, 200, False), (1_000, 201, True)],
)
def test_a_replay_stops_when_over_a_fifth_comes_back(replayed: int, came_back: int, stops: bool) -> None:  # noqa: FBT001
    """A handful says nothing; over 20 % of more than that does."""
    assert too_many_come_back(replayed, came_back) is stops
