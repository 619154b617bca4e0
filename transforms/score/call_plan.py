"""What is asked again, and how: nobody's answer is lost, nobody is asked for ever.

A call asks for several accounts. Valid entries are kept, and the accounts of missing, mismatched and invalid ones asked
for again, each alone. A call that fails as a whole is made once more where that may help, and then halved, until the
account that does it stands alone. One such account among n costs at most 2 * log2(n) + 1 calls more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from schemas.failures import Handling
from transforms.errors import AnswerError, GeminiError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Ask = Callable[[Sequence[Item]], Awaitable[Sequence[Answer | GeminiError]]]
"""Makes one call: an answer or an AnswerError for each item, in order; raises GeminiError if it fails as a whole."""

_SPLIT: Final = frozenset({Handling.SPLIT, Handling.RETRY_ONCE, Handling.RETRY})


async def settle(items: Sequence[Item], ask: Ask[Item, Answer]) -> list[Answer | GeminiError]:
    """Return the answer of each item, or the error that it ends with, in order.

    Args:
        items: Those that share the first call.
        ask: What makes a call; it waits and retries by itself where the service as a whole fails.
    """
    return await _settle(items, _twice(ask), ask)


async def _settle(
    items: Sequence[Item], first: Ask[Item, Answer], ask: Ask[Item, Answer]
) -> list[Answer | GeminiError]:
    try:
        answers = await first(items)
    except GeminiError as error:
        return await _search(items, error, ask)
    return await _ask_again(items, answers, ask)


async def _search(items: Sequence[Item], error: GeminiError, ask: Ask[Item, Answer]) -> list[Answer | GeminiError]:
    """Halve items whose call failed.

    The left half goes first. If it is sound, the fault lies in the right half, which need not fail once more as it
    stands: this is what keeps the search within its bound.
    """
    if len(items) == 1 or error.handling not in _SPLIT:
        return [error] * len(items)
    left, right = items[: len(items) // 2], items[len(items) // 2 :]
    try:
        answers = await ask(left)
    except GeminiError as left_error:
        if left_error.handling not in _SPLIT:
            return [left_error] * len(items)
        halves = await asyncio.gather(_search(left, left_error, ask), _settle(right, ask, ask))
    else:
        rest = _settle(right, ask, ask) if len(right) == 1 else _search(right, error, ask)
        halves = await asyncio.gather(_ask_again(left, answers, ask), rest)
    return halves[0] + halves[1]


async def _ask_again(
    items: Sequence[Item], answers: Sequence[Answer | GeminiError], ask: Ask[Item, Answer]
) -> list[Answer | GeminiError]:
    """Ask for each item without a valid answer alone, once."""
    settled = list(answers)
    open_places = [place for place, answer in enumerate(settled) if isinstance(answer, AnswerError)]
    if open_places:
        found = await asyncio.gather(*(_alone(items[place], _twice(ask)) for place in open_places))
        for place, answer in zip(open_places, found, strict=True):
            settled[place] = answer
    return settled


async def _alone(item: Item, ask: Ask[Item, Answer]) -> Answer | GeminiError:
    try:
        (answer,) = await ask([item])
    except GeminiError as error:
        return error
    return answer


def _twice(ask: Ask[Item, Answer]) -> Ask[Item, Answer]:
    """Return what makes the same call once more where that may help."""

    async def ask_twice(items: Sequence[Item]) -> Sequence[Answer | GeminiError]:
        try:
            return await ask(items)
        except GeminiError as error:
            if error.handling is not Handling.RETRY_ONCE:
                raise
        return await ask(items)

    return ask_twice
