"""Validation of Gemini's answer, account by account: nothing is clamped, repaired, or matched by its order.

A score is accepted as it is or rejected. Its reasons are prose: one that is longer than its column is cut, with a mark,
since a valid score should not be rejected, and paid for again, for a long text. A text of more than `MAX_RAMBLING`
times its bound rejects the entry. So do a formula and the name of another account of the call; links, markup and
personal data are taken out, and the row is flagged (`answer_texts.py`, `neighbours.py`).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import ValidationError

from schemas.score import MAX_ACTION, MAX_EVIDENCE, MAX_FACTOR, MAX_SUMMARY, Flag, ScoreAnswer
from transforms.errors import AnswerError, InvalidResponse, InvalidScore, MismatchedScore, MissingScore
from transforms.prompt.crm_text import CUT_MARK
from transforms.prompt.prompt import comparable_name
from transforms.score.answer_texts import are_plain, is_formula, plain_sentence, was_cleaned
from transforms.score.neighbours import names_neighbour

MAX_RAMBLING: Final = 4
_ENTRY_TEXTS: Final = {"recommended_action": MAX_ACTION, "summary": MAX_SUMMARY}
_DRIVER_TEXTS: Final = {"factor": MAX_FACTOR, "evidence": MAX_EVIDENCE}
_FIELDS: Final = frozenset(ScoreAnswer.model_fields)


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """An account's valid answer, with texts that are plain sentences."""

    answer: ScoreAnswer
    flags: tuple[str, ...] = ()
    """What the row must say of the answer."""


def check_answers(
    text: str, echoed_names: Mapping[str, str], own_text: Callable[[str], str] = lambda _: ""
) -> dict[str, CheckedAnswer | AnswerError]:
    """Return the valid answer or an error for each account of a call, by opaque id.

    Args:
        text: The model's.
        echoed_names: The name that each account's entry must repeat, by opaque id; entries with other ids are dropped.
        own_text: What the prompt showed of an account, by opaque id; its reasons may repeat a name that stands there.

    Raises:
        InvalidResponse: The text is not the requested JSON, so that no account has an answer.
    """
    entries = _entries(text)
    occurrences = Counter(entry["id"] for entry in entries)
    by_id = {entry["id"]: entry for entry in entries}
    checked = {
        short_id: _check(by_id.get(short_id), name, occurrences[short_id]) for short_id, name in echoed_names.items()
    }
    return {
        short_id: MismatchedScore("a reason names another account of the call")
        if isinstance(one, CheckedAnswer) and names_neighbour(_reasons(one.answer), short_id, echoed_names, own_text)
        else one
        for short_id, one in checked.items()
    }


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidResponse(f"the answer is not JSON, from character {error.pos} on") from None
    entries = document.get("scores") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise InvalidResponse("the answer has no list `scores`")
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]


def _check(entry: dict[str, Any] | None, echoed_name: str, occurrences: int) -> CheckedAnswer | AnswerError:
    if entry is None:
        return MissingScore("the answer has no entry for the account")
    if occurrences > 1:
        return MismatchedScore(f"the answer has {occurrences} entries for the account")
    return _validated(entry, echoed_name)


def _validated(entry: Mapping[str, Any], echoed_name: str) -> CheckedAnswer | AnswerError:
    texts = _texts(entry)
    if any(is_formula(text) for text in texts):
        return InvalidScore("a text of the entry is a formula")
    plain = {} if are_plain(texts) else {text: plain_sentence(text, echoed_name) for text in texts}
    bounded = _with_texts(entry, lambda text, bound: _cut(plain.get(text, text), bound))
    try:
        answer = ScoreAnswer.model_validate_json(orjson.dumps(bounded))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
        return InvalidScore("; ".join(f"{'.'.join(map(str, d['loc']))}: {d['msg']}" for d in details[:3]))
    except orjson.JSONEncodeError:
        return InvalidScore("the entry is nested too deeply")  # orjson parses more levels than it serialises
    if comparable_name(answer.account_name) != comparable_name(echoed_name):
        return MismatchedScore("the entry repeats another account's name")
    is_cleaned = any(was_cleaned(before, after) for before, after in plain.items())
    return CheckedAnswer(answer, (Flag.CLEANED_REASONS,) if is_cleaned else ())


def _reasons(answer: ScoreAnswer) -> Iterator[str]:
    yield from (answer.recommended_action, answer.summary)
    for driver in answer.drivers:
        yield from (driver.factor, driver.evidence)


def _texts(entry: Mapping[str, Any]) -> list[str]:
    texts: list[str] = []

    def noted(text: str, _: int) -> str:
        texts.append(text)
        return text

    _with_texts(entry, noted)
    return texts


def _with_texts(entry: Mapping[str, Any], change: Callable[[str, int], str]) -> dict[str, Any]:
    """Return the requested fields of an entry, with its texts changed; other types are left for validation.

    `change` takes a text and its bound.
    """

    def changed(values: Mapping[str, Any], bounds: Mapping[str, int]) -> dict[str, Any]:
        return {
            name: change(value, bounds[name])
            if name in bounds and isinstance(value, str) and len(value) <= bounds[name] * MAX_RAMBLING
            else value
            for name, value in values.items()
        }

    known = {name: value for name, value in entry.items() if name in _FIELDS}
    drivers = known.get("drivers")
    if isinstance(drivers, list):
        known["drivers"] = [
            changed(driver, _DRIVER_TEXTS) if isinstance(driver, dict) else driver for driver in drivers
        ]
    return changed(known, _ENTRY_TEXTS)


def _cut(text: str, bound: int) -> str:
    return text if len(text) <= bound else text[: bound - len(CUT_MARK)] + CUT_MARK
