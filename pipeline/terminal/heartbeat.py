"""What a pipeline in this process says on a terminal: what it reads and writes, and each minute how far it is."""

import datetime as dt
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import typer

from schemas.clock import utc_now

BEAT_SECONDS: Final = 60.0

Counts = Mapping[str, int]
"""Counts by what they count, such as messages."""


def is_watched() -> bool:
    """Return whether a person watches: standard error is a terminal, and this process is in its foreground.

    The pipeline of `rescore demo`, and one that was started with `&`, leave the terminal to others.
    """
    if not sys.stderr.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except OSError:  # the terminal belongs to another session
        return False


def say(line: str) -> None:
    """Write a line to standard error if somebody watches."""
    if is_watched():
        typer.echo(line, err=True)


@contextmanager
def heartbeat(counts: Callable[[], Counts], *, every_seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Say each minute, while the body runs, what was counted and how much of it since the last minute."""
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(counts, ended, every_seconds), name="heartbeat", daemon=True)
    if is_watched():
        beating.start()
    try:
        yield
    finally:
        ended.set()


def beat_line(at: dt.datetime, now: Counts, before: Counts) -> str:
    """Return the line of a beat."""
    counts = (f"{count:,} {name} (+{count - before.get(name, 0):,})" for name, count in now.items())
    return f"{at:%H:%M:%S} UTC  {', '.join(counts)}"


def _beat(counts: Callable[[], Counts], ended: threading.Event, seconds: float) -> None:
    before: Counts = {}
    while not ended.wait(seconds):
        try:
            now = counts()
        except RuntimeError:  # a counter was added while they were read: the next beat tells
            continue
        with suppress(OSError):  # the terminal is gone
            say(beat_line(utc_now(), now, before))
        before = now
