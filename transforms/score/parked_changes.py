"""Parked changes: what waits for the end of an outage of Gemini outside of a bundle, in keyed state."""

import hashlib
import random
from collections.abc import Iterable, Sequence

from schemas.account_context import EnrichedChange, context_from_json, context_to_json
from schemas.change_event import AccountChange
from schemas.record import Record


class ParkedChange(Record, frozen=True):
    """A change that Gemini could not score, and its context as it was then.

    Attributes:
        change: The change.
        context: Its account's context as JSON.
        failed_at: Epoch seconds of the first try; the deadline runs from then.
    """

    change: AccountChange
    context: str
    failed_at: float = 0.0

    @classmethod
    def of(cls, item: EnrichedChange, failed_at: float) -> "ParkedChange":
        """Return the change as it is kept."""
        return cls(change=item.change, context=context_to_json(item.context), failed_at=failed_at)

    def enriched(self) -> EnrichedChange:
        """Return the change as it is scored; parts of the context that only a newer release knows are left out."""
        return EnrichedChange(change=self.change, context=context_from_json(self.context))


def parking_key(batch: Sequence[EnrichedChange]) -> str:
    """Return the key of a batch's parked changes: each batch has its own, so that batches are released side by side.

    It is the same when a bundle is repeated. Two batches can have the same, such as a replay's; their changes are then
    released together.
    """
    ids = "".join(sorted(item.change.event_id for item in batch))
    return hashlib.sha256(ids.encode()).hexdigest()[:32]


def next_try(now: float, deadline: float, seconds: float) -> float:
    """Return when parked changes are tried again: after half to all of some seconds, and not after their deadline."""
    spread = random.uniform(seconds / 2, seconds)
    return max(now, min(now + spread, deadline))


def deadline_of(parked: Iterable[ParkedChange], seconds: float) -> float:
    """Return the first deadline of some changes, in epoch seconds; each has `seconds` from its first try."""
    return min(it.failed_at for it in parked) + seconds
