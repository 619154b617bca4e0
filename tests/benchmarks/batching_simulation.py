"""How batches fill when changes arrive at random moments: a simulation of the decision itself.

`transforms.admit.batching` decides when a batch goes on, as in the pipeline, with one shard and timers that fire on
time. `before` is what Beam's GroupIntoBatches did with a wait of one second and four shards. Seeds are fixed: the same
figures each time.
"""

import heapq
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from transforms.admit.batching import EMPTY, BatchLimits, OpenBatch, after, is_complete, with_account

_CHANGE_BYTES = 3_000
_BEFORE_WAIT, _BEFORE_SHARDS = 1.0, 4


@dataclass(frozen=True)
class Batch:
    """A batch that went on: how long each of its accounts waited, in seconds."""

    waits: Sequence[float]

    @property
    def calls(self) -> int:
        """Gemini calls that it makes."""
        return math.ceil(len(self.waits) / BatchLimits().fills_call)


Batching = Callable[[Sequence[float]], Iterator[Batch]]


def arrivals(per_minute: float, changes: int) -> list[float]:
    """Return the moments, in seconds, at which changes of a Poisson process arrive."""
    chance, moment, found = random.Random(changes), 0.0, []
    for _ in range(changes):
        moment += chance.expovariate(per_minute / 60)
        found.append(moment)
    return found


def now(moments: Sequence[float], limits: BatchLimits | None = None) -> Iterator[Batch]:
    """Yield the batches of the pipeline's decision, with one shard and a timer that fires on time."""
    limits = limits or BatchLimits()
    batch, waiting = EMPTY, list[float]()

    def complete(moment: float) -> Batch:
        nonlocal batch
        batch = after(batch, moment, limits)
        done = Batch([moment - since for since in waiting])
        waiting.clear()
        return done

    for moment in moments:
        if batch.accounts and moment >= _due(batch, limits):
            yield complete(_due(batch, limits))
        batch = with_account(batch, _CHANGE_BYTES, moment, limits)
        waiting.append(moment)
        if is_complete(batch, moment, limits):
            yield complete(moment)
    if waiting:
        yield complete(_due(batch, limits))


def _due(batch: OpenBatch, limits: BatchLimits) -> float:
    return batch.opened_at + limits.max_wait_seconds


def before(moments: Sequence[float]) -> Iterator[Batch]:
    """Yield the batches of GroupIntoBatches with a wait of one second, four shards and at most 40 accounts."""
    chance = random.Random(1)
    shards: dict[int, list[float]] = {}
    ends: list[tuple[float, int, float]] = []
    for moment in moments:
        while ends and ends[0][0] <= moment:
            end, shard, opened_at = heapq.heappop(ends)
            if shard in shards and shards[shard][0] == opened_at:
                yield Batch([end - since for since in shards.pop(shard)])
        shard = chance.randrange(_BEFORE_SHARDS)
        if shard not in shards:
            shards[shard] = []
            heapq.heappush(ends, (moment + _BEFORE_WAIT, shard, moment))
        shards[shard].append(moment)
        if len(shards[shard]) == BatchLimits().max_accounts:
            yield Batch([moment - since for since in shards.pop(shard)])
    yield from (Batch([_BEFORE_WAIT + opened[0] - since for since in opened]) for opened in shards.values())
