"""Ctrl-C, SIGTERM and SIGHUP end a command without a word: exit code 130, 143 or 129, which is 128 + the signal.

The command ends at once, because there is nothing to clean up, with two exceptions: inside `cleanup_first` the first
signal raises Interrupted, so that child processes end in order, and inside `finish_first` it sets an event. A second
signal ends the command at once there too, and so does one that comes during an import: modules have bare `except`
clauses, which would swallow Interrupted.

`handle_signals` is called before anything heavy is imported, so this module imports the standard library's small
modules only.
"""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

CLEANUP_SECONDS: Final = 15.0
"""How long a cleanup may take: child processes end within two seconds, clients whose server is gone much later."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_reactions: list[Callable[[signal.Signals], object]] = []
"""What the first signal does, the innermost last; if there is none, it ends the process."""

_last_acts: list[Callable[[], object]] = []
"""What is done before the process ends at once: quick, and without waiting for anything."""

_received: list[signal.Signals] = []

_holders: list[object] = []
"""While there is one, signals are held back."""

_held: list[Callable[[], None]] = []
"""What the signals that were held back have still to do."""


class Interrupted(KeyboardInterrupt):
    """A signal has come, and the command cleans up before it ends."""


def handle_signals() -> None:
    """Have the signals end this process as described above; signals that it was started to ignore stay ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, and background jobs of a script
            signal.signal(number, _handle)
    sys.unraisablehook = _end_if_interrupted


def exit_code(otherwise: int) -> int:
    """Return the exit code of a command: that of the signal that ended it, or else its own."""
    return 128 + _received[0] if _received else otherwise


@contextmanager
def cleanup_first() -> Iterator[None]:
    """Raise Interrupted in the body when the first signal comes, so that it can clean up."""
    with _reacting(_interrupt):
        yield


@contextmanager
def finish_first() -> Iterator[threading.Event]:
    """Yield an event that the first signal sets, so that the body can finish what it has begun."""
    interrupted = threading.Event()
    # On a thread of its own, since a signal may come while this one has the event's lock.
    with _reacting(lambda _number: _thread.start_new_thread(interrupted.set, ())):
        yield interrupted


@contextmanager
def held_back() -> Iterator[None]:
    """Let a signal wait until the body has ended, for a few milliseconds: what it starts is known by then.

    Signals come on the main thread; on another one this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _holders.append(None)
    try:
        yield
    finally:
        _holders.pop()  # from here on a signal is handled when it comes
        while _held:
            _held.pop(0)()


@contextmanager
def last_act(act: Callable[[], object]) -> Iterator[None]:
    """Do something if the process ends at once while the body runs: it must be quick, and wait for nothing."""
    _last_acts.append(act)
    try:
        yield
    finally:
        _last_acts.remove(act)


@contextmanager
def _reacting(reaction: Callable[[signal.Signals], object]) -> Iterator[None]:
    _reactions.append(reaction)
    try:
        yield
    finally:
        _reactions.remove(reaction)


def _interrupt(number: signal.Signals) -> NoReturn:
    """Have the body clean up, in silence and within some seconds."""
    if "logging" in sys.modules:
        sys.modules["logging"].disable()
    threading.excepthook = lambda _failure: None
    _thread.start_new_thread(_end_after, (CLEANUP_SECONDS,))  # it takes no lock, which this thread may have
    raise Interrupted(number.name)


def _end_after(seconds: float) -> None:
    time.sleep(seconds)
    _end_at_once()


def _handle(number: int, frame: FrameType | None) -> None:
    _received.append(signal.Signals(number))
    reaction = _end_at_once if len(_received) > 1 or not _reactions or _is_importing(frame) else _react
    if _holders:
        _held.append(reaction)
    else:
        reaction()


def _react() -> None:
    _reactions[-1](_received[0])


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end_at_once() -> NoReturn:
    for act in reversed(_last_acts):
        act()
    os._exit(exit_code(0))


def _end_if_interrupted(unraisable: "sys.UnraisableHookArgs") -> None:
    """End the process if Interrupted was raised where Python drops exceptions, such as in a callback of its own."""
    if isinstance(unraisable.exc_value, Interrupted):
        _end_at_once()
    sys.__unraisablehook__(unraisable)
