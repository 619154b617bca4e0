"""What the worst messages cost, from bytes to changes: `python -m tests.benchmarks.worst_messages`.

Each is parsed in a process of its own, with the most attributes that Pub/Sub takes: seconds, megabytes that the process
grew by, and megabytes of its changes and dead letters as they are encoded between steps. The goal: no message up to 10
MB, Pub/Sub's largest, takes more than 1 s or 200 MB, and what it becomes has at most 70 MB: Dataflow refuses to commit
what is above some 180 MB.
"""

import base64
import gzip
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import orjson

from pipeline.terminal.logs import configure_logging
from schemas.change_event import AccountChange, SourceMessage, UnnamedChange
from schemas.dead_letter import MAX_ATTRIBUTE_NAME_BYTES, MAX_ATTRIBUTE_VALUE_BYTES, MAX_ATTRIBUTES
from schemas.record import to_json
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, event, payload
from transforms.parse.account_changes import ParsedRecord
from transforms.parse.message_parsing import parse_message

GOAL_SECONDS: Final = 1.0
GOAL_MEGABYTES: Final = 200
GOAL_ENCODED_MEGABYTES: Final = 70
ATTRIBUTES: Final = {
    f"{number:0{MAX_ATTRIBUTE_NAME_BYTES}}": "v" * MAX_ATTRIBUTE_VALUE_BYTES for number in range(MAX_ATTRIBUTES)
}
_KILOBYTES: Final = 1024
_NAME_WIDTH: Final = 50


def _event(body: dict[str, Any] | None = None, **header: Any) -> bytes:
    return orjson.dumps(event(body, **header))


def _with(value: bytes, **header: Any) -> bytes:
    """Return an event with a value that is written as it is."""
    return _event({"X": "@"}, **header).replace(b'"@"', value)


def _ids(count: int) -> list[str]:
    return [account_id(number) for number in range(count)]


def _names(count: int) -> list[str]:
    return [f"Field{number}__c" for number in range(count)]


def _with_schema(fields: int, changed: list[str], events: int = 1) -> bytes:
    """Return events within an envelope that brings their Avro schema."""
    names = ["ChangeEventHeader", *_names(fields)]
    schema = {
        "type": "record",
        "name": "AccountChangeEvent",
        "fields": [{"name": it, "type": ["null", "string"]} for it in names],
    }
    found = [event({}, changedFields=changed, sequenceNumber=number) for number in range(events)]
    return orjson.dumps({"schema": schema, "data": found})


def _refused(documented: int) -> bytes:
    """Return events that can't be read, within an envelope that brings a schema with documentation."""
    names = ["ChangeEventHeader", *_names(1_500)]
    schema = {
        "type": "record",
        "name": "AccountChangeEvent",
        "fields": [{"name": it, "type": ["null", "string"], "doc": "x" * documented} for it in names],
    }
    return orjson.dumps({"schema": schema, "data": [event({}, commitTimestamp=number) for number in range(999)]})


def _bomb() -> str:
    return base64.b64encode(gzip.compress(b" " * 3_000_000)).decode()


MESSAGES: Final[dict[str, Callable[[], bytes]]] = {
    "20,000 records": lambda: _event(recordIds=_ids(20_000)),
    "47,000 records, the most in 1 MB": lambda: _event(recordIds=_ids(47_000)),
    "140,000 records": lambda: _event(recordIds=_ids(140_000)),
    "1,000 records, 20,000 changed fields": lambda: _event(recordIds=_ids(1_000), changedFields=_names(20_000)),
    "1,000 records, 2,500 changed fields": lambda: _event(recordIds=_ids(1_000), changedFields=_names(2_500)),
    "25,000 records, 0.5 MB of text": lambda: _event(
        {"Description": "x" * 500_000}, recordIds=_ids(25_000), changedFields=["Description"]
    ),
    "25,000 records, 1,500 values": lambda: _event(
        dict.fromkeys(_names(1_500), "v" * 200), recordIds=_ids(25_000), changedFields=_names(1_500)
    ),
    "1,000 events of 100 records": lambda: orjson.dumps(
        [event({}, recordIds=_ids(100), sequenceNumber=number) for number in range(1_000)]
    ),
    "300,000 malformed ids": lambda: _event(recordIds=[str(number) for number in range(300_000)]),
    "50,000 malformed ids": lambda: _event(recordIds=[str(number) for number in range(50_000)]),
    "5,000 bitmaps, a schema of 5,000 fields": lambda: _with_schema(5_000, ["0x2"] * 5_000),
    "2,500 bitmaps, a schema of 2,499 fields": lambda: _with_schema(
        2_499, [f"0x{1 << number % 2_499 | 2:x}" for number in range(2_500)]
    ),
    "1,000 events, a schema of 2,000 fields": lambda: _with_schema(2_000, ["0x2"], 1_000),
    "a bitmap of 2.9 MB": lambda: _with_schema(10, ["0x" + "f" * 2_900_000]),
    "140,000 fields": lambda: _event(dict.fromkeys(_names(140_000), 1)),
    "140,000 parts of a compound field": lambda: _event({"Address": dict.fromkeys(_names(140_000), 1)}),
    "a list of 1,000,000 lists": lambda: b"[" + b"[]," * 1_000_000 + b"[]]",
    "a field of 900,000 lists": lambda: _event({"X": "@"}).replace(b'"@"', b"[" + b"[]," * 900_000 + b"[]]"),
    "a field of 195,000 lists": lambda: _event({"X": "@"}).replace(b'"@"', b"[" + b"[]," * 195_000 + b"[]]"),
    "1.5 million numbers": lambda: _event({"X": "@"}).replace(b'"@"', b"[" + b"1," * 1_500_000 + b"1]"),
    "3,000,000 braces": lambda: b"{" * 3_000_000,
    "1,500 lists within each other": lambda: _event({"X": "@"}).replace(b'"@"', b"[" * 1_500 + b"]" * 1_500),
    "500,000 numbers beyond a double": lambda: _with(b"[" + b"1e400," * 500_000 + b"1]"),
    "a number of 3,000,000 digits": lambda: _with(b"7" * 3_000_000),
    "a fraction of 3,000,000 digits": lambda: _with(b"0." + b"7" * 3_000_000 + b', "Y": 1e400'),
    "300,000 lone surrogates": lambda: _with(b"[" + rb'"\ud800",' * 300_000 + b"1]"),
    "3 MB of ISO-8859-1": lambda: _with(b'"' + b"\xe9" * 3_000_000 + b'"'),
    "40,000 records, a number beyond a double": lambda: _with(b"1e400", recordIds=_ids(40_000)),
    "999 lines, the last cut off": lambda: b"\n".join([_event({"X": "x" * 2_000})] * 999) + b"\n{",
    "999 events one after the other": lambda: _event({"X": "x" * 2_000}) * 999,
    "1,000,000 objects one after the other": lambda: b"{}" * 1_000_000,
    "2,900 record separators": lambda: (b"\x1e" + b"{" * 1_000) * 2_900,
    "base64 of base64, seven times": lambda: _layers(7),
    "700 texts, each a gzip bomb": lambda: orjson.dumps([{"payload": _bomb()}] * 700),
    "a gzip bomb of 1 GB": lambda: gzip.compress(b" " * 1_000_000_000),
    "999 events of 2 KB that can't be read": lambda: orjson.dumps([event(), *([{"a": "x" * 2_000}] * 999)]),
    "999 events that can't be read, a schema of 1 MB": lambda: _refused(documented=700),
    "1,000 events": lambda: orjson.dumps([event(sequenceNumber=number) for number in range(1_000)]),
    "1,000 records": lambda: _event(recordIds=_ids(1_000)),
    "1,000 events that can't be read": lambda: orjson.dumps([event(commitTimestamp=it) for it in range(1_000)]),
    "100 records of a part of a compound field": lambda: _event(
        {"A" * 255: dict.fromkeys(_names(2_400), 1)}, recordIds=_ids(100), changedFields=["A" * 255]
    ),
    "1,000,000 lines": lambda: b"\n".join([b"{}"] * 1_000_000),
    "a changeOrigin of 1.5 MB, 40,000 records": lambda: _event(recordIds=_ids(40_000), changeOrigin="x" * 1_500_000),
    "a field's name of 1.5 MB, 40,000 records": lambda: _event(recordIds=_ids(40_000), changedFields=["x" * 1_500_000]),
    "10 MB of text": lambda: b"x" * 10_000_000,
    "an event of 10 MB": lambda: _event({"Description": "x" * 9_900_000}),
}


def _layers(count: int) -> bytes:
    data = payload() + b" " * 300_000
    for _ in range(count):
        data = base64.b64encode(data)
    return data


def run() -> None:
    """Print a line for each message, and whether all are within the goal."""
    slowest = largest = longest = 0.0
    for name in MESSAGES:
        command = [sys.executable, "-m", "tests.benchmarks.worst_messages", name]
        line = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        sys.stdout.write(line)
        sys.stdout.flush()
        _, seconds, megabytes, encoded, *_ = line[_NAME_WIDTH:].split()
        slowest, largest = max(slowest, float(seconds)), max(largest, float(megabytes))
        longest = max(longest, float(encoded))
    is_within = slowest <= GOAL_SECONDS and largest <= GOAL_MEGABYTES and longest <= GOAL_ENCODED_MEGABYTES
    sys.stdout.write(
        f"slowest {slowest:.2f} s, largest {largest:.0f} MB, most encoded {longest:.1f} MB: "
        f"{'within' if is_within else 'beyond'} the goal\n"
    )


def measure(name: str) -> None:
    """Print the megabytes of a message, seconds and megabytes of parsing it, and megabytes of what it becomes."""
    source = SourceMessage(payload=MESSAGES[name](), attributes=ATTRIBUTES)
    parse_message(SourceMessage(payload=payload()), account_fields=ACCOUNT_FIELDS)
    before = peak()
    started = time.perf_counter()
    records = parse_message(source, account_fields=ACCOUNT_FIELDS)
    seconds = time.perf_counter() - started
    grown = peak() - before
    changes = sum(isinstance(record, AccountChange | UnnamedChange) for record in records)
    encoded = sum(map(encoded_bytes, records))
    sys.stdout.write(
        f"{name:{_NAME_WIDTH}}{len(source.payload) / 1e6:6.2f} {seconds:6.2f} {grown:6.0f} {encoded / 1e6:7.1f} "
        f"{changes:7,} changes {len(records) - changes:5,} others\n"
    )


def encoded_bytes(record: ParsedRecord) -> int:
    """Return the bytes of a change as it is encoded between steps, or of the message that a dead letter carries."""
    return len(to_json(record if isinstance(record, AccountChange | UnnamedChange) else record.received.source))


def peak() -> float:
    """Return the most megabytes that the process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KILOBYTES


if __name__ == "__main__":
    configure_logging()
    if len(sys.argv) > 1:
        measure(sys.argv[1])
    else:
        run()
