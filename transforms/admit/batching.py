"""When a batch of accounts is complete: the decision, without Beam.

A batch shares one context query and fills calls to Gemini, so it should be large; and every account in it waits, so it
should be soon. While changes are slow a batch is complete as soon as it fills one call, or after the longest wait.
While they are fast a call fills at once, and batches grow until filling one takes `FILL_SECONDS`, to share queries.
"""

from dataclasses import dataclass
from typing import Final

from schemas.record import Record

FILL_SECONDS: Final = 0.7
"""What filling a batch may take once changes fill a call faster than that."""

MAX_BATCH_BYTES: Final = 16_000_000
"""Of the changes of a batch as JSON; Dataflow refuses commits of some 180 MB (apache/beam #19956)."""


@dataclass(frozen=True)
class BatchLimits:
    """How large a batch may be, and how long its first account may wait.

    Attributes:
        fills_call: Accounts of one call to Gemini: a batch is never complete with fewer, unless time is up.
        max_accounts: Accounts of one batch.
        max_wait_seconds: From the first account until the batch is complete, however few there are.
    """

    fills_call: int = 5
    max_accounts: int = 40
    max_wait_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            ValueError: A size is not positive.
        """
        if min(self.fills_call, self.max_accounts) < 1 or self.max_wait_seconds < 0:
            raise ValueError("expected sizes of 1 or more and a wait of 0 or more")

    @property
    def smallest(self) -> int:
        """Accounts with which a batch is complete while changes are slow."""
        return min(self.fills_call, self.max_accounts)


class OpenBatch(Record, frozen=True):
    """What is known of the batch that fills, without its accounts.

    Attributes:
        target: Accounts with which it is complete; it follows from how fast the batch before filled.
        opened_at: Epoch seconds of its first account; 0 while it is empty.
        accounts: Accounts in it.
        size: Bytes of their changes.
    """

    target: int = 0
    opened_at: float = 0.0
    accounts: int = 0
    size: int = 0


EMPTY: Final = OpenBatch()


def with_account(batch: OpenBatch, size: int, now: float, limits: BatchLimits) -> OpenBatch:
    """Return the batch with one more account, whose change has `size` bytes."""
    return OpenBatch(
        target=batch.target or limits.smallest,
        opened_at=batch.opened_at if batch.accounts else now,
        accounts=batch.accounts + 1,
        size=batch.size + size,
    )


def is_complete(batch: OpenBatch, now: float, limits: BatchLimits) -> bool:
    """Return whether the batch goes on now."""
    return batch.accounts > 0 and (
        batch.accounts >= min(batch.target, limits.max_accounts)
        or batch.size >= MAX_BATCH_BYTES
        or now >= batch.opened_at + limits.max_wait_seconds
    )


def after(batch: OpenBatch, now: float, limits: BatchLimits) -> OpenBatch:
    """Return the empty batch that follows one: for twice as many accounts if that filled fast, half if it was slow."""
    filled = batch.accounts >= batch.target
    seconds = now - batch.opened_at
    if filled and seconds <= FILL_SECONDS / 2:
        target = batch.target * 2
    elif seconds > FILL_SECONDS:
        target = batch.target // 2
    else:
        target = batch.target
    # Whole calls: a batch of 7 would make a call of 5 and one of 2.
    calls = max(1, min(target, limits.max_accounts) // limits.smallest)
    return OpenBatch(target=calls * limits.smallest)
