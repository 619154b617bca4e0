"""A letter on the hold subscription, and the messages that it can become; pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from schemas.change_event import SourceMessage
from schemas.dead_letter import REPLAYED_AFTER, dead_letter_id, fits_message, original_attributes
from transforms.clients.pubsub import Message

_NEEDED: Final = ("error_class", "stage", "event_id", "account_id", "failed_at")


@dataclass(frozen=True)
class HeldLetter:
    """A message of the hold subscription; one without an envelope is no letter that this service wrote."""

    ack_id: str
    message_id: str
    payload: bytes
    attributes: Mapping[str, str]

    @property
    def is_letter(self) -> bool:
        """Whether the message has the envelope of a dead letter."""
        return all(name in self.attributes for name in _NEEDED) and self.failed_at is not None

    @property
    def letter_id(self) -> str:
        """The `dead_letter_id` of the letter's row; of a letter only."""
        of = self.attributes
        return dead_letter_id(of["event_id"], of["account_id"], of["stage"], of["failed_at"])

    @property
    def change(self) -> tuple[str, str]:
        """Event and account; the account is empty where the letter knows none."""
        return self.attributes["event_id"], self.attributes["account_id"]

    @property
    def failed_at(self) -> dt.datetime | None:
        """When it failed; None where the attribute is missing or says no time."""
        try:
            time = dt.datetime.fromisoformat(self.attributes.get("failed_at", ""))
        except ValueError:
            return None
        return time if time.tzinfo else None

    @property
    def replay_count(self) -> int:
        """How often it was replayed before it failed as it did."""
        return SourceMessage(payload=b"", attributes=dict(self.attributes)).replay_count

    @property
    def failure(self) -> str:
        """Error class and pipeline version: a replay that ends in the same again has mended nothing."""
        return f"{self.attributes['error_class']}@{self.attributes.get('pipeline_version', '')}"


def replayed_message(letter: HeldLetter) -> Message | None:
    """Return the original message with `replay_count` one higher; None where Pub/Sub's limits leave no room for it."""
    attributes = original_attributes(letter.attributes) | {
        "replay_count": str(letter.replay_count + 1),
        "first_failed_at": letter.attributes.get("first_failed_at", letter.attributes["failed_at"]),
        REPLAYED_AFTER: letter.failure,
    }
    return Message(letter.payload, attributes) if fits_message(letter.payload, attributes) else None


def parked_message(letter: HeldLetter, because: str, replay_id: str) -> Message:
    """Return the letter as it is, with why and by which replay it was parked, if there is room for that."""
    attributes = dict(letter.attributes) | {"parked_because": because, "parked_by": replay_id}
    kept = attributes if fits_message(letter.payload, attributes) else dict(letter.attributes)
    return Message(letter.payload, kept)
