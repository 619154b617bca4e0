"""The plan of calls: every item is settled, valid answers are kept, a poison item is found within the bound."""

import asyncio
import math
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.errors import (
    BlockedPrompt,
    EndedEarly,
    GeminiError,
    GeminiRefusedPrompt,
    GeminiTimeout,
    GeminiUnavailable,
    InvalidResponse,
    InvalidScore,
    MismatchedScore,
    MissingScore,
    OutputTruncated,
    ServerFault,
)
from transforms.score.call_plan import settle

POISONS = [
    BlockedPrompt("x"),
    EndedEarly("x"),
    GeminiRefusedPrompt("x"),
    GeminiTimeout("x"),
    InvalidResponse("x"),
    OutputTruncated("x"),
    ServerFault(500),
]
SPOILT_ENTRIES = [MissingScore("x"), MismatchedScore("x"), InvalidScore("x")]


class Gemini:
    """Answers an item with its square, fails calls with a poison item, and returns errors for spoilt items."""

    def __init__(
        self, *, poisons: dict[int, GeminiError] | None = None, spoilt: dict[int, GeminiError] | None = None
    ) -> None:
        self.poisons = poisons or {}
        self.spoilt = spoilt or {}
        self.calls: list[list[int]] = []

    async def ask(self, items: Sequence[int]) -> Sequence[int | GeminiError]:
        """Make a call."""
        self.calls.append(list(items))
        await asyncio.sleep(0)
        for item in items:
            if item in self.poisons:
                raise self.poisons[item]
        return [self.spoilt.get(item, item * item) for item in items]

    def settle(self, n: int) -> list[int | GeminiError]:
        """Settle items 0 to n - 1."""
        return asyncio.run(settle(range(n), self.ask))


@given(n=st.integers(1, 600), data=st.data(), error=st.sampled_from(POISONS))
def test_one_poison_item_costs_at_most_its_bound(n: int, data: st.DataObject, error: GeminiError) -> None:
    """An item that fails every call it is in gets the error, the others get answers, within the bound of calls."""
    poison = data.draw(st.integers(0, n - 1))
    gemini = Gemini(poisons={poison: error})
    assert gemini.settle(n) == [error if item == poison else item * item for item in range(n)]
    assert len(gemini.calls) - 1 <= 2 * math.log2(n) + 1
    assert [poison] in gemini.calls, "an item is given up only after it failed alone"


@given(n=st.integers(1, 60), data=st.data(), error=st.sampled_from(SPOILT_ENTRIES))
def test_a_spoilt_entry_is_asked_for_again_alone(n: int, data: st.DataObject, error: GeminiError) -> None:
    """Valid answers are kept; the spoilt item is asked for once more, alone."""
    item = data.draw(st.integers(0, n - 1))
    gemini = Gemini(spoilt={item: error})
    assert gemini.settle(n) == [error if each == item else each * each for each in range(n)]
    assert gemini.calls == [list(range(n)), [item]]


@given(
    n=st.integers(1, 40),
    poisons=st.dictionaries(st.integers(0, 39), st.sampled_from(POISONS)),
    spoilt=st.dictionaries(st.integers(0, 39), st.sampled_from(SPOILT_ENTRIES)),
)
def test_every_item_ends_with_its_own_answer_or_error(
    n: int, poisons: dict[int, GeminiError], spoilt: dict[int, GeminiError]
) -> None:
    """With any mix of poison and spoilt items, each item has its own answer or error."""
    gemini = Gemini(poisons=poisons, spoilt=spoilt)
    assert gemini.settle(n) == [poisons.get(item, spoilt.get(item, item * item)) for item in range(n)]


def test_a_fault_that_does_not_come_again_costs_one_call() -> None:
    """The call is repeated before it is split."""
    failures = iter([EndedEarly("x")])
    calls = []

    async def ask(items: Sequence[int]) -> Sequence[int]:
        calls.append(list(items))
        for error in failures:
            raise error
        return items

    assert asyncio.run(settle(range(5), ask)) == [0, 1, 2, 3, 4]
    assert calls == [[0, 1, 2, 3, 4]] * 2


def test_a_valid_second_entry_is_the_answer() -> None:
    """The second answer counts."""
    answers: Iterator[list[int | GeminiError]] = iter([[1, MissingScore("x")], [2]])

    async def ask(items: Sequence[int]) -> Sequence[int | GeminiError]:
        return next(answers)

    assert asyncio.run(settle([1, 2], ask)) == [1, 2]


@pytest.mark.parametrize("n", [1, 5, 40])
def test_a_call_held_for_too_long_is_not_split(n: int) -> None:
    """Its items get the outage's error, and no further call is made."""
    error = GeminiUnavailable("held")
    gemini = Gemini(poisons=dict.fromkeys(range(n), error))
    assert gemini.settle(n) == [error] * n
    assert len(gemini.calls) == 1


def test_an_outage_ends_the_splitting() -> None:
    """Items not asked for when the outage exceeds its deadline get the outage's error."""
    held = GeminiUnavailable("held")
    outcomes = iter([BlockedPrompt("x"), held])

    async def ask(items: Sequence[int]) -> Sequence[int]:
        raise next(outcomes)

    assert asyncio.run(settle(range(4), ask)) == [held] * 4
