"""What to do about each class of dead letters, in a line or two that can be read at 3 a.m."""

from types import MappingProxyType
from typing import Final

REMEDIES: Final = MappingProxyType(
    {
        "undecodable": "No JSON. Find the publisher by the original attributes and have it mended; a replay helps only"
        " once the parser can read such bytes. Else leave it, or have it parked.",
        "invalid_event": "JSON, but no change event, or one with impossible values. `show` says where. Mend the sender"
        " and have it publish the change anew; a replay of the same bytes fails again.",
        "unsupported_event": "A changeType or field bitmap that can't be read here. For bitmaps: add the Avro schema"
        " (--schemas), update the job, replay.",
        "account_not_found": "The CRM mirror lacks the account. Look at the mirror's load, wait until it has caught up,"
        " replay.",
        "invalid_context": "The CRM mirror's rows can't be read: a column has drifted. Mend the mirror or"
        " schemas/account_context.py, update the job, replay.",
        "bigquery_unavailable": "BigQuery did not answer until the deadline. Check its status, quotas and the worker's"
        " permissions; when queries work again, replay.",
        "gemini_unavailable": "Gemini refused or failed as a service: quota, permission, or a retired model. Check"
        " Vertex AI's status, quotas and --model; when a call works again, replay.",
        "gemini_timeout": "No answer within the deadline. Replay when latency is back to normal; if it comes back,"
        " raise --call_deadline_seconds or lower --accounts_per_call.",
        "prompt_too_large": "One account's context exceeds the model's input. Lower the context's bounds or choose a"
        " model that takes more, update the job, replay.",
        "output_truncated": "The answer ran into the limit of output tokens, even for the account alone. Raise the"
        " limit or choose another model, update the job, replay.",
        "invalid_response": "Gemini answered with something else than the JSON asked for. Replay once; if it comes"
        " back, change the model or the prompt version.",
        "blocked_response": "Gemini's filters blocked the answer. Read the account's texts with `show` and in the CRM;"
        " a replay helps after the text, the model or the prompt has changed.",
        "blocked_prompt": "Gemini's filters blocked the prompt. As for blocked_response.",
        "missing_score": "Gemini left the account out, asked alone too. Replay; if it comes back, change the model or"
        " the prompt version.",
        "mismatched_score": "Gemini mixed accounts up, asked alone too. Replay with fewer --accounts_per_call; if it"
        " comes back, change the model.",
        "invalid_score": "The answer broke the schema, asked alone too. Replay; if it comes back, change the model or"
        " the prompt version.",
        "row_rejected": "BigQuery refused the score's row: the table has drifted from schemas/score.py. Bring the"
        " table up to date, then replay; it is scored anew.",
        "budget_exhausted": "The budget of tokens was used up. Raise it or wait for the next period, then replay.",
    }
)
"""By `ErrorClass`; a test holds it complete."""
