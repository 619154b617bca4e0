"""Calls with a total deadline."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what a call returns, made on a thread of its own: clients bound each wait for bytes, but not their sum.

    Raises:
        TimeoutError: It takes longer. The call goes on in its thread, and its result is dropped.
        Exception: The call's own.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            outcome.set_exception(error)

    # A daemon: an abandoned call ends with its last wait, or with the process.
    threading.Thread(target=run, name="within-deadline", daemon=True).start()
    return outcome.result(timeout=seconds)
