"""How much one message may hold; docs/event-shapes.md explains them. What is beyond them is one dead letter.

No message may stop the stream: a bundle that runs out of memory or time is repeated for ever. The limits are above what
Salesforce sends: an event has at most 1 MB, so some 47,000 record ids, and an object has fewer than 2,000 fields.
`MAX_RECORD_IDS` and `MAX_FIELD_NAMES`, of an event's header, are in schemas/change_event.py.
"""

from typing import Any, Final

MAX_MESSAGE_BYTES: Final = 3 * 1024 * 1024
"""base64 and JSON within JSON make an event of 1 MB longer, but less than three times as long."""

MAX_DECOMPRESSED_BYTES: Final = MAX_MESSAGE_BYTES
MAX_EVENTS: Final = 1_000
MAX_ENVELOPES: Final = 32
"""Around an event, counting each list and each text within a text."""

MAX_DEPTH: Final = 32
"""Of a field's value."""

MAX_FIELDS: Final = 2_500
"""Of an event, parts of compound fields included, and of an Avro schema."""

MAX_OBJECTS: Final = 100_000
"""Objects and lists in the events of a message, wrappers of unions included."""

MAX_BRACKETS: Final = 2 * MAX_OBJECTS
"""Opening ones in a JSON text, those in its strings included: counted before it is parsed into objects and lists."""

MAX_SCHEMA_OBJECTS: Final = 20_000
"""Objects and lists in an Avro schema that an event brings: about three for each field."""

MAX_NARROWED_BYTES: Final = 64_000_000
"""Of a message's changes, as JSON, where each has its event narrowed to its record (docs/adr/056).

50,000 of a field or two have as many. Dataflow refuses to commit what is above some 180 MB.
"""

MAX_ATTRIBUTE_BYTES: Final = 4_000_000
"""Of attributes, as JSON, in all changes of a message; beyond, a change carries the needed ones alone."""

MAX_COPIED_BYTES: Final = 10_000_000
"""Of one message's unreadable events together, as copies of the message."""

MAX_REFUSED_RECORDS: Final = 20
"""Records of an event that are a dead letter each; if more are refused, they are one dead letter together."""


def count_objects(value: Any, most: int) -> int:
    """Return the number of objects and lists in a JSON value, itself included; beyond `most`, any number above it."""
    waiting, count = [value], 0
    while waiting and count + len(waiting) <= most:
        inner = waiting.pop()
        count += 1
        if isinstance(inner, dict | list):
            values = inner.values() if isinstance(inner, dict) else inner
            waiting += [it for it in values if isinstance(it, dict | list)]
    return count + len(waiting)
