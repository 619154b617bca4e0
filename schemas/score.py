"""Scores: the answer that Gemini must give for an account, and the row that follows from it."""

import hashlib
from enum import StrEnum
from typing import Annotated, Any, Final

from msgspec import Meta
from pydantic import BeforeValidator, ConfigDict, Field

from schemas.record import AwareDatetime, Record, ValidatedModel


class Impact(StrEnum):
    """The direction in which a driver moves the score."""

    POSITIVE = "positive"
    NEGATIVE = "negative"


class Tier(StrEnum):
    """Band of the score that sales teams filter by; a function of the score."""

    HOT = "hot"
    WARM = "warm"
    COOL = "cool"
    COLD = "cold"


_TIER_FLOORS: Final = ((75, Tier.HOT), (50, Tier.WARM), (25, Tier.COOL), (0, Tier.COLD))


def tier_of(score: int) -> Tier:
    """Return the tier of a score of 0 to 100: hot from 75, warm from 50, cool from 25, cold below."""
    return next(tier for floor, tier in _TIER_FLOORS if score >= floor)


MAX_FACTOR: Final = 120
MAX_EVIDENCE: Final = 400
MAX_ACTION: Final = 400
MAX_SUMMARY: Final = 800
"""Characters of an answer's texts. The instruction asks for fewer; Gemini's response schema has no lengths."""


FACTOR: Final = "The fact, in a few words"
IMPACT: Final = "Whether it raises or lowers the score"
EVIDENCE: Final = "Where in the account's data it stands"


class ScoreDriver(Record, frozen=True, kw_only=True):
    """One reason for a score, as its row holds it."""

    factor: Annotated[str, Meta(description=FACTOR)]
    impact: Annotated[Impact, Meta(description=IMPACT)]
    evidence: Annotated[str, Meta(description=EVIDENCE)]


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


_Stripped = Annotated[str, BeforeValidator(_stripped)]
"""Text without the white space around it. Pydantic's own option leaves control separators, which Python strips."""


class Driver(ValidatedModel):
    """One reason for a score."""

    factor: _Stripped = Field(min_length=1, max_length=MAX_FACTOR, description=FACTOR)
    impact: Impact = Field(description=IMPACT)
    evidence: _Stripped = Field(max_length=MAX_EVIDENCE, description=EVIDENCE)

    def as_row(self) -> ScoreDriver:
        """Return the reason as the score's row holds it."""
        return ScoreDriver(factor=self.factor, impact=self.impact, evidence=self.evidence)


class ScoreAnswer(ValidatedModel):
    """What Gemini must return for one account. Numbers are taken as they are or refused, never clamped.

    It is written in the order of these fields: the reasons before the score that follows from them.
    """

    model_config = ConfigDict(strict=True, extra="ignore")

    id: _Stripped = Field(description="The id of the account, copied from the request")
    account_name: _Stripped = Field(description="The name of the account with that id, copied from its profile")
    drivers: tuple[Driver, ...] = Field(min_length=1, max_length=5, description="The strongest first")
    score: int = Field(ge=0, le=100, description="Likelihood to buy in the next 90 days: 0 (none) to 100 (certain)")
    confidence: float = Field(ge=0, le=1, description="0 (a guess) to 1 (certain), by how much the data tells")
    recommended_action: _Stripped = Field(
        min_length=1, max_length=MAX_ACTION, description="The next step for the account's owner"
    )
    summary: _Stripped = Field(
        min_length=1, max_length=MAX_SUMMARY, description="The score explained in one or two sentences"
    )


class ScoreAnswers(ValidatedModel):
    """What Gemini must return for a call: an answer for each account that it was sent."""

    scores: tuple[ScoreAnswer, ...] = Field(description="One entry for each account, in any order")


class Flag(StrEnum):
    """What a reader should know about a score."""

    SUSPECTED_INSTRUCTIONS = "suspected_instructions"
    """A text in the CRM addresses a model: a suspected prompt injection."""

    CLEANED_REASONS = "cleaned_reasons"
    """Links, markup, hidden characters or personal data were taken out of the reasons."""

    SUSPECTED_STALE_SCHEMA = "suspected_stale_schema"
    """A change event's lists of fields contradict its body, as where they were decoded with another Avro schema."""

    UNUSABLE_VALUE = "unusable_value"
    """A field of a change event has a value that it can't hold, which is left out. In a row, a colon and the field
    follow, such as `unusable_value:AnnualRevenue` or `unusable_value:Opportunity.Amount`."""

    VALUES_CUT = "values_cut"
    """A burst had more fields, or larger values, than are kept: `changed_fields` lacks names of fields that no
    context shows. Or a change came so late that its values may not be the newest: the mirror's count."""


class ScoreStatus(StrEnum):
    """Kind of a row of `account_scores`."""

    SCORED = "scored"
    TOMBSTONE = "tombstone"


UNCHANGED_CONTEXT_FLAG: Final = "unchanged_context"
"""Flag of a carried-over score: the account context had not changed."""


class Score(Record, frozen=True, kw_only=True):
    """A row of `account_scores`; in a tombstone, the score and what follows from it are NULL."""

    account_id: str
    score_id: Annotated[str, Meta(description="Hash of account, newest change, prompt version and model")]
    event_ids: Annotated[tuple[str, ...], Meta(description="The change events that led to this score, newest first")]
    change_committed_at: Annotated[AwareDatetime, Meta(description="commitTimestamp of the newest change")]
    change_sequence: Annotated[int, Meta(description="sequenceNumber of the newest change; raised for a late one")]
    scored_at: AwareDatetime
    status: ScoreStatus
    score: Annotated[int | None, Meta(description="0 to 100")] = None
    tier: Tier | None = None
    confidence: Annotated[float | None, Meta(description="0 to 1")] = None
    drivers: tuple[ScoreDriver, ...] = ()
    recommended_action: str | None = None
    summary: str | None = None
    changed_fields: tuple[str, ...] = ()
    model: Annotated[str | None, Meta(description="The model that was called")] = None
    model_version: Annotated[str | None, Meta(description="The model version that Gemini reports")] = None
    prompt_version: str | None = None
    context_hash: str | None = None
    prompt_tokens: Annotated[int | None, Meta(description="This account's share of its call's prompt")] = None
    output_tokens: Annotated[int | None, Meta(description="This account's share of its call's answer")] = None
    cached_tokens: Annotated[int | None, Meta(description="This account's share of the cached prompt")] = None
    cost_usd: Annotated[float | None, Meta(description="This account's share of the price; NULL if unknown")] = None
    accounts_in_call: int | None = None
    latency_ms: Annotated[int | None, Meta(description="Of the call")] = None
    flags: Annotated[
        tuple[str, ...], Meta(description="Remarks such as suspected_instructions, unusable_value:AnnualRevenue")
    ] = ()
    shadow: Annotated[bool | None, Meta(description="True: by another model or prompt, for comparison")] = None
    trace_id: str
    pipeline_version: str


def score_id(account_id: str, newest_event_id: str, prompt_version: str, model: str) -> str:
    """Return the id of a score: 32 hex digits, equal if the same prompt and model score the same change again."""
    identity = f"{account_id}\x1f{newest_event_id}\x1f{prompt_version}\x1f{model}"
    return hashlib.sha256(identity.encode()).hexdigest()[:32]
