"""`python -m tests.benchmarks.held_accounts`: a firing of the timer of the token budget with 100,000 held accounts.

Before: four bags, each read as a whole, sorted, and written back but for the accounts that the budget admits. Now: an
account a key. State is bytes in memory, as in FnApiRunner; a runner's own cost of reading it comes on top, in both.
"""

import time
import tracemalloc
from collections.abc import Callable
from typing import Final, NamedTuple

from schemas.change_event import AccountChange
from tests.fixtures.changes import account_id, change
from transforms.admit.held_accounts import HeldAccount, next_check, with_change
from transforms.coders import RecordCoder

HELD: Final = 100_000
BAGS: Final = 4
ADMITTED: Final = 1
PAYLOAD: Final = 2_000
"""Bytes of an event."""
_FIRINGS: Final = 2_000
_CHANGES: Final = RecordCoder(AccountChange)
_STATES: Final = RecordCoder(HeldAccount)


class Firing(NamedTuple):
    """What one firing costs: seconds, and the peak of what it allocates, in bytes."""

    seconds: float
    peak: int


def of_a_bag(bag: list[bytes]) -> list[bytes]:
    """Do what a firing did until 0.1.0: return the bag without the account that is admitted."""
    waiting = sorted(map(_CHANGES.decode, bag), key=lambda it: it.order)
    return [*map(_CHANGES.encode, waiting[ADMITTED:])]


def of_an_account(state: bytes, now: float) -> float:
    """Do what a firing does that admits nothing, the dearer one: return when the account is checked again."""
    waiting = _STATES.decode(state)
    return next_check(waiting.change.account_id, waiting.held_at, now)


def measured(fire: Callable[[], object], times: int) -> Firing:
    """Return the cost of a firing, the mean of some; memory is measured apart, because that takes time."""
    started = time.perf_counter()
    for _ in range(times):
        fire()
    seconds = (time.perf_counter() - started) / times
    tracemalloc.start()
    fire()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Firing(seconds, peak)


def run() -> None:
    """Print the cost of one firing, and of a change that comes while its account waits, before and now."""
    source = change().source
    held = [
        change(number, source=type(source)(payload=b"x" * PAYLOAD, message_id=str(number)))
        for number in range(HELD // BAGS)
    ]
    bag = [*map(_CHANGES.encode, held)]
    state = _STATES.encode(HeldAccount(change=held[0], held_at=0.0))
    newer = change(0, event_id="f" * 32, sequence_number=2, account_id=account_id(0))
    rows = {
        f"a bag of {HELD // BAGS:,}": measured(lambda: of_a_bag(bag), 1),
        "an account": measured(lambda: of_an_account(state, 100.0), _FIRINGS),
        "a change comes": measured(lambda: with_change(_STATES.decode(state).change, newer), _FIRINGS),
    }
    print(f"\nToken budget, {HELD:,} accounts held, events of {PAYLOAD:,} bytes")  # noqa: T201 - a report for people
    for name, firing in rows.items():
        print(f"  {name:<16} {firing.seconds * 1e3:>10.3f} ms {firing.peak / 1e6:>9.3f} MB")  # noqa: T201


if __name__ == "__main__":
    run()
