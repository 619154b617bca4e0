"""Change events that come in one request → what to publish of them, and why not; pure.

Each event of a list is a message of its own, byte for byte, parsed as the pipeline will parse it. A message of which no
record can be read is refused here, where its sender still hears of it, and is no dead letter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pipeline.ledger.explanation import Decision, Explanation, explain_message
from schemas.failures import ErrorClass
from transforms.filter.materiality import Materiality
from transforms.parse.avro_schemas import AvroSchemas

MAX_EVENTS: Final = 1_000
"""Of a request."""

MAX_REFUSALS: Final = 20
"""Records of an event whose refusal is told; an event can have 50,000."""

_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_SPACE: Final = b" \t\r\n"


class TooManyEvents(ValueError):
    """A list has more events than a request may have."""


@dataclass(frozen=True)
class Intake:
    """One event that came in.

    Attributes:
        payload: Its bytes, which are published if a record of it can be read.
        event_ids: Of the records that can be read.
        refusals: Of the others.
    """

    payload: bytes
    event_ids: tuple[str, ...]
    refusals: tuple[Explanation, ...]

    def document(self, number: int) -> dict[str, Any]:
        """Return what the sender is told; the number counts from 1."""
        return {
            "event": number,
            "status": "refused" if not self.event_ids else "partly_accepted" if self.refusals else "accepted",
            "event_ids": [*self.event_ids],
            "refused_records": len(self.refusals),
            "refusals": [
                {
                    "event_id": it.event_id,
                    "error_class": it.reason,
                    "message": it.message or "",
                    "remedy": ErrorClass(it.reason).remedy,
                }
                for it in self.refusals[:MAX_REFUSALS]
            ],
        }


def events_of(body: bytes) -> Sequence[bytes]:
    """Return the events of a body: those of a list, each byte for byte, or the body itself.

    Raises:
        TooManyEvents: The list is too long.
    """
    if not body.lstrip(_SPACE).startswith(b"["):
        return [body]
    try:
        parts = [bytes(part) for part in _LIST.decode(body)]
    except (msgspec.DecodeError, RecursionError):
        return [body]  # the parser says what is wrong with it
    if len(parts) > MAX_EVENTS:
        raise TooManyEvents(f"the list has {len(parts):,} events: send {MAX_EVENTS:,} at once, at most")
    return parts


def take_in(body: bytes, rules: Materiality, schemas: AvroSchemas) -> list[Intake]:
    """Return each event of a body with its event ids and its refusals.

    Raises:
        TooManyEvents: The list is too long.
    """
    return [_taken_in(payload, explain_message(payload, rules, schemas)) for payload in events_of(body)]


def _taken_in(payload: bytes, explained: Sequence[Explanation]) -> Intake:
    refused = tuple(it for it in explained if it.decision is Decision.DEAD_LETTER)
    ids = tuple(it.event_id for it in explained if it.decision is not Decision.DEAD_LETTER)
    return Intake(payload, ids, refused)
