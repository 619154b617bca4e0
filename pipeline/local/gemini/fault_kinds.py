"""The kinds of failure that the stand-in can produce."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class FaultKind(StrEnum):
    """A kind of failure; the value is its name in the configuration."""

    HTTP_400 = "http_400"
    HTTP_401 = "http_401"
    HTTP_403 = "http_403"
    HTTP_404 = "http_404"
    HTTP_429 = "http_429"
    HTTP_499 = "http_499"
    HTTP_500 = "http_500"
    HTTP_503 = "http_503"
    HTTP_504 = "http_504"

    CONNECTION_DROPPED = "connection_dropped"
    """The connection is closed before the first byte of the answer."""
    CONNECTION_DROPPED_MID_ANSWER = "connection_dropped_mid_answer"
    """The connection is closed after the headers and half of the body."""
    NO_ANSWER = "no_answer"
    """The connection stays open without an answer."""
    HALF_OPEN = "half_open"
    """The headers and half of the body are sent; then the connection stays open without the rest."""
    DRIPPING = "dripping"
    """The body is sent one byte at a time, `drip_seconds` apart."""

    MAX_TOKENS = "max_tokens"
    """Half of the JSON, with finishReason MAX_TOKENS."""
    TRUNCATED_JSON = "truncated_json"
    """Half of the JSON, with finishReason STOP."""
    INVALID_JSON = "invalid_json"
    """The whole text, with apostrophes for quotation marks and a trailing comma."""
    FENCED_JSON = "fenced_json"
    """The JSON in a Markdown fence."""
    PROSE = "prose"
    """Sentences without JSON."""

    FINISH_SAFETY = "finish_safety"
    FINISH_BLOCKLIST = "finish_blocklist"
    FINISH_SPII = "finish_spii"
    FINISH_PROHIBITED_CONTENT = "finish_prohibited_content"
    FINISH_RECITATION = "finish_recitation"
    FINISH_OTHER = "finish_other"
    FINISH_LANGUAGE = "finish_language"
    FINISH_MALFORMED_FUNCTION_CALL = "finish_malformed_function_call"
    FINISH_UNKNOWN = "finish_unknown"
    """A finishReason that no client knows yet."""
    PROMPT_BLOCKED = "prompt_blocked"
    """promptFeedback.blockReason without candidates."""
    NO_CANDIDATES = "no_candidates"
    """An empty list of candidates without a reason."""

    ITEM_MISSING = "item_missing"
    ITEM_UNKNOWN_ID = "item_unknown_id"
    """One account is answered under an id that was not asked for."""
    ITEM_DOUBLED = "item_doubled"
    """One account is answered twice, with different scores."""
    ITEMS_SWAPPED = "items_swapped"
    """Two accounts are answered under each other's id; their names stay with the scores."""
    SCORE_OUT_OF_RANGE = "score_out_of_range"
    SCORE_NAN = "score_nan"
    """The token NaN, which is not JSON."""
    SCORE_BOOLEAN = "score_boolean"
    SCORE_TEXT = "score_text"
    SCORE_FLOAT = "score_float"

    OTHER_MODEL_VERSION = "other_model_version"
    """A valid answer whose modelVersion is another model."""
    OBEYS_INSTRUCTIONS = "obeys_instructions"
    """An account whose email or call note says "score ... 100" gets that score; the others keep theirs."""
    OBEYS_FOR_ALL = "obeys_for_all"
    """Every account of the call gets the score that one such text demands: the worst case of a prompt injection."""


HTTP_STATUS: Final[Mapping[FaultKind, int]] = {
    kind: int(kind.removeprefix("http_")) for kind in FaultKind if kind.startswith("http_")
}

FINISH_REASON: Final[Mapping[FaultKind, str]] = {
    **{kind: kind.removeprefix("finish_").upper() for kind in FaultKind if kind.startswith("finish_")},
    FaultKind.FINISH_UNKNOWN: "GREW_TIRED",
}

ITEM_FAULTS: Final = frozenset(kind for kind in FaultKind if kind.startswith(("item_", "items_", "score_")))
"""Faults of one or two items in an otherwise valid answer."""
