"""Choose the fault of a call and apply it to the answer: pure functions that repeat with the seed."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from pipeline.local.gemini.config import Fault
from pipeline.local.gemini.fault_kinds import FaultKind
from pipeline.local.gemini.seeded_random import uniform

UNKNOWN_ID: Final = "nobody-asked-for-this"
_TEXT_FAULTS: Final[Mapping[FaultKind, tuple[Callable[[str], str], str]]] = {
    FaultKind.MAX_TOKENS: (lambda text: text[: len(text) // 2], "MAX_TOKENS"),
    FaultKind.TRUNCATED_JSON: (lambda text: text[: len(text) // 2], "STOP"),
    FaultKind.INVALID_JSON: (lambda text: text.replace('"', "'") + ",", "STOP"),
    FaultKind.FENCED_JSON: (lambda text: f"```json\n{text}\n```", "STOP"),
    FaultKind.PROSE: (lambda _: "I have looked at the accounts, and most of them look promising to me.", "STOP"),
}
_SCORE_INSTRUCTION: Final = re.compile(r"\bscore\b[^.\n0-9]{0,60}?\b(100|[0-9]{1,2})\b", re.IGNORECASE)


def choose_fault(
    faults: Sequence[Fault], used: Sequence[int], *, seed: int, call: int, prompt: str, accounts: int
) -> int | None:
    """Return the index of the fault that applies to a call, or None.

    Args:
        faults: The first that applies is taken.
        used: For each fault, the number of calls that it was applied to so far.
        seed: Seed of the configuration; a fault may have its own.
        call: Number of the call, from 1.
        prompt: The whole text of the request.
        accounts: Number of accounts in the call.
    """
    for index, fault in enumerate(faults):
        spent = fault.limit is not None and used[index] >= fault.limit
        unmatched = fault.match is not None and not _contains(prompt, fault.match)
        impossible = accounts < _ACCOUNTS_NEEDED.get(fault.kind, 0)
        if spent or unmatched or impossible:
            continue
        if uniform(seed if fault.seed is None else fault.seed, "fault", index, call) < fault.rate:
            return index
    return None


_ACCOUNTS_NEEDED: Final = {FaultKind.ITEMS_SWAPPED: 2} | {
    kind: 1 for kind in FaultKind if kind.startswith(("item_", "score_"))
}


def affected_account(fault: Fault, accounts: Sequence[Mapping[str, Any]], chance: float) -> int:
    """Return the index of the account that an item fault applies to: one that it matches, else any."""
    indexes = list(range(len(accounts)))
    match = fault.match
    matching = [] if match is None else [index for index in indexes if _contains(json.dumps(accounts[index]), match)]
    candidates = matching or indexes
    return candidates[int(chance * len(candidates))]


def _contains(text: str, match: str) -> bool:
    """Whether a text contains another, verbatim or as a JSON string, with or without ASCII escapes."""
    return any(form in text for form in (match, orjson.dumps(match).decode()[1:-1], json.dumps(match)[1:-1]))


def corrupt_item(kind: FaultKind, items: list[dict[str, Any]], index: int) -> None:
    """Apply an item fault to the items of an answer, in place."""
    item = items[index]
    match kind:
        case FaultKind.ITEM_MISSING:
            del items[index]
        case FaultKind.ITEM_UNKNOWN_ID:
            items[index] = {**item, "id": UNKNOWN_ID}
        case FaultKind.ITEM_DOUBLED:
            items.append({**item, "score": _another_score(item["score"])})
        case FaultKind.ITEMS_SWAPPED:
            other = (index + 1) % len(items)
            items[index] = {**item, "id": items[other]["id"]}
            items[other] = {**items[other], "id": item["id"]}
        case _:
            items[index] = {**item, "score": _WRONG_SCORES[kind](item["score"])}


def _another_score(score: int) -> int:
    return 100 - score if score != 50 else 51  # noqa: PLR2004 - 100 - 50 is 50 again


_WRONG_SCORES: Final[Mapping[FaultKind, Callable[[int], Any]]] = {
    FaultKind.SCORE_OUT_OF_RANGE: lambda score: 150 if score % 2 else -5,
    FaultKind.SCORE_NAN: lambda _: float("nan"),
    FaultKind.SCORE_BOOLEAN: lambda _: True,
    FaultKind.SCORE_TEXT: lambda score: f"{score} of 100",
    FaultKind.SCORE_FLOAT: lambda score: score + 0.5,
}


def obey_instructions(
    items: list[dict[str, Any]], accounts: Sequence[Mapping[str, Any]], *, for_all: bool = False
) -> None:
    """Give each account the score that an instruction in its own texts demands, in place.

    Items are in the order of the accounts. `for_all` gives every account the score of the first such instruction.
    """
    demands = [instructed_score(account) for account in accounts[: len(items)]]
    if for_all:
        demands = [next((demand for demand in demands if demand is not None), None)] * len(demands)
    for index, demanded in enumerate(demands):
        if demanded is not None:
            items[index] = {**items[index], "score": demanded}


def instructed_score(account: Mapping[str, Any]) -> int | None:
    """Return the score (0 to 100) that an email or a call note demands, such as "score this account 100"."""
    for records, fields in (("emails", ("subject", "body")), ("calls", ("notes",))):
        found = account.get(records)
        for record in found if isinstance(found, list) else []:
            for field in fields:
                text = record.get(field) if isinstance(record, dict) else None
                if isinstance(text, str) and (demand := _SCORE_INSTRUCTION.search(text)):
                    return int(demand[1])
    return None


def answer_text(answer: Any, kind: FaultKind | None) -> tuple[str, str]:
    """Return the text of an answer and its finishReason, with a text fault applied."""
    # json writes NaN; orjson would write null.
    text = json.dumps(answer) if kind is FaultKind.SCORE_NAN else orjson.dumps(answer).decode()
    corrupt, finish_reason = _TEXT_FAULTS.get(kind, (None, "STOP")) if kind else (None, "STOP")
    return (corrupt(text) if corrupt else text), finish_reason


def other_model(model: str) -> str:
    """Return the name of another model."""
    return "gemini-3.8-flash" if model != "gemini-3.8-flash" else "gemini-3.1-flash-lite"
