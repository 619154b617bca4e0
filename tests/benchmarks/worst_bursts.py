"""What the worst bursts of one account cost, from bytes to rows: `python -m tests.benchmarks.worst_bursts`.

Each is run in a process of its own: the slowest message, the end of the window with the row, and megabytes that the
process grew by; then the largest state, the change that goes on, and its row. State is encoded and decoded for each
message, as a runner does. The goal is that of worst_messages: no message takes more than 1 s or 200 MB.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

import orjson

from pipeline.terminal.logs import configure_logging
from schemas.change_event import AccountChange, SourceMessage
from schemas.clock import utc_now
from schemas.record import to_row
from tests.benchmarks.worst_messages import GOAL_MEGABYTES, GOAL_SECONDS, peak
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, event, payload
from transforms.coalesce.account_state import NEW_ACCOUNT, AccountState, CoalescingLimits
from transforms.coalesce.coalescing import end_window, receive
from transforms.coalesce.tombstones import tombstone
from transforms.coders import RecordCoder
from transforms.ledger import Ledger
from transforms.parse.message_parsing import parse_message

LIMITS: Final = CoalescingLimits()


def _update(number: int, names: str, *, fields: int = 2_490, length: int = 1_100, **header: object) -> bytes:
    values = {f"{names}{index}__c": "v" * length for index in range(fields)}
    return orjson.dumps(event(values, changedFields=list(values), sequenceNumber=number, **header))


def _contact(number: int, fields: int) -> bytes:
    ids = {"entityName": "Contact", "recordIds": [f"003{number:012d}"]}
    document = orjson.loads(_update(number, f"F{number}_", fields=fields, length=400, **ids))
    return orjson.dumps(document | {"AccountId": account_id()})


BURSTS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "5 events of 2.8 MB, fields that differ": lambda: [_update(number, f"F{number}_") for number in range(5)],
    "5 events of 2.8 MB, the same fields": lambda: [_update(number, "F") for number in range(5)],
    "5 events with a text of 2.9 MB": lambda: [
        orjson.dumps(event({"Description": "x" * 2_900_000}, changedFields=["Description"], sequenceNumber=number))
        for number in range(5)
    ],
    "200 events with a text of 0.5 MB": lambda: [
        orjson.dumps(event({"Description": "x" * 500_000}, changedFields=["Description"], sequenceNumber=number))
        for number in range(200)
    ],
    "60 contacts, events of 1 MB": lambda: [_contact(number, 2_000) for number in range(60)],
    "200 contacts of 20 fields": lambda: [_contact(number, 20) for number in range(200)],
    "one event of 2.8 MB": lambda: [_update(1, "F")],
}


def run() -> None:
    """Print a line for each burst, and whether all are within the goal."""
    slowest = largest = 0.0
    for name in BURSTS:
        command = [sys.executable, "-m", "tests.benchmarks.worst_bursts", name]
        line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        sys.stdout.write(line)
        sys.stdout.flush()
        message, end, megabytes, *_ = line[45:].split()
        slowest, largest = max(slowest, float(message), float(end)), max(largest, float(megabytes))
    is_within = slowest <= GOAL_SECONDS and largest <= GOAL_MEGABYTES
    sys.stdout.write(
        f"slowest {slowest:.2f} s, largest {largest:.0f} MB: {'within' if is_within else 'beyond'} the goal\n"
    )


def measure(name: str) -> None:
    """Print what a burst costs."""
    messages = BURSTS[name]()
    coder, changes = RecordCoder(AccountState), RecordCoder(AccountChange)
    parse_message(SourceMessage(payload=payload()), account_fields=ACCOUNT_FIELDS)
    before, slowest, state = peak(), 0.0, coder.encode(NEW_ACCOUNT)
    largest = 0
    for message in messages:
        started = time.perf_counter()
        for change in parse_message(SourceMessage(payload=message), account_fields=ACCOUNT_FIELDS):
            if not isinstance(change, AccountChange):
                raise TypeError(f"{name}: an event is no account change")
            came = changes.decode(changes.encode(change))
            state = coder.encode(receive(coder.decode(state), came, 0.0, LIMITS)[0])
        slowest, largest = max(slowest, time.perf_counter() - started), max(largest, len(state))
    started = time.perf_counter()
    after, merged, _ = end_window(coder.decode(state), LIMITS)
    if merged is None:
        raise TypeError(f"{name}: the burst has no change")
    going = changes.encode(merged)
    scored = tombstone(changes.decode(going), Ledger("worst bursts", "0", now=utc_now)).scored
    row = orjson.dumps(to_row(scored.score)) if scored else b""
    kept = coder.encode(after)
    end = time.perf_counter() - started
    sys.stdout.write(
        f"{name:45}{slowest:6.2f} {end:6.2f} {peak() - before:6.0f} {largest / 1e6:8.2f} MB of state, "
        f"{len(kept) / 1e6:.2f} after, {len(going) / 1e6:.2f} MB go on, a row of {len(row) / 1e6:.3f} MB\n"
    )


if __name__ == "__main__":
    configure_logging()
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        run()
