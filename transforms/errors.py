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
    ├── GeminiUnavailable    the service: 429, 5xx, 401, 403, 404, connection lost
    ├── GeminiTimeout        no answer within the deadline
    ├── GeminiRefusedPrompt  400: this prompt, as it stands
    ├── BlockedPrompt        promptFeedback.blockReason
    ├── BlockedResponse      no content, and a finish reason that says why
    ├── OutputTruncated      MAX_TOKENS
    └── InvalidResponse      content that is not the JSON asked for
"""

from typing import ClassVar

from schemas.dead_letter import ErrorClass


class RescoringError(Exception):
    """An error with a class; the message names the thing and the remedy, and carries no text of the CRM's."""

    error_class: ClassVar[ErrorClass]


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


class GeminiUnavailable(GeminiError):
    """Gemini refused or failed as a service."""

    error_class = ErrorClass.GEMINI_UNAVAILABLE


class GeminiTimeout(GeminiError):
    """Gemini did not finish its answer within the deadline."""

    error_class = ErrorClass.GEMINI_TIMEOUT


class GeminiRefusedPrompt(GeminiError):
    """Gemini refused this request as invalid; the prompt is the only part of it that varies."""

    error_class = ErrorClass.PROMPT_TOO_LARGE


class BlockedPrompt(GeminiError):
    """Gemini's filters blocked the prompt."""

    error_class = ErrorClass.BLOCKED_PROMPT


class BlockedResponse(GeminiError):
    """Gemini ended without content for a reason that is not the length."""

    error_class = ErrorClass.BLOCKED_RESPONSE


class OutputTruncated(GeminiError):
    """Gemini ran into the limit of output tokens."""

    error_class = ErrorClass.OUTPUT_TRUNCATED


class InvalidResponse(GeminiError):
    """Gemini answered with something else than the JSON it was asked for."""

    error_class = ErrorClass.INVALID_RESPONSE


class AnswerError(GeminiError):
    """Gemini answered in the form asked for, but one account's entry can't be taken."""


class MissingScore(AnswerError):
    """No entry has the account's id."""

    error_class = ErrorClass.MISSING_SCORE


class MismatchedScore(AnswerError):
    """Two entries have the account's id, or the entry repeats another account's name."""

    error_class = ErrorClass.MISMATCHED_SCORE


class InvalidScore(AnswerError):
    """The account's entry breaks the schema, such as a score out of range."""

    error_class = ErrorClass.INVALID_SCORE
