"""The order in which the local runner evaluates bundles."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.local.update_queue import UpdateQueue


@dataclass(eq=False)
class _Step:
    """Stands for Beam's AppliedPTransform."""

    parts: list["_Step"] = field(default_factory=list)


@dataclass(eq=False)
class _PCollection:
    producer: _Step


@dataclass(eq=False)
class _Bundle:
    pcollection: _PCollection


@dataclass(eq=False)
class _Update:
    """Stands for Beam's _ExecutorUpdate: a committed bundle, or an error."""

    committed_bundle: _Bundle | None = None


READ, PARSE, SCORE, WRITE = (_Step() for _ in range(4))
MESSAGES, CHANGES, SCORES, NOTHING = (_PCollection(step) for step in (READ, PARSE, SCORE, WRITE))


def _of(pcollection: _PCollection) -> _Update:
    return _Update(_Bundle(pcollection))


def _queue(*updates: _Update) -> UpdateQueue:
    queue: Any = UpdateQueue([READ, PARSE, SCORE, WRITE], {MESSAGES, CHANGES, SCORES})
    for update in updates:
        queue.offer(update)
    taken: UpdateQueue = queue
    return taken


def test_the_bundle_that_is_furthest_along_comes_first() -> None:
    """Beam gets one bundle a round, and None at the end of the round."""
    message, score, change = _of(MESSAGES), _of(SCORES), _of(CHANGES)
    queue = _queue(message, score, change)
    assert [queue.poll() for _ in range(7)] == [score, None, change, None, message, None, None]


def test_bundles_of_one_step_keep_their_order() -> None:
    """The older of two bundles of a step goes on first."""
    older, newer = _of(CHANGES), _of(CHANGES)
    queue = _queue(older, newer)
    assert [queue.poll() for _ in range(3)] == [older, None, newer]


def test_what_a_bundle_leads_to_overtakes_what_waits() -> None:
    """A result that comes while bundles wait goes on before them."""
    first, second, score = _of(CHANGES), _of(CHANGES), _of(SCORES)
    queue = _queue(first, second)
    assert [queue.poll(), queue.poll()] == [first, None]
    queue.offer(score)
    assert [queue.poll() for _ in range(3)] == [score, None, second]


def test_an_error_comes_before_every_bundle() -> None:
    """Errors and bundles that were not processed don't end the round."""
    score, error = _of(SCORES), _Update()
    queue = _queue(score, error)
    assert [queue.poll() for _ in range(3)] == [error, score, None]


def test_a_bundle_that_no_step_reads_is_dropped() -> None:
    """It would end a round in which Beam then has nothing to do, and reads messages although others wait."""
    change = _of(CHANGES)
    queue = _queue(_of(NOTHING), change)
    assert [queue.poll() for _ in range(3)] == [change, None, None]


def test_the_bundle_of_a_composite_is_as_deep_as_its_last_step() -> None:
    """As in Beam, a composite step stands for the last of its steps."""
    score, written = _of(SCORES), _of(_PCollection(_Step([_Step(), WRITE])))
    queue: Any = UpdateQueue([READ, PARSE, SCORE, WRITE], {SCORES, written.committed_bundle.pcollection})  # type: ignore[union-attr] # it has one
    queue.offer(score)
    queue.offer(written)
    assert queue.poll() is written
