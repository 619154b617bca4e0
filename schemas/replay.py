"""Replays of dead letters: the journal of what was published again, and the lease that lets one run at a time."""

from enum import StrEnum

from pydantic import AwareDatetime, Field

from schemas.record import Record


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


class ReplayedLetter(Record):
    """A letter that a replay took off the hold subscription, and the message it became."""

    dead_letter_id: str
    event_id: str
    account_id: str | None = None
    error_class: str
    replay_count: int = Field(description="Of the message published: one more than the letter's, if it was replayed")
    letter_message_id: str = Field(description="On the dead-letter topic")
    published_message_id: str = Field(description="On the topic that `fate` tells")
    fate: LetterFate
    parked_because: str | None = None


class DeadLetterReplay(Record):
    """A row of `dead_letter_replays`; the first row of a replay says who, why and what, the others what was done."""

    entry_id: str
    replay_id: str
    entry: JournalEntry
    recorded_at: AwareDatetime
    actor: str = Field(description="Who asked for it")
    reason: str = Field(description="Why, in the words of whoever asked")
    letter_filter: str = Field(description="JSON of the filters")
    max_letters: int | None = None
    rate: float = Field(description="Letters a second, at most")
    is_forced: bool = Field(default=False, description="Nothing was parked")
    replayed: int = Field(default=0, description="By this row")
    parked: int = Field(default=0, description="By this row")
    came_back: int | None = Field(default=None, description="Of all that the replay published so far")
    message: str | None = Field(default=None, description="Why it ended")
    letters: tuple[ReplayedLetter, ...] = ()


class ReplayLease(Record):
    """The row of `dead_letter_replay_lease`: whose turn it is, and until when; written by DML alone."""

    name: str
    replay_id: str | None = None
    holder: str | None = Field(default=None, description="The process that has the lease, by a token of its own")
    expires_at: AwareDatetime | None = None
    is_cancelled: bool = Field(default=False, description="The holder is asked to stop")
