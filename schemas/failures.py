"""The failure classes: one row each, with what the pipeline and the operator do about it.

To add a class, add its row here, raise it (`RescoringError(message, ErrorClass.NEW)` or one of its subclasses, see
transforms/errors.py), and test the place that raises it. Dead letters, `dead-letters list`, logs and alerts follow.
"""

from enum import StrEnum
from typing import Any, Final, NamedTuple, Self


class Handling(StrEnum):
    """What the pipeline does when a call to Gemini, or one account in it, fails."""

    SLOW_DOWN = "slow_down"
    """Lower the limit of concurrent calls and make the call again; hold while this goes on."""
    RETRY = "retry"
    """Make the call again, a few times with growing waits; hold while every call fails so, else split."""
    REFRESH = "refresh"
    """Get new credentials and make the call again, once; then hold."""
    HOLD = "hold"
    """Keep the work and make no calls until a probe succeeds."""
    RETRY_ONCE = "retry_once"
    """Make the call once more; then split."""
    SPLIT = "split"
    """Halve the call until the account that causes the failure is alone."""
    ASK_AGAIN = "ask_again"
    """Keep the other accounts' answers, and ask for this account alone."""
    GIVE_UP = "give_up"
    """Dead-letter it."""


class Severity(StrEnum):
    """How urgent an error is for an operator; logs and alerts use it."""

    LOW = "LOW"
    """A fault of one item, expected now and then."""
    MEDIUM = "MEDIUM"
    """A fault of an answer or a row; many of them are a defect."""
    HIGH = "HIGH"
    """A service that the pipeline needs does not work as it should."""
    CRITICAL = "CRITICAL"
    """The pipeline has stopped."""


class _Row(NamedTuple):
    value: str
    severity: Severity
    retryable: bool
    remedy: str
    handling: Handling = Handling.GIVE_UP


class ErrorClass(StrEnum):
    """Why an item became a dead letter.

    `retryable` says whether a replay of the same message can succeed; `remedy` is for an operator at 3 a.m.; `handling`
    is for calls to Gemini.
    """

    severity: Severity
    retryable: bool
    remedy: str
    handling: Handling

    def __new__(cls, *row: Any) -> Self:
        """Make the member of a row."""
        values = _Row(*row)
        member = str.__new__(cls, values.value)
        member._value_ = values.value
        member.severity, member.retryable = values.severity, values.retryable
        member.remedy, member.handling = values.remedy, values.handling
        return member

    UNDECODABLE = _Row(
        "undecodable",
        Severity.LOW,
        retryable=False,
        remedy="The message is not JSON. Find the publisher by the original attributes and have it fixed. A "
        "replay helps only after the parser can read such bytes; the message is kept for 31 days.",
    )
    INVALID_EVENT = _Row(
        "invalid_event",
        Severity.LOW,
        retryable=False,
        remedy="The message is JSON, but not a valid change event; `show` says where. Fix the sender and have it"
        " publish the change again; a replay of the same bytes fails again.",
    )
    UNSUPPORTED_EVENT = _Row(
        "unsupported_event",
        Severity.LOW,
        retryable=False,
        remedy="A changeType or field bitmap can't be read. For bitmaps: add the Avro schema (--schemas), update"
        " the job, then replay.",
    )
    ACCOUNT_NOT_FOUND = _Row(
        "account_not_found",
        Severity.LOW,
        retryable=True,
        remedy="The CRM mirror lacks the account. Check the mirror's load, wait until it has caught up, then replay.",
    )
    ACCOUNT_NOT_NAMED = _Row(
        "account_not_named",
        Severity.LOW,
        retryable=True,
        remedy="No look-up found the related record's account. Enrich the channel with AccountId (docs/salesforce.md),"
        " check the mirror's load or set --salesforce_login_url, then replay.",
    )
    INVALID_CONTEXT = _Row(
        "invalid_context",
        Severity.MEDIUM,
        retryable=False,
        remedy="The CRM mirror's rows can't be read: a column's type has changed. Fix the mirror or "
        "schemas/account_context.py, update the job, then replay.",
    )
    BIGQUERY_UNAVAILABLE = _Row(
        "bigquery_unavailable",
        Severity.CRITICAL,
        retryable=True,
        remedy="BigQuery did not answer before the deadline. Check its status, quotas and the worker's "
        "permissions; when queries work again, replay.",
    )
    GEMINI_UNAVAILABLE = _Row(
        "gemini_unavailable",
        Severity.CRITICAL,
        retryable=True,
        remedy="Gemini refused or failed as a service: quota, permission, or a retired model. Check Vertex AI's "
        "status, quotas and --model; when a call works again, replay.",
    )
    GEMINI_TIMEOUT = _Row(
        "gemini_timeout",
        Severity.HIGH,
        retryable=True,
        handling=Handling.RETRY_ONCE,
        remedy="Gemini did not answer before the deadline. Replay when latency is normal again; if it recurs, "
        "raise --call_deadline_seconds or lower --accounts_per_call.",
    )
    PROMPT_TOO_LARGE = _Row(
        "prompt_too_large",
        Severity.MEDIUM,
        retryable=False,
        handling=Handling.SPLIT,
        remedy="One account's context exceeds the model's input. Lower the context's bounds or choose a model "
        "with a larger input, update the job, then replay.",
    )
    OUTPUT_TRUNCATED = _Row(
        "output_truncated",
        Severity.MEDIUM,
        retryable=True,
        handling=Handling.SPLIT,
        remedy="The answer reached the limit of output tokens, even for this account alone. Raise the limit or "
        "choose another model, update the job, then replay.",
    )
    INVALID_RESPONSE = _Row(
        "invalid_response",
        Severity.MEDIUM,
        retryable=True,
        handling=Handling.RETRY_ONCE,
        remedy="The answer is not the JSON asked for. Replay once; if it recurs, change the model or the prompt "
        "version.",
    )
    BLOCKED_RESPONSE = _Row(
        "blocked_response",
        Severity.LOW,
        retryable=False,
        handling=Handling.SPLIT,
        remedy="Gemini's filters blocked the answer. Read the account's texts with `show` and in the CRM; a "
        "replay helps after the text, the model or the prompt has changed.",
    )
    BLOCKED_PROMPT = _Row(
        "blocked_prompt",
        Severity.LOW,
        retryable=False,
        handling=Handling.SPLIT,
        remedy="Gemini's filters blocked the prompt. Read the account's texts with `show` and in the CRM; a "
        "replay helps after the text, the model or the prompt has changed.",
    )
    MISSING_SCORE = _Row(
        "missing_score",
        Severity.LOW,
        retryable=True,
        handling=Handling.ASK_AGAIN,
        remedy="Gemini left the account out, also when asked for it alone. Replay; if it recurs, change the "
        "model or the prompt version.",
    )
    MISMATCHED_SCORE = _Row(
        "mismatched_score",
        Severity.MEDIUM,
        retryable=True,
        handling=Handling.ASK_AGAIN,
        remedy="Gemini mixed up accounts, also when asked for this one alone. Replay with fewer "
        "--accounts_per_call; if it recurs, change the model.",
    )
    INVALID_SCORE = _Row(
        "invalid_score",
        Severity.MEDIUM,
        retryable=True,
        handling=Handling.ASK_AGAIN,
        remedy="The answer broke the schema, also when asked for this account alone. Replay; if it recurs, "
        "change the model or the prompt version.",
    )
    ROW_REJECTED = _Row(
        "row_rejected",
        Severity.HIGH,
        retryable=False,
        remedy="BigQuery refused the score's row: the table differs from schemas/score.py. Update the table, "
        "then replay; the account is scored again.",
    )
    BUDGET_EXHAUSTED = _Row(
        "budget_exhausted",
        Severity.HIGH,
        retryable=True,
        remedy="The token budget is spent. Raise it or wait for the next period, then replay.",
    )


DEAD_LETTER_STAGES: Final = (
    "Parse change events",
    "Find accounts",
    "Keep to budget",
    "Add account context",
    "Score accounts",
    "Write scores",
)
"""Labels of the steps that write dead letters, in the order of the graph."""
