"""The errors that stages raise; each vendor's exceptions are mapped to them once, in that vendor's client.

RescoringError               has an error class, and a message without text from the CRM
├── RefusedEvent             the message is not a change event that this service can read
│   ├── Undecodable          not JSON
│   ├── InvalidEvent         JSON, but not what Salesforce sends
│   │   └── MessageTooLarge  more bytes, events or records than one message may have
│   └── UnsupportedEvent     sent by Salesforce, but it can't be read without guessing
├── AccountNotNamed          a related record's account is neither named nor found
├── WarehouseError           the warehouse has no context for the account
│   ├── WarehouseUnavailable BigQuery did not answer, or refused the service
│   ├── AccountNotFound      the mirror has no such account
│   └── InvalidContext       the mirror's rows have other types than expected
├── BudgetExhausted          the day's token budget is spent
├── RowRejected              BigQuery refused a row
├── SalesforceUnavailable    Salesforce did not answer, or refused: the re-read is left out, nothing is dead-lettered
└── GeminiError              a call to Gemini brought no scores
    ├── GeminiUnavailable    the service as a whole; a dead letter's own when an outage outlasts its deadline
    │   ├── QuotaExhausted   429
    │   ├── ServerFault      5xx, 499
    │   ├── ConnectionLost   before the whole answer arrived
    │   ├── Unauthenticated  401, or no access token
    │   ├── AccessRefused    403, 404, and every other unexpected status
    │   └── HoldEnded        still unavailable when the bundle may not wait any longer
    ├── GeminiTimeout        no complete answer before the deadline
    ├── GeminiRefusedPrompt  400: this prompt
    ├── BlockedPrompt        promptFeedback.blockReason
    ├── BlockedResponse      no content: a filter withheld it
    │   └── EndedEarly       no content, for a reason that may not recur: RECITATION, OTHER, unknown ones
    ├── OutputTruncated      MAX_TOKENS, or JSON that ends too early
    ├── InvalidResponse      content that is not the JSON asked for
    └── AnswerError          the JSON asked for, but one account's entry is unusable
        ├── MissingScore     no entry
        ├── MismatchedScore  two entries, or one with another account's name
        └── InvalidScore     the entry breaks the schema
"""

from schemas.failures import ErrorClass, Handling, Severity


class RescoringError(Exception):
    """An error with an error class; the message names the thing and the remedy, and holds no text from the CRM.

    `class New(RescoringError, error_class=...)` takes handling and severity from the row in schemas/failures.py; errors
    that normally pass without a dead letter override them. `raise InvalidEvent(message, ErrorClass.NEW)` raises
    a class that needs no type of its own.
    """

    error_class: ErrorClass
    handling: Handling = Handling.GIVE_UP
    severity: Severity

    def __init_subclass__(
        cls,
        *,
        error_class: ErrorClass | None = None,
        handling: Handling | None = None,
        severity: Severity | None = None,
    ) -> None:
        """Take the row's values and the subclass's own."""
        super().__init_subclass__()
        if error_class:
            cls.error_class, cls.handling, cls.severity = error_class, error_class.handling, error_class.severity
        cls.handling = handling or cls.handling
        if severity:
            cls.severity = severity

    def __init__(self, message: str, error_class: ErrorClass | None = None) -> None:
        super().__init__(message)
        if error_class:
            self.error_class, self.handling = error_class, error_class.handling
            self.severity = error_class.severity


class RefusedEvent(RescoringError):
    """The message is not a change event that this service can read."""


class Undecodable(RefusedEvent, error_class=ErrorClass.UNDECODABLE):
    """The bytes are not JSON."""


class InvalidEvent(RefusedEvent, error_class=ErrorClass.INVALID_EVENT):
    """The JSON is not a change event, or its header is malformed."""


class MessageTooLarge(InvalidEvent, error_class=ErrorClass.INVALID_EVENT):
    """The message has more bytes, events or records than one message may have; none of it is read."""


class UnsupportedEvent(RefusedEvent, error_class=ErrorClass.UNSUPPORTED_EVENT):
    """The change event can't be read without guessing."""


class AccountNotNamed(RescoringError, error_class=ErrorClass.ACCOUNT_NOT_NAMED):
    """A related record's event does not name its account, and nothing else does."""


class WarehouseError(RescoringError):
    """The warehouse has no context for an account."""


class WarehouseUnavailable(WarehouseError, error_class=ErrorClass.BIGQUERY_UNAVAILABLE):
    """BigQuery did not answer, or refused the service."""


class AccountNotFound(WarehouseError, error_class=ErrorClass.ACCOUNT_NOT_FOUND):
    """The mirror has no such account."""


class InvalidContext(WarehouseError, error_class=ErrorClass.INVALID_CONTEXT):
    """The mirror's rows of an account have other types than expected."""


class BudgetExhausted(RescoringError, error_class=ErrorClass.BUDGET_EXHAUSTED):
    """The day's token budget is spent."""


class SalesforceUnavailable(RescoringError):
    """Salesforce did not answer, or refused; there is no error class, because the change goes on without a re-read."""


class RowRejected(RescoringError, error_class=ErrorClass.ROW_REJECTED):
    """BigQuery refused a row."""


class GeminiError(RescoringError):
    """A call to Gemini brought no scores."""


class GeminiUnavailable(GeminiError, error_class=ErrorClass.GEMINI_UNAVAILABLE):
    """Gemini refused or failed as a service for longer than an outage may last."""


class QuotaExhausted(GeminiUnavailable, handling=Handling.SLOW_DOWN, severity=Severity.LOW):
    """429: the shared quota is exhausted at the moment."""

    def __init__(self, retry_after_seconds: float | None = None) -> None:
        super().__init__("Gemini's quota is exhausted (429)")
        self.retry_after_seconds = retry_after_seconds


class ServerFault(GeminiUnavailable, handling=Handling.RETRY, severity=Severity.MEDIUM):
    """5xx or 499: Gemini failed; the next call may succeed."""

    def __init__(self, status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"Gemini answered with HTTP status {status}")
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class ConnectionLost(GeminiUnavailable, handling=Handling.RETRY, severity=Severity.MEDIUM):
    """The connection failed, or broke before the whole answer arrived."""


class Unauthenticated(GeminiUnavailable, handling=Handling.REFRESH):
    """401, or the token endpoint gave no token."""


class AccessRefused(GeminiUnavailable, handling=Handling.HOLD):
    """403, 404 or an unexpected status: an operator has to act."""

    def __init__(self, status: int, reason: str | None = None) -> None:
        super().__init__(f"Gemini answered with HTTP status {status}: check permissions and the model's name")
        self.status = status
        self.reason = reason
        """Google's name of the reason, such as SERVICE_DISABLED; None if Google gave none."""


class HoldEnded(GeminiUnavailable):
    """Gemini still fails, as a whole or for this call, which was held for as long as its bundle may wait."""


class GeminiTimeout(GeminiError, error_class=ErrorClass.GEMINI_TIMEOUT):
    """Gemini did not finish its answer before the deadline."""


class GeminiRefusedPrompt(GeminiError, error_class=ErrorClass.PROMPT_TOO_LARGE):
    """Gemini refused this request as invalid; only the prompt differs between requests."""


class BlockedPrompt(GeminiError, error_class=ErrorClass.BLOCKED_PROMPT):
    """Gemini's filters blocked the prompt."""


class BlockedResponse(GeminiError, error_class=ErrorClass.BLOCKED_RESPONSE):
    """Gemini's filters withheld the content."""


class EndedEarly(BlockedResponse, handling=Handling.RETRY_ONCE):
    """Gemini ended without content for a reason that may not recur."""


class OutputTruncated(GeminiError, error_class=ErrorClass.OUTPUT_TRUNCATED):
    """The answer reached the limit of output tokens, or its JSON ends too early."""


class InvalidResponse(GeminiError, error_class=ErrorClass.INVALID_RESPONSE):
    """The answer is not the JSON asked for."""


class AnswerError(GeminiError, handling=Handling.ASK_AGAIN):
    """The answer is the JSON asked for, but one account's entry is unusable."""


class MissingScore(AnswerError, error_class=ErrorClass.MISSING_SCORE):
    """No entry has the account's id."""


class MismatchedScore(AnswerError, error_class=ErrorClass.MISMATCHED_SCORE):
    """Two entries have the account's id, or the entry has another account's name."""


class InvalidScore(AnswerError, error_class=ErrorClass.INVALID_SCORE):
    """The account's entry breaks the schema, such as a score out of range."""
