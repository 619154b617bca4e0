"""Which fault befalls a call, and what it does to the answer. All of it pure, and the same for the same seed."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from pipeline.local.gemini.chance import uniform
from pipeline.local.gemini.config import Fault
from pipeline.local.gemini.fault_kinds import FaultKind

UNKNOWN_ID: Final = "nobody-asked-for-this"
_TEXT_FAULTS: Final[Mapping[FaultKind, tuple[Callable[[str], str], str]]] = {
    FaultKind.MAX_TOKENS: (lambda text: text[: len(text) // 2], "MAX_TOKENS"),
    FaultKind.TRUNCATED_JSON: (lambda text: text[: len(text) // 2], "STOP"),
    FaultKind.INVALID_JSON: (lambda text: text.replace('"', "'") + ",", "STOP"),
    FaultKind.FENCED_JSON: (lambda text: f"```json\n{text}\n```", "STOP"),
    FaultKind.PROSE: (lambda _: "I have looked at the accounts, and most of them look promising to me.", "STOP"),
}
_DEMAND: Final = re.compile(r"\bscore\b[^.\n0-9]{0,60}?\b(100|[0-9]{1,2})\b", re.IGNORECASE)


def choose_fault(
    faults: Sequence[Fault], used: Sequence[int], *, seed: int, call: int, prompt: str, accounts: int
) -> int | None:
    """Return the index of the fault that befalls a call, or None.

    Args:
        faults: In the order in which they are tried; the first that applies is taken.
        used: For each fault, how many calls it has befallen so far.
        seed: Of the configuration; a fault may have its own.
        call: The number of the call, from 1.
        prompt: All text of the request.
        accounts: How many accounts it asks for.
    """
    for index, fault in enumerate(faults):
        spent = fault.limit is not None and used[index] >= fault.limit
        unmatched = fault.match is not None and not _holds(prompt, fault.match)
        impossible = accounts < _ACCOUNTS_NEEDED.get(fault.kind, 0)
        if spent or unmatched or impossible:
            continue
        if uniform(seed if fault.seed is None else fault.seed, "fault", index, call) < fault.rate:
            return index
    return None


_ACCOUNTS_NEEDED: Final = {FaultKind.ITEMS_SWAPPED: 2} | {
    kind: 1 for kind in FaultKind if kind.startswith(("item_", "score_"))
}


def victim_of(fault: Fault, accounts: Sequence[Mapping[str, Any]], chance: float) -> int:
    """Return the index of the account that a fault of one item befalls: one that it matches, else any."""
    everyone = list(range(len(accounts)))
    match = fault.match
    named = [] if match is None else [one for one in everyone if _holds(json.dumps(accounts[one]), match)]
    candidates = named or everyone
    return candidates[int(chance * len(candidates))]


def _holds(text: str, wanted: str) -> bool:
    """Whether a text holds another, as it is or as JSON writes it, with or without characters beyond ASCII."""
    return any(form in text for form in (wanted, orjson.dumps(wanted).decode()[1:-1], json.dumps(wanted)[1:-1]))


def spoil_item(kind: FaultKind, items: list[Any], victim: int) -> int:
    """Do to the items of an answer what the fault of an item says, in place; return how many it spoilt.

    Every item is an object with `id` and `score`; items that are none are left alone.
    """
    if not all(isinstance(item, dict) for item in items) or victim >= len(items):
        return 0
    item = items[victim]
    match kind:
        case FaultKind.ITEM_MISSING:
            del items[victim]
        case FaultKind.ITEM_UNKNOWN_ID:
            items[victim] = {**item, "id": UNKNOWN_ID}
        case FaultKind.ITEM_DOUBLED:
            items.append({**item, "score": _another_score(item.get("score"))})
        case FaultKind.ITEMS_SWAPPED:
            other = (victim + 1) % len(items)
            items[victim] = {**item, "id": items[other].get("id")}
            items[other] = {**items[other], "id": item.get("id")}
            return 2
        case _:
            items[victim] = {**item, "score": _WRONG_SCORES[kind](item.get("score"))}
    return 1


def _another_score(score: Any) -> int:
    return 100 - score if isinstance(score, int) and score != 50 else 51  # noqa: PLR2004 - the middle is its own mirror


_WRONG_SCORES: Final[Mapping[FaultKind, Callable[[Any], Any]]] = {
    FaultKind.SCORE_OUT_OF_RANGE: lambda score: 150 if isinstance(score, int) and score % 2 else -5,
    FaultKind.SCORE_NAN: lambda _: float("nan"),
    FaultKind.SCORE_BOOLEAN: lambda _: True,
    FaultKind.SCORE_TEXT: lambda score: f"{score} of 100",
    FaultKind.SCORE_FLOAT: lambda score: score + 0.5 if isinstance(score, int) else 0.5,
}


def obey_instructions(items: list[Any], accounts: Sequence[Mapping[str, Any]], *, for_all: bool = False) -> None:
    """Give each account whose own texts demand a score that score, in place; items stand in the accounts' order.

    `for_all` gives every account the score that the first such text demands.
    """
    demands = [demanded_score(account) for account in accounts[: len(items)]]
    if for_all:
        demands = [next((demand for demand in demands if demand is not None), None)] * len(demands)
    for index, demanded in enumerate(demands):
        if demanded is not None and isinstance(items[index], dict):
            items[index] = {**items[index], "score": demanded}


def demanded_score(account: Mapping[str, Any]) -> int | None:
    """Return the score, 0 to 100, that an email or a call note of the account asks for ("score this account 100")."""
    for records, fields in (("emails", ("subject", "body")), ("calls", ("notes",))):
        found = account.get(records)
        for record in found if isinstance(found, list) else []:
            for field in fields:
                text = record.get(field) if isinstance(record, dict) else None
                if isinstance(text, str) and (demand := _DEMAND.search(text)):
                    return int(demand[1])
    return None


def answer_text(answer: Any, kind: FaultKind | None) -> tuple[str, str]:
    """Return the text of an answer and its finishReason, spoilt as the fault says."""
    # Only json writes NaN; orjson makes it null.
    text = json.dumps(answer) if kind is FaultKind.SCORE_NAN else orjson.dumps(answer).decode()
    spoil, finish_reason = _TEXT_FAULTS.get(kind, (None, "STOP")) if kind else (None, "STOP")
    return (spoil(text) if spoil else text), finish_reason


TEXT_FAULTS: Final = frozenset(_TEXT_FAULTS)


def other_model(model: str) -> str:
    """Return a model that is not the one that was asked."""
    return "gemini-3.8-flash" if model != "gemini-3.8-flash" else "gemini-3.1-flash-lite"
