"""Replays of dead letters: the journal of what was published, and the lease that allows one replay at a time."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from schemas.record import AwareDatetime, Record


class JournalEntry(StrEnum):
    """What a row of the journal records."""

    STARTED = "started"
    RESUMED = "resumed"
    LETTERS = "letters"
    FINISHED = "finished"
    STOPPED = "stopped"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Disposition(StrEnum):
    """What a replay did with a dead letter."""

    REPLAYED = "replayed"
    PARKED = "parked"


class ReplayedDeadLetter(Record, frozen=True, kw_only=True):
    """A dead letter that a replay took from the hold subscription, and the message that it published."""

    dead_letter_id: str
    event_id: str
    account_id: str | None = None
    error_class: str
    replay_count: Annotated[int, Meta(description="Of the published message")]
    letter_message_id: Annotated[str, Meta(description="On the dead-letter topic")]
    published_message_id: Annotated[str, Meta(description="On the topic that `fate` names")]
    fate: Disposition
    parked_because: str | None = None


class DeadLetterReplay(Record, frozen=True, kw_only=True):
    """A row of `dead_letter_replays`; a replay's first row says who, why and what, later rows what was done."""

    entry_id: str
    replay_id: str
    entry: JournalEntry
    recorded_at: AwareDatetime
    actor: Annotated[str, Meta(description="Who started the replay")]
    reason: Annotated[str, Meta(description="Why, in the words of the actor")]
    letter_filter: Annotated[str, Meta(description="JSON of the filters")]
    max_letters: int | None = None
    rate: Annotated[float, Meta(description="Dead letters per second, at most")]
    is_forced: Annotated[bool, Meta(description="With --force: nothing was parked")] = False
    replayed: Annotated[int, Meta(description="In this row")] = 0
    parked: Annotated[int, Meta(description="In this row")] = 0
    came_back: Annotated[int | None, Meta(description="Of the whole replay, how many failed again so far")] = None
    message: Annotated[str | None, Meta(description="Why the replay ended")] = None
    letters: tuple[ReplayedDeadLetter, ...] = ()


class ReplayLeaseRow(Record, frozen=True, kw_only=True):
    """The row of `dead_letter_replay_lease`: who may replay, and until when; written by DML only."""

    name: str
    replay_id: str | None = None
    holder: Annotated[str | None, Meta(description="Random token of the process that holds the lease")] = None
    expires_at: AwareDatetime | None = None
    is_cancelled: Annotated[bool, Meta(description="The holder shall stop")] = False
