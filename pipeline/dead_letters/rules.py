"""When a letter is parked, and when a replay stops; pure."""

from typing import Final

from pipeline.dead_letters.held_letter import HeldLetter, replayed_message
from schemas.dead_letter import REPLAYED_AFTER

MAX_REPLAYS: Final = 3
"""A letter that failed after so many replays waits for a person, on the parking lot."""

MAX_COME_BACK_SHARE: Final = 0.2
"""Of what a replay published; above, its cause is not mended, and going on makes the same letters again."""

MIN_JUDGED: Final = 10
"""Letters replayed before the share says anything."""

REPLAYED_OFTEN: Final = f"replayed {MAX_REPLAYS} times"
SAME_AGAIN: Final = "same error again at the same pipeline version"
NO_ROOM: Final = "no room for replay_count among its attributes"


def parked_because(letter: HeldLetter, *, is_forced: bool = False) -> str | None:
    """Return why a letter is to be parked rather than replayed, or None.

    Args:
        letter: A letter with its envelope.
        is_forced: The operator knows better, and has it replayed all the same.
    """
    if replayed_message(letter) is None:
        return NO_ROOM
    if is_forced:
        return None
    if letter.replay_count >= MAX_REPLAYS:
        return REPLAYED_OFTEN
    if letter.replay_count and letter.attributes.get(REPLAYED_AFTER) == letter.failure:
        return SAME_AGAIN
    return None


def too_many_come_back(replayed: int, came_back: int) -> bool:
    """Whether a replay is to stop because what it replays fails again."""
    return replayed >= MIN_JUDGED and came_back > MAX_COME_BACK_SHARE * replayed
