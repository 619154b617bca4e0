"""Answers as the OpenAPI document describes them; tests check every answer against these."""

import datetime as dt
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.score import Impact, ScoreStatus, Tier


class Document(BaseModel):
    """A JSON object; members that are not described here are not sent."""

    model_config = ConfigDict(extra="forbid")


class Fault(Document):
    """A value that can't be used."""

    where: str = Field(description="Such as query.limit", examples=["query.limit"])
    message: str


class ProblemDocument(BaseModel):
    """An error, by RFC 9457. It quotes nothing that was sent."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:problem:account-rescoring:invalid",
                "title": "A value can't be used",
                "status": 422,
                "detail": "query.limit: Input should be less than or equal to 200",
                "errors": [{"where": "query.limit", "message": "Input should be less than or equal to 200"}],
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] | None = None


class Fresh(Document):
    """How old the answer is."""

    as_of: dt.datetime = Field(description="What BigQuery had at this time is in the answer")
    is_stale: bool = Field(description="Whether that is longer ago than a minute")
    stale_because: str | None = Field(description="Why the last refresh failed")
    names_missing: str | None = Field(description="Why the mirror can't be read, and names are missing")


class DriverDocument(Document):
    """One reason for a score."""

    factor: str
    impact: Impact
    evidence: str


class ScoreDocument(Document):
    """A row of account_scores: a score, or the tombstone of a deleted account, which has none."""

    score_id: str
    status: ScoreStatus
    score: int | None = Field(ge=0, le=100)
    tier: Tier | None
    confidence: float | None
    scored_at: dt.datetime
    change_committed_at: dt.datetime = Field(description="When the change was made that led to the score")
    change_sequence: int
    event_ids: list[str]
    changed_fields: list[str]
    drivers: list[DriverDocument] = Field(description="The strongest first")
    summary: str | None
    recommended_action: str | None = Field(description="The next step")
    flags: list[str]
    model: str | None
    model_version: str | None
    prompt_version: str | None
    pipeline_version: str
    trace_id: str


class Moved(Document):
    """A score beside the one of some days ago."""

    previous_score: int
    previous_tier: Tier | None
    difference: int
    moved_at: dt.datetime | None = Field(description="When the last movement since then was scored")
    cause: str | None
    because: str = Field(description="The cause in words", examples=["the account context changed: Rating"])


class ListedAccount(Document):
    """An account in a list."""

    account_id: str
    name: str | None = Field(description="None: the mirror lacks the account")
    owner_id: str | None
    industry: str | None
    score: ScoreDocument
    moved: Moved | None = Field(description="None: not asked for, or no score then or now")


class ScoreListDocument(Fresh):
    """Accounts with their scores."""

    accounts: int = Field(description="How many match, on all pages")
    compared_with: dt.datetime | None = Field(description="The time with which scores are compared")
    items: list[ListedAccount]
    next_cursor: str | None = Field(description="For the parameter cursor; null on the last page")


class Previous(Document):
    """The score before another one, in commit order."""

    score_id: str
    score: int | None
    tier: Tier | None
    scored_at: dt.datetime
    model: str | None
    model_version: str | None
    prompt_version: str | None


class Movement(Document):
    """A score beside its predecessor: a row of score_movements."""

    score: ScoreDocument
    difference: int | None
    cause: str = Field(description="docs/scores.md explains each", examples=["facts"])
    because: str = Field(description="The cause in words", examples=["the account context changed: Rating"])
    previous: Previous | None


class AccountDocument(Fresh):
    """An account."""

    account_id: str
    name: str | None
    owner_id: str | None
    industry: str | None
    type: str | None
    website: str | None
    billing_country: str | None
    state: str = Field(description="scored, deleted, or no_score", examples=["scored"])
    score: ScoreDocument | None
    what_changed: Movement | None = Field(description="The newest movement")
    movements: int = Field(description="How many scores the history has")


class HistoryDocument(Fresh):
    """The scores of an account, the newest change first."""

    account_id: str
    movements: int = Field(description="How many, on all pages")
    items: list[Movement]
    next_cursor: str | None


class Health(Document):
    """The process answers."""

    status: str = Field(examples=["ok"])


class Ready(Document):
    """The process can answer requests."""

    status: str = Field(examples=["ready"])
    as_of: dt.datetime


class RefusedRecord(Document):
    """Why a record of an event, or an event, can't be read."""

    event_id: str
    error_class: str = Field(examples=["invalid_event"])
    message: str
    remedy: str


class ReceivedEvent(Document):
    """One event of a request."""

    event: int = Field(description="Its number in the request, from 1")
    status: str = Field(description="accepted, partly_accepted or refused", examples=["accepted"])
    event_ids: list[str] = Field(description="Of the records that can be read; the ledger has them")
    refused_records: int
    refusals: list[RefusedRecord] = Field(description="Twenty at most")


class AcceptedEvents(Document):
    """What became of the events of a request."""

    accepted: int
    refused: int
    events: list[ReceivedEvent]


class Cost(Document):
    """What scores may cost at most."""

    scores: int
    tokens: int
    dollars: float | None = Field(description="null: no price is known")
    tokens_a_score: float
    averaged_scores: int = Field(description="Of how many recent scores the average is; 0: it is assumed")


class RescoringDocument(Document):
    """The plan of scoring an account again, or that it was asked for."""

    account_id: str
    as_of: dt.datetime = Field(description="The time of the mirror's data")
    event_id: str = Field(description="The ledger has it once the pipeline received it")
    newer_change_at: dt.datetime | None = Field(
        description="The account was scored for a newer change: it can't be done now"
    )
    cost: Cost
    executed: bool


class ExampleLetter(Document):
    """One dead letter of a group."""

    dead_letter_id: str
    error_message: str


class DeadLetterGroupDocument(Document):
    """The dead letters of a class and stage."""

    error_class: str
    stage: str
    letters: int
    accounts: int
    replayed: int
    states: dict[str, int] = Field(description="What became of them")
    retryable: bool = Field(description="Whether a replay can succeed without other changes")
    first_failed_at: dt.datetime
    last_failed_at: dt.datetime
    example: ExampleLetter
    remedy: str


class ListedLetter(Document):
    """A dead letter in a list."""

    dead_letter_id: str
    error_class: str
    stage: str
    event_id: str
    account_id: str | None
    failed_at: dt.datetime
    first_failed_at: dt.datetime
    replay_count: int
    retryable: bool
    model: str | None
    pipeline_version: str
    error_message: str
    state: str = Field(description="What became of it", examples=["waiting"])
    replay_id: str | None
    replayed_at: dt.datetime | None
    parked_because: str | None


class DeadLettersDocument(Document):
    """Dead letters."""

    filter: dict[str, Any]
    letters: int = Field(description="How many match")
    left_out: int = Field(description="How many match, and nothing is left to be done about them")
    groups: list[DeadLetterGroupDocument]
    each: list[ListedLetter] = Field(description="The newest")


class DeadLetterDocument(BaseModel):
    """A row of dead_letters, with its payload decoded, and what is known of it; it may have further members."""

    model_config = ConfigDict(extra="allow")

    dead_letter_id: str
    error_class: str
    stage: str
    error_message: str
    event_id: str
    account_id: str | None
    failed_at: dt.datetime
    attributes: dict[str, str]
    payload: Any = Field(description="JSON, text, or base64; null: only the message on the topic has it")
    explained: list[dict[str, Any]] = Field(description="What the pipeline would decide now")
    missing_accounts: list[str] | None
    replays: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]
    remedy: str


class PlannedGroup(Document):
    """The dead letters of a class and stage that no replay has taken."""

    error_class: str
    stage: str
    letters: int
    to_park: int
    retryable: bool


class ReplayPlanDocument(Document):
    """What a replay would do."""

    filter: dict[str, Any]
    letters: int
    to_replay: int
    to_park: int
    account_found: int
    account_missing: int
    accounts_found: list[str]
    accounts_missing: list[str]
    limit: int | None
    groups: list[PlannedGroup]
    decisions: dict[str, int] = Field(description="What would be decided about them now, estimated from a sample")
    sampled: int
    cost: Cost
    executed: bool


class StartedReplay(Document):
    """A replay that runs."""

    replay_id: str
    path: str
    executed: bool


class ReplayDocument(Document):
    """How far a replay is."""

    replay_id: str
    state: str = Field(examples=["running"])
    message: str | None
    actor: str
    reason: str
    started_at: dt.datetime
    last_at: dt.datetime
    filter: dict[str, Any]
    limit: int | None
    rate: float
    forced: bool
    replayed: int
    parked: int
    came_back: int
    outcomes: dict[str, int]
    lease_until: dt.datetime | None


class ReconciliationDocument(BaseModel):
    """Whether every event has exactly one outcome; it may have further members."""

    model_config = ConfigDict(extra="allow")

    since: dt.datetime
    until: dt.datetime
    counts: dict[str, int] = Field(description="Events by outcome, and by outcome:reason")
    events: int
    pending: int = Field(description="Received less than the grace period ago, without an outcome yet")
    unexplained: int = Field(description="Without an outcome after the grace period")
    double: int = Field(description="With contradictory outcomes")
    oldest_unexplained: list[dict[str, Any]]
    doubles: list[dict[str, Any]]
    commands: list[str] = Field(description="What to type to have the lost events processed")
    ok: bool
    all_clear: bool
