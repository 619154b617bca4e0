"""Gemini's answer, checked account by account: nothing is clamped, mended, or matched by its position."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from schemas.score import ScoreAnswer
from transforms.errors import AnswerError, InvalidResponse, InvalidScore, MismatchedScore, MissingScore


def check_answers(text: str, names: Mapping[str, str]) -> dict[str, ScoreAnswer | AnswerError]:
    """Return the answer, or what is wrong with it, for each account that was asked about.

    Args:
        text: What the model wrote.
        names: The account's name by opaque id; entries with other ids are dropped.

    Raises:
        InvalidResponse: The text is not the JSON asked for, so that no account has an answer.
    """
    entries = _entries(text)
    occurrences = Counter(entry["id"] for entry in entries)
    by_id = {entry["id"]: entry for entry in entries}
    return {short_id: _check(by_id.get(short_id), name, occurrences[short_id]) for short_id, name in names.items()}


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidResponse(f"the answer is no JSON, from character {error.pos} on") from None
    entries = document.get("scores") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise InvalidResponse("the answer has no list `scores`")
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _check(entry: dict[str, Any] | None, name: str, occurrences: int) -> ScoreAnswer | AnswerError:
    if entry is None:
        return MissingScore("the answer has no entry for the account")
    if occurrences > 1:
        return MismatchedScore(f"the answer has {occurrences} entries for the account")
    try:
        answer = ScoreAnswer.model_validate_json(orjson.dumps(entry))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
        return InvalidScore("; ".join(f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in details[:3]))
    if answer.account_name.strip() != name.strip():
        return MismatchedScore("the entry repeats another account's name")
    return answer
