"""`python -m tests.benchmarks.bounded_state`: the memory of the states after a million changes; about three minutes."""

import datetime as dt
import random
import resource
import sys

from msgspec.structs import replace

from schemas.record import to_json
from tests.fixtures.changes import COMMITTED_AT, account_id, change
from transforms.coalesce.account_state import AccountState, CoalescingLimits
from transforms.coalesce.coalescing import end_window, receive

EVENTS = 1_000_000
ACCOUNTS = 8_803
STEPS = 10
LIMITS = CoalescingLimits()


def run() -> None:
    """Print, ten times during the run, the size of the accounts' states and the process's peak memory."""
    dice = random.Random(1)
    plain = [change(account) for account in range(ACCOUNTS)]
    states: dict[str, AccountState] = {account_id(account): AccountState() for account in range(ACCOUNTS)}
    print("events     states, MB   process peak, MB")  # noqa: T201 - a report for people
    for number in range(EVENTS):
        now = number / 10
        came = replace(
            plain[dice.randrange(ACCOUNTS)],
            event_id=f"{number:032x}",
            committed_at=COMMITTED_AT + dt.timedelta(seconds=int(now)),
        )
        state, _ = receive(states[came.account_id], came, now, LIMITS)
        if state.is_due(now + LIMITS.window_seconds):
            state, _, _ = end_window(state, LIMITS)
        states[came.account_id] = state
        if (number + 1) % (EVENTS // STEPS) == 0:
            held = sum(len(to_json(state)) for state in states.values()) / 1e6
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{number + 1:>9,}  {held:>10.1f}   {peak:>10.0f}")  # noqa: T201 - a report for people
            sys.stdout.flush()


if __name__ == "__main__":
    run()
