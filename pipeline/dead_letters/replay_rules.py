"""When a replay stops by itself; pure."""

from typing import Final

MAX_CAME_BACK_SHARE: Final = 0.2
"""A replay stops if a larger share of what it published fails again, also of its first batch: its cause exists."""


def too_many_come_back(replayed: int, came_back: int) -> bool:
    """Return whether a replay stops because too large a share of what it published failed again."""
    return came_back > MAX_CAME_BACK_SHARE * replayed
