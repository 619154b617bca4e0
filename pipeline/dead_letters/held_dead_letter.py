"""A dead letter on the hold subscription, the messages that it can become, and when it is parked; pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.change_event import SourceMessage
from schemas.dead_letter import REPLAYED_AFTER, dead_letter_id, fits_message, original_attributes
from transforms.clients.messages import Message

MAX_REPLAYS: Final = 3
"""A dead letter that failed again after so many replays is parked."""

REPLAYED_OFTEN: Final = f"replayed {MAX_REPLAYS} times"
SAME_AGAIN: Final = "same error again at the same pipeline version"
NO_ROOM: Final = "no room for replay_count among its attributes"

_ENVELOPE: Final = ("error_class", "stage", "event_id", "account_id", "failed_at")


@dataclass(frozen=True)
class HeldDeadLetter:
    """A message of the hold subscription; without the envelope's attributes it is not a dead letter."""

    ack_id: str
    message_id: str
    payload: bytes
    attributes: Mapping[str, str]

    @property
    def is_dead_letter(self) -> bool:
        """Whether the message has the envelope of a dead letter."""
        return all(name in self.attributes for name in _ENVELOPE) and self.failed_at is not None

    @property
    def dead_letter_id(self) -> str:
        """The id of the row in `dead_letters`; of dead letters only."""
        of = self.attributes
        return dead_letter_id(of["event_id"], of["account_id"], of["stage"], of["failed_at"])

    @property
    def change(self) -> tuple[str, str]:
        """Event id and account id; the account id is empty where the dead letter has none."""
        return self.attributes["event_id"], self.attributes["account_id"]

    @property
    def failed_at(self) -> dt.datetime | None:
        """Time of the failure; None where the attribute is missing or not a time with a zone."""
        try:
            time = dt.datetime.fromisoformat(self.attributes.get("failed_at", ""))
        except ValueError:
            return None
        return time if time.tzinfo else None

    @property
    def replay_count(self) -> int:
        """How often the message was replayed before this failure."""
        return SourceMessage(payload=b"", attributes=dict(self.attributes)).replay_count

    @property
    def failure(self) -> str:
        """`error_class@pipeline_version`; a replay that ends in the same again did not help."""
        return f"{self.attributes['error_class']}@{self.attributes.get('pipeline_version', '')}"


def replayed_message(held: HeldDeadLetter) -> Message:
    """Return the original message with `replay_count` one higher; `parked_because` says if Pub/Sub would take it."""
    attributes = original_attributes(held.attributes) | {
        "replay_count": str(held.replay_count + 1),
        "first_failed_at": held.attributes.get("first_failed_at", held.attributes["failed_at"]),
        REPLAYED_AFTER: held.failure,
    }
    return Message(held.payload, attributes)


def parked_message(held: HeldDeadLetter, because: str, replay_id: str) -> Message:
    """Return the dead letter as it is, with the reason and the replay that parked it where Pub/Sub's limits allow."""
    attributes = dict(held.attributes) | {"parked_because": because, "parked_by": replay_id}
    kept = attributes if fits_message(held.payload, attributes) else dict(held.attributes)
    return Message(held.payload, kept)


def parked_because(held: HeldDeadLetter, *, is_forced: bool = False) -> str | None:
    """Return why a dead letter is parked instead of replayed; None if it is replayed.

    Args:
        held: A dead letter with its envelope.
        is_forced: Replay it although it was replayed often, or failed again in the same way.
    """
    if not fits_message(held.payload, replayed_message(held).attributes):
        return NO_ROOM
    if is_forced:
        return None
    if held.replay_count >= MAX_REPLAYS:
        return REPLAYED_OFTEN
    if held.replay_count and held.attributes.get(REPLAYED_AFTER) == held.failure:
        return SAME_AGAIN
    return None
