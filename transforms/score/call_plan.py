"""Which calls are repeated or split, until every account has an answer or an error, within a bound of calls.

A call asks for several accounts. Valid entries are kept, and accounts whose entries are missing, mismatched or invalid
are asked for again, each alone. A call that fails as a whole is repeated once where that may help, and then halved
until the account that makes it fail is alone. One such account among n costs at most 2 * log2(n) + 1 further calls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from schemas.failures import Handling
from transforms.errors import AnswerError, GeminiError, HoldEnded

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Ask = Callable[[Sequence[Item]], Awaitable[Sequence[Answer | GeminiError]]]
"""Makes one call: an answer or an AnswerError for each item, in order; raises GeminiError if it fails as a whole."""

_SPLIT: Final = frozenset({Handling.SPLIT, Handling.RETRY_ONCE, Handling.RETRY})


async def settle(items: Sequence[Item], ask: Ask[Item, Answer]) -> list[Answer | GeminiError]:
    """Return the answer or the final error of each item, in order.

    Args:
        items: Those of the first call.
        ask: Makes a call, and waits and retries by itself while the service as a whole fails.
    """
    return await _settle(items, _with_one_retry(ask), ask)


async def _settle(
    items: Sequence[Item], first: Ask[Item, Answer], ask: Ask[Item, Answer]
) -> list[Answer | GeminiError]:
    try:
        answers = await first(items)
    except GeminiError as error:
        return await _split(items, error, ask)
    return await _ask_again(items, answers, ask)


async def _split(items: Sequence[Item], error: GeminiError, ask: Ask[Item, Answer]) -> list[Answer | GeminiError]:
    """Halve the items of a failed call.

    The left half is asked first. If it succeeds, the fault is in the right half, which is split without a call for the
    whole of it: this keeps the number of calls within the bound.
    """
    if len(items) == 1 or error.handling not in _SPLIT:
        return [error] * len(items)
    left, right = items[: len(items) // 2], items[len(items) // 2 :]
    try:
        answers = await ask(left)
    except HoldEnded as held:
        return [held] * len(left) + await _settle(right, ask, ask)  # the left half may have the account at fault
    except GeminiError as left_error:
        if left_error.handling not in _SPLIT:
            return [left_error] * len(items)
        halves = await asyncio.gather(_split(left, left_error, ask), _settle(right, ask, ask))
    else:
        rest = _settle(right, ask, ask) if len(right) == 1 else _split(right, error, ask)
        halves = await asyncio.gather(_ask_again(left, answers, ask), rest)
    return halves[0] + halves[1]


async def _ask_again(
    items: Sequence[Item], answers: Sequence[Answer | GeminiError], ask: Ask[Item, Answer]
) -> list[Answer | GeminiError]:
    """Ask once more for each item without a valid answer, alone."""
    settled = list(answers)
    invalid = [index for index, answer in enumerate(settled) if isinstance(answer, AnswerError)]
    if invalid:
        repeated = await asyncio.gather(*(_alone(items[index], _with_one_retry(ask)) for index in invalid))
        for index, answer in zip(invalid, repeated, strict=True):
            settled[index] = answer
    return settled


async def _alone(item: Item, ask: Ask[Item, Answer]) -> Answer | GeminiError:
    try:
        (answer,) = await ask([item])
    except GeminiError as error:
        return error
    return answer


def _with_one_retry(ask: Ask[Item, Answer]) -> Ask[Item, Answer]:
    """Return `ask` with one repetition of a call that fails with RETRY_ONCE."""

    async def ask_twice(items: Sequence[Item]) -> Sequence[Answer | GeminiError]:
        try:
            return await ask(items)
        except GeminiError as error:
            if error.handling is not Handling.RETRY_ONCE:
                raise
        return await ask(items)

    return ask_twice
