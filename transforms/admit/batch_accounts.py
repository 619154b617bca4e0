"""Batch accounts: single changes → lists of changes that share a context query and Gemini calls."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import apache_beam as beam

from schemas.change_event import AccountChange

STAGE: Final = "Batch accounts"


def shard_of(event_id: str, shards: int) -> str:
    """Return the shard of a change: the same however often it is tried again, and no matter whose account it is."""
    return str(zlib.crc32(event_id.encode()) % shards)


@dataclass
class BatchAccounts(beam.PTransform):
    """AccountChange → list of at most `max_batch_size` of them, the first no older than `max_wait_seconds`.

    Batches fill up side by side in `shards`, times as many as the runner makes of each: Dataflow's autosharding decides
    by throughput, other runners have one for each thread. A bounded input, whose bundles are large, is batched within a
    bundle: there is no time to wait for, and no state.
    """

    max_batch_size: int = 40
    max_wait_seconds: float = 1.0
    shards: int = 4

    def expand(self, changes: beam.PCollection[AccountChange]) -> beam.PCollection[Iterable[AccountChange]]:
        """Shard by change, so that a hot account is no hot key; then batch within a shard, whose state holds it."""
        if changes.is_bounded:
            return changes | "Batch within a bundle" >> beam.BatchElements(self.max_batch_size, self.max_batch_size)
        shards = self.shards
        return (
            changes
            | "Shard by change"
            >> beam.Map(lambda change: (shard_of(change.event_id, shards), change)).with_output_types(
                tuple[str, AccountChange]
            )
            | "Group into batches"
            >> beam.GroupIntoBatches.WithShardedKey(
                self.max_batch_size, max_buffering_duration_secs=self.max_wait_seconds
            )
            | "Drop shard" >> beam.Values()
        )
