"""Replays of dead letters: the journal of what was published again, and the lease that lets one run at a time."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from schemas.record import AwareDatetime, Record


class JournalEntry(StrEnum):
    """What a row of the journal says of its replay."""

    STARTED = "started"
    RESUMED = "resumed"
    LETTERS = "letters"
    FINISHED = "finished"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    FAILED = "failed"


class LetterFate(StrEnum):
    """Where a replay published a letter."""

    REPLAYED = "replayed"
    PARKED = "parked"


class ReplayedLetter(Record, frozen=True, kw_only=True):
    """A letter that a replay took off the hold subscription, and the message it became."""

    dead_letter_id: str
    event_id: str
    account_id: str | None = None
    error_class: str
    replay_count: Annotated[
        int, Meta(description="Of the message published: one more than the letter's, if it was replayed")
    ]
    letter_message_id: Annotated[str, Meta(description="On the dead-letter topic")]
    published_message_id: Annotated[str, Meta(description="On the topic that `fate` tells")]
    fate: LetterFate
    parked_because: str | None = None


class DeadLetterReplay(Record, frozen=True, kw_only=True):
    """A row of `dead_letter_replays`; the first row of a replay says who, why and what, the others what was done."""

    entry_id: str
    replay_id: str
    entry: JournalEntry
    recorded_at: AwareDatetime
    actor: Annotated[str, Meta(description="Who asked for it")]
    reason: Annotated[str, Meta(description="Why, in the words of whoever asked")]
    letter_filter: Annotated[str, Meta(description="JSON of the filters")]
    max_letters: int | None = None
    rate: Annotated[float, Meta(description="Letters a second, at most")]
    is_forced: Annotated[bool, Meta(description="Nothing was parked")] = False
    replayed: Annotated[int, Meta(description="By this row")] = 0
    parked: Annotated[int, Meta(description="By this row")] = 0
    came_back: Annotated[int | None, Meta(description="Of all that the replay published so far")] = None
    message: Annotated[str | None, Meta(description="Why it ended")] = None
    letters: tuple[ReplayedLetter, ...] = ()


class ReplayLease(Record, frozen=True, kw_only=True):
    """The row of `dead_letter_replay_lease`: whose turn it is, and until when; written by DML alone."""

    name: str
    replay_id: str | None = None
    holder: Annotated[str | None, Meta(description="The process that has the lease, by a token of its own")] = None
    expires_at: AwareDatetime | None = None
    is_cancelled: Annotated[bool, Meta(description="The holder is asked to stop")] = False
