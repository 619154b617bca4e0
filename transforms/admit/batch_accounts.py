"""Batch accounts: group changes into lists that share a context query and Gemini calls."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import apache_beam as beam

from schemas.change_event import AccountChange

STAGE: Final = "Batch accounts"


def shard_of(item_id: str, shards: int) -> str:
    """Return the shard of an id: the same at each attempt."""
    return str(zlib.crc32(item_id.encode()) % shards)


@dataclass
class BatchAccounts(beam.PTransform):
    """AccountChange → list of at most `max_batch_size` of them, after `max_wait_seconds` at the latest.

    Batches are filled in parallel: `shards` times the number of shards that the runner makes of each, by throughput on
    Dataflow (autosharding), one for each thread elsewhere. A bounded input has large bundles, so it is batched within a
    bundle, without waiting and without state.
    """

    max_batch_size: int = 40
    max_wait_seconds: float = 1.0
    shards: int = 4

    def expand(self, changes: beam.PCollection[AccountChange]) -> beam.PCollection[Iterable[AccountChange]]:
        """Shard by change, so that a busy account is not a hot key; then batch within a shard, in its state."""
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
