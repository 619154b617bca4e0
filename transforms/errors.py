"""The tree of errors that a stage raises; each vendor's exceptions are mapped to it once, at that vendor's edge.

RescoringError               has an error class, and a message without any text of the CRM's
├── RefusedEvent             a message that is no change event
│   ├── Undecodable          no JSON
│   ├── InvalidEvent         JSON, but not what Salesforce sends
│   └── UnsupportedEvent     sent by Salesforce, and not to be read here
├── WarehouseUnavailable     BigQuery did not answer, or would not
├── BudgetExhausted          the day's tokens are spent
├── SalesforceUnavailable    Salesforce did not answer, or would not: costs a re-read, never a dead letter
└── GeminiError              a call to Gemini brought no scores
    ├── GeminiUnavailable    the service, not this call; by itself: held for longer than an outage may last
    │   ├── QuotaExhausted   429
    │   ├── ServerFault      5xx, 499
    │   ├── ConnectionLost   before the whole answer was there
    │   ├── Unauthenticated  401, or no token to be had
    │   └── AccessRefused    403, 404, and every status that nobody expects
    ├── GeminiTimeout        no whole answer within the deadline
    ├── GeminiRefusedPrompt  400: this prompt, as it stands
    ├── BlockedPrompt        promptFeedback.blockReason
    ├── BlockedResponse      no content, since a filter withheld it
    │   └── EndedEarly       no content, for a reason that may not come again: RECITATION, OTHER, unknown ones
    ├── OutputTruncated      MAX_TOKENS, or JSON that ends too early
    ├── InvalidResponse      content that is not the JSON asked for
    └── AnswerError          the JSON asked for, but one account's entry can't be taken
        ├── MissingScore     no entry
        ├── MismatchedScore  two entries, or one that repeats another account's fact
        └── InvalidScore     the entry breaks the schema
"""

from enum import StrEnum
from typing import ClassVar

from schemas.dead_letter import ErrorClass, Severity, severity_of


class Handling(StrEnum):
    """What is done about a call, or an account, that failed."""

    SLOW_DOWN = "slow_down"
    """Fewer calls at once, and the same call again; hold if it stays so."""
    RETRY = "retry"
    """The same call again, a few times with growing waits; hold while every call fails so, else split."""
    REFRESH = "refresh"
    """New credentials and the same call again, once; then hold."""
    HOLD = "hold"
    """Keep the work and stop calling until a probe succeeds."""
    RETRY_ONCE = "retry_once"
    """The same call once more; then split."""
    SPLIT = "split"
    """Halve the call until the account that does it stands alone."""
    ASK_AGAIN = "ask_again"
    """Keep the other accounts' answers, and ask for this account alone."""
    GIVE_UP = "give_up"
    """Nothing more: what is left becomes dead letters."""


class RescoringError(Exception):
    """An error with a class; the message names the thing and the remedy, and carries no text of the CRM's."""

    error_class: ClassVar[ErrorClass]
    passing_severity: ClassVar[Severity | None] = None
    """Of an error that is got over as a rule, and does not end as a dead letter at once."""

    @classmethod
    def severity(cls) -> Severity:
        """Return how much an operator should mind it."""
        return cls.passing_severity or severity_of(cls.error_class)


class RefusedEvent(RescoringError):
    """A message that is no change event this service can read."""


class Undecodable(RefusedEvent):
    """Bytes that are no JSON."""

    error_class = ErrorClass.UNDECODABLE


class InvalidEvent(RefusedEvent):
    """JSON that is no change event, or one with impossible values."""

    error_class = ErrorClass.INVALID_EVENT


class UnsupportedEvent(RefusedEvent):
    """A change event that can't be read without guessing."""

    error_class = ErrorClass.UNSUPPORTED_EVENT


class WarehouseError(RescoringError):
    """The warehouse has no context for an account."""


class WarehouseUnavailable(WarehouseError):
    """BigQuery did not answer, or refused the service as a whole."""

    error_class = ErrorClass.BIGQUERY_UNAVAILABLE


class AccountNotFound(WarehouseError):
    """The warehouse has no such account."""

    error_class = ErrorClass.ACCOUNT_NOT_FOUND


class InvalidContext(WarehouseError):
    """The warehouse's rows of an account are not what the models say."""

    error_class = ErrorClass.INVALID_CONTEXT


class BudgetExhausted(RescoringError):
    """The day's tokens are spent."""

    error_class = ErrorClass.BUDGET_EXHAUSTED


class SalesforceUnavailable(RescoringError):
    """Salesforce did not answer, or refused to; it has no error class, since the change goes on without the re-read."""


class RowRejected(RescoringError):
    """BigQuery refused a row."""

    error_class = ErrorClass.ROW_REJECTED


class GeminiError(RescoringError):
    """A call to Gemini brought no scores."""

    handling: ClassVar[Handling]


class GeminiUnavailable(GeminiError):
    """Gemini refused or failed as a service, for longer than an outage may last."""

    error_class = ErrorClass.GEMINI_UNAVAILABLE
    handling = Handling.GIVE_UP


class QuotaExhausted(GeminiUnavailable):
    """429: the quota, which is shared, has nothing left at the moment."""

    handling = Handling.SLOW_DOWN
    passing_severity = Severity.LOW

    def __init__(self, retry_after_seconds: float | None = None) -> None:
        super().__init__("Gemini's quota is exhausted (429)")
        self.retry_after_seconds = retry_after_seconds


class ServerFault(GeminiUnavailable):
    """5xx or 499: Gemini failed, and may not the next time."""

    handling = Handling.RETRY
    passing_severity = Severity.MEDIUM

    def __init__(self, status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"Gemini answered with HTTP status {status}")
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class ConnectionLost(GeminiUnavailable):
    """The connection did not come about, or broke before the whole answer was there."""

    handling = Handling.RETRY
    passing_severity = Severity.MEDIUM


class Unauthenticated(GeminiUnavailable):
    """401, or the token endpoint gave no token."""

    handling = Handling.REFRESH


class AccessRefused(GeminiUnavailable):
    """403, 404 or a status that nobody expects: an operator has to see to it."""

    handling = Handling.HOLD

    def __init__(self, status: int, reason: str | None = None) -> None:
        super().__init__(f"Gemini answered with HTTP status {status}: see to permissions and to the model's name")
        self.status = status
        self.reason = reason
        """Google's name of the reason, such as SERVICE_DISABLED; None: it gave none."""


class GeminiTimeout(GeminiError):
    """Gemini did not finish its answer within the deadline."""

    error_class = ErrorClass.GEMINI_TIMEOUT
    handling = Handling.RETRY_ONCE


class GeminiRefusedPrompt(GeminiError):
    """Gemini refused this request as invalid; the prompt is the only part of it that varies."""

    error_class = ErrorClass.PROMPT_TOO_LARGE
    handling = Handling.SPLIT


class BlockedPrompt(GeminiError):
    """Gemini's filters blocked the prompt."""

    error_class = ErrorClass.BLOCKED_PROMPT
    handling = Handling.SPLIT


class BlockedResponse(GeminiError):
    """Gemini's filters withheld the content."""

    error_class = ErrorClass.BLOCKED_RESPONSE
    handling = Handling.SPLIT


class EndedEarly(BlockedResponse):
    """Gemini ended without content for a reason that may not come again."""

    handling = Handling.RETRY_ONCE


class OutputTruncated(GeminiError):
    """Gemini ran into the limit of output tokens, or its JSON ends too early."""

    error_class = ErrorClass.OUTPUT_TRUNCATED
    handling = Handling.SPLIT


class InvalidResponse(GeminiError):
    """Gemini answered with something else than the JSON it was asked for."""

    error_class = ErrorClass.INVALID_RESPONSE
    handling = Handling.RETRY_ONCE


class AnswerError(GeminiError):
    """Gemini answered in the form asked for, but one account's entry can't be taken."""

    handling = Handling.ASK_AGAIN


class MissingScore(AnswerError):
    """No entry has the account's id."""

    error_class = ErrorClass.MISSING_SCORE


class MismatchedScore(AnswerError):
    """Two entries have the account's id, or the entry repeats another account's name."""

    error_class = ErrorClass.MISMATCHED_SCORE


class InvalidScore(AnswerError):
    """The account's entry breaks the schema, such as a score out of range."""

    error_class = ErrorClass.INVALID_SCORE
