"""Calls with a total deadline."""

import threading

import pytest

from transforms.clients.deadlines import within


class _Fault(Exception):
    """The service does not answer."""


def test_a_call_past_its_deadline_is_abandoned() -> None:
    """TimeoutError is raised at the deadline, although the call does not end."""
    never = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.01, never.wait)
    never.set()


def test_a_call_within_its_deadline_has_its_own_outcome() -> None:
    """Its result is returned, or its exception raised."""
    assert within(60, lambda: 3) == 3
    with pytest.raises(_Fault):
        within(60, _raise)


def _raise() -> None:
    raise _Fault
