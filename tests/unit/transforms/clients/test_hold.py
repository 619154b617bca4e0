"""A hold: a time that runs from the first wait, however many share it."""

from transforms.clients.hold import Hold


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_time_runs_from_the_first_wait() -> None:
    """Work before the first wait does not count, and later waits don't start it again."""
    clock = _Clock()
    hold = Hold(60.0, clock)
    clock.now += 1_000
    assert (hold.has_begun, hold.is_over, hold.seconds_left) == (False, False, 60.0)
    hold.begin()
    clock.now += 20
    hold.begin()
    assert (hold.has_begun, hold.is_over, hold.seconds_left) == (True, False, 40.0)
    clock.now += 100
    assert (hold.is_over, hold.seconds_left) == (True, 0.0)


def test_a_hold_of_nothing_is_over_from_the_start() -> None:
    """What may not wait is refused at once."""
    assert Hold(0.0).is_over
