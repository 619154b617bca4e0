"""Batch accounts: group changes into lists that share a context query and Gemini calls."""

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from schemas.change_event import AccountChange
from schemas.record import to_json
from transforms.admit.batching import EMPTY, BatchLimits, OpenBatch, after, is_complete, with_account
from transforms.coders import RecordCoder

STAGE: Final = "Batch accounts"

_Batches = Iterator[list[AccountChange]]


def shard_of(item_id: str, shards: int) -> str:
    """Return the shard of an id: the same at each attempt."""
    return str(zlib.crc32(item_id.encode()) % shards)


@dataclass
class BatchAccounts(beam.PTransform):
    """AccountChange → list of them, which goes on when it fills a call, or after a wait (`batching.py`).

    A batch fills in each of `shards`; more of them are needed only where one key can't take all changes. What follows
    is not fused to them, so batches are worked on in parallel. A bounded input has large bundles, so it is batched
    within a bundle, without waiting and without state. `clock` returns epoch seconds and must be picklable.
    """

    limits: BatchLimits = field(default_factory=BatchLimits)
    shards: int = 1
    clock: Callable[[], float] = time.time

    def expand(self, changes: beam.PCollection[AccountChange]) -> beam.PCollection[list[AccountChange]]:
        """Shard by change, so that a busy account is not a hot key; fill batches; then break fusion."""
        size, shards = self.limits.max_accounts, self.shards
        if changes.is_bounded:
            return changes | "Batch within a bundle" >> beam.BatchElements(size, size)
        return (
            changes
            | "Shard by change"
            >> beam.Map(lambda change: (shard_of(change.event_id, shards), change)).with_output_types(
                tuple[str, AccountChange]
            )
            | "Fill batches" >> beam.ParDo(_FillBatches(self)).with_output_types(list[AccountChange])
            # Behind a key's state, one work item at a time would call Gemini, and a lost worker would pay again.
            | "Reshuffle batches" >> beam.Reshuffle()
        )


_CHANGES: Final = beam.DoFn.StateParam(BagStateSpec("batched_changes", RecordCoder(AccountChange)))
_BATCH: Final = beam.DoFn.StateParam(ReadModifyWriteStateSpec("open_batch", RecordCoder(OpenBatch)))
_WAIT_TIMER: Final = TimerSpec("batch_wait", TimeDomain.REAL_TIME)
_END_TIMER: Final = TimerSpec("batch_input_end", TimeDomain.WATERMARK)
_WAIT: Final = beam.DoFn.TimerParam(_WAIT_TIMER)
_END: Final = beam.DoFn.TimerParam(_END_TIMER)


class _FillBatches(beam.DoFn):
    """Fills the batch of a shard in its state.

    Beam's GroupIntoBatches would keep pickles there: it asks the coder registry for its input's PCollection instead of
    its elements (docs/adr/014), and a pickle can't be read by a release that adds a field.
    """

    def __init__(self, config: BatchAccounts) -> None:
        self.limits = config.limits
        self.clock = config.clock
        self.full = Metrics.counter(STAGE, "full_batches_total")
        self.waited = Metrics.counter(STAGE, "waited_batches_total")
        self.accounts = Metrics.distribution(STAGE, "accounts_in_batch")

    def process(
        self,
        element: tuple[str, AccountChange],
        changes: Any = _CHANGES,
        batch: Any = _BATCH,
        wait: Any = _WAIT,
        end: Any = _END,
    ) -> _Batches:
        """Add a change; emit the batch if that completes it."""
        now = self.clock()
        before = batch.read() or EMPTY
        filled = with_account(before, len(to_json(element[1])), now, self.limits)
        changes.add(element[1])
        if is_complete(filled, now, self.limits):
            self.full.inc()
            yield self._complete(changes, batch, filled, now)
            return
        batch.write(filled)
        if not before.accounts:
            wait.set(filled.opened_at + self.limits.max_wait_seconds)
            end.set(GlobalWindow().max_timestamp())

    @on_timer(_WAIT_TIMER)
    def on_wait(self, changes: Any = _CHANGES, batch: Any = _BATCH) -> _Batches:
        """Complete the batch that waited; a timer may fire early, late or twice."""
        filled = batch.read() or EMPTY
        if filled.accounts:
            self.waited.inc()
            yield self._stamped(changes, batch, filled)

    @on_timer(_END_TIMER)
    def on_input_end(self, changes: Any = _CHANGES, batch: Any = _BATCH) -> _Batches:
        """Complete the last batch, at a drain or at the end of the input."""
        filled = batch.read() or EMPTY
        if filled.accounts:
            yield self._stamped(changes, batch, filled)

    def _stamped(self, changes: Any, batch: Any, filled: OpenBatch) -> TimestampedValue:
        """Return the batch of a timer with the current time; by default it has that for which the timer was set."""
        now = self.clock()
        return TimestampedValue(self._complete(changes, batch, filled, now), Timestamp.of(now))

    def _complete(self, changes: Any, batch: Any, filled: OpenBatch, now: float) -> list[AccountChange]:
        complete = list(changes.read())
        changes.clear()
        batch.write(after(filled, now, self.limits))
        self.accounts.update(len(complete))
        return complete
