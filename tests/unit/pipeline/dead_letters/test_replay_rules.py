"""When a replay stops by itself."""

import pytest

from pipeline.dead_letters.replay_rules import too_many_come_back


@pytest.mark.parametrize(
    ("replayed", "came_back", "stops"),
    [(0, 0, False), (1, 1, True), (4, 1, True), (5, 1, False), (10, 2, False), (10, 3, True), (1_000, 200, False)],
)
def test_a_replay_stops_when_over_a_fifth_comes_back(replayed: int, came_back: int, stops: bool) -> None:  # noqa: FBT001
    """However few were replayed: by their share, from the first batch on."""
    assert too_many_come_back(replayed, came_back) is stops
