"""The order in which the local runner evaluates bundles."""

from collections.abc import Iterable
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
class _Element:
    value: Any


@dataclass(eq=False)
class _Bundle:
    pcollection: _PCollection
    value: Any

    def get_elements_iterable(self) -> Iterable[_Element]:
        return iter([_Element(self.value)])


@dataclass(eq=False)
class _Update:
    """Stands for Beam's _ExecutorUpdate: a committed bundle, or an error."""

    committed_bundle: _Bundle | None = None


READ, BATCH, SCORE, WRITE = STEPS = [_Step() for _ in range(4)]
MESSAGES, BATCHES, SCORES, NOTHING = (_PCollection(step) for step in STEPS)


def _of(pcollection: _PCollection, value: Any = "element") -> _Update:
    return _Update(_Bundle(pcollection, value))


def _batch(pcollection: _PCollection) -> _Update:
    return _of(pcollection, ["element"])


def _queue(*updates: _Update) -> UpdateQueue:
    steps: Any = STEPS
    queue = UpdateQueue(steps, {MESSAGES, BATCHES, SCORES})
    for update in updates:
        queue.offer(update)
    return queue


def _polled(queue: UpdateQueue, times: int) -> list[Any]:
    return [queue.poll() for _ in range(times)]


def test_the_batch_that_is_furthest_along_is_given_alone() -> None:
    """Beam gets one batch, and None, upon which it evaluates the batch."""
    first, second, scored = _batch(BATCHES), _batch(BATCHES), _batch(SCORES)
    queue = _queue(first, second, scored)
    assert _polled(queue, 7) == [scored, None, first, None, second, None, None]


def test_what_a_batch_leads_to_overtakes_the_next_batch() -> None:
    """A result goes on before another batch is worked on."""
    first, second = _batch(BATCHES), _batch(BATCHES)
    queue = _queue(first, second)
    assert _polled(queue, 2) == [first, None]
    scores = _batch(SCORES)
    queue.offer(scores)
    assert _polled(queue, 4) == [scores, None, second, None]


def test_other_bundles_go_on_together_before_any_batch() -> None:
    """So a batch is filled before one is worked on."""
    batch, messages, more = _batch(BATCHES), _of(MESSAGES), _of(MESSAGES)
    queue = _queue(batch, messages, more)
    assert _polled(queue, 5) == [messages, more, None, batch, None]


def test_what_is_no_bundle_does_not_hold_up_the_batches() -> None:
    """With an error or an unprocessed bundle alone Beam would have nothing to do, and would read messages."""
    batch, error = _batch(BATCHES), _Update()
    assert _polled(_queue(batch, error), 3) == [error, batch, None]


def test_a_bundle_that_no_step_reads_is_dropped() -> None:
    """It would end a round in which Beam then has nothing to do."""
    batch = _batch(BATCHES)
    assert _polled(_queue(_of(NOTHING), batch, _batch(NOTHING)), 3) == [batch, None, None]


def test_a_composite_is_as_deep_as_its_last_step() -> None:
    """As in Beam's watermarks, a composite step stands for the last of its steps."""
    steps: Any = STEPS
    composite = _PCollection(_Step([_Step(), WRITE]))
    scored, written = _batch(SCORES), _batch(composite)
    queue = UpdateQueue(steps, {SCORES, composite})
    for update in (scored, written):
        queue.offer(update)
    assert queue.poll() is written
