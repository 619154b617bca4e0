"""Splitting a batch into calls, and a call's outcome into its accounts'."""

import json

from hypothesis import given
from hypothesis import strategies as st

from schemas.score import ScoreAnswer
from tests.fixtures.changes import in_context
from tests.unit.schemas.test_score import ANSWER
from transforms.errors import BlockedPrompt, GeminiError, MissingScore
from transforms.gemini import Generation
from transforms.prompt import render_prompt
from transforms.score_accounts import read_call, shares, split_calls


@given(st.integers(1, 60), st.integers(1, 12))
def test_a_batch_is_split_without_loss(accounts: int, accounts_per_call: int) -> None:
    """Every account is in exactly one call, no call is over the limit, and their sizes differ by one at most."""
    batch = [in_context(number) for number in range(accounts)]
    calls = split_calls(batch, accounts_per_call)
    assert sorted(item.change.event_id for call in calls for item in call) == [item.change.event_id for item in batch]
    assert max(map(len, calls)) <= accounts_per_call
    assert max(map(len, calls)) - min(map(len, calls)) <= 1


@given(st.integers(0, 100_000), st.integers(1, 20))
def test_shares_add_up(total: int, parts: int) -> None:
    """Tokens are shared out to the last one."""
    assert sum(shares(total, parts)) == total


def test_a_failed_call_fails_each_of_its_accounts() -> None:
    """What holds for the call holds for all that it asked about."""
    prompt = render_prompt([in_context(number) for number in range(3)])
    error = BlockedPrompt("blocked")
    assert [answer for _, answer in read_call(prompt, error)] == [error] * 3


def test_an_answer_for_some_is_kept() -> None:
    """The accounts that were answered have their answer, the other an error."""
    prompt = render_prompt([in_context(number) for number in range(2)])
    first, second = prompt.accounts
    name = prompt.accounts[first].context.profile.name
    text = json.dumps({"scores": [ANSWER | {"id": first, "account_name": name}]})
    generation = Generation(text, "m", prompt_tokens=1, output_tokens=1, cached_tokens=0, latency_seconds=0.1)
    answers = {item.change.event_id: answer for item, answer in read_call(prompt, generation)}
    assert isinstance(answers[prompt.accounts[first].change.event_id], ScoreAnswer)
    assert isinstance(answers[prompt.accounts[second].change.event_id], MissingScore)


def test_prose_fails_the_call() -> None:
    """An answer that is no JSON fails each account of the call."""
    prompt = render_prompt([in_context(number) for number in range(2)])
    generation = Generation("Sure!", "m", prompt_tokens=1, output_tokens=1, cached_tokens=0, latency_seconds=0.1)
    assert all(isinstance(answer, GeminiError) for _, answer in read_call(prompt, generation))
