"""Splitting a batch into calls, sharing the cost of a call, and logging failures."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from schemas.account_context import Email, EnrichedChange
from tests.fixtures.changes import COMMITTED_AT, account_id, change, context, enriched_change
from transforms.errors import BlockedPrompt, GeminiError, GeminiTimeout, QuotaExhausted
from transforms.score.account_scoring import log_failures, shares, split_calls
from transforms.score.scoring_engine import is_cut_off


@given(st.integers(1, 60), st.integers(1, 12))
def test_a_batch_is_split_without_loss(accounts: int, accounts_per_call: int) -> None:
    """Every account is in exactly one call, no call is over the limit, and their sizes differ by one at most."""
    batch = [enriched_change(number) for number in range(accounts)]
    calls = split_calls(batch, accounts_per_call, 1_000_000)
    assert sorted(item.change.event_id for call in calls for item in call) == [item.change.event_id for item in batch]
    assert max(map(len, calls)) <= accounts_per_call
    assert max(map(len, calls)) - min(map(len, calls)) <= 1


def _wordy(number: int, characters: int) -> EnrichedChange:
    email = Email(
        email_id="02s",
        account_id=account_id(number),
        direction="inbound",
        subject="",
        body="x" * characters,
        sent_at=COMMITTED_AT,
    )
    return EnrichedChange(change=change(number), context=context(number, emails=(email,)))


@given(st.lists(st.integers(0, 9_000), min_size=1, max_size=20), st.integers(1, 6))
def test_tokens_end_a_call_early(sizes: list[int], accounts_per_call: int) -> None:
    """No account is lost, and only a call with a single account exceeds the limit of tokens."""
    batch = [_wordy(number, size) for number, size in enumerate(sizes)]
    calls = split_calls(batch, accounts_per_call, 2_000)
    assert Counter(item.change.event_id for call in calls for item in call) == Counter(
        item.change.event_id for item in batch
    )
    for call in calls:
        assert len(call) == 1 or sum(len(item.context.emails[0].body) for item in call) <= 2_000 * 4


@given(st.integers(0, 100_000), st.integers(1, 20))
def test_shares_add_up(total: int, parts: int) -> None:
    """The sum of the shares is the total."""
    assert sum(shares(total, parts)) == total


def test_each_kind_of_failure_is_one_entry_of_its_severity() -> None:
    """Each kind of failure is logged once a batch, with its count, at the level of its severity."""
    failures: Counter[type[GeminiError]] = Counter({QuotaExhausted: 40, GeminiTimeout: 2, BlockedPrompt: 1})
    with capture_logs() as logs:
        log_failures(failures)
    logged = {(log["failure"], log["times"], log["error_severity"], log["log_level"]) for log in logs}
    assert logged == {
        ("QuotaExhausted", 40, "LOW", "info"),
        ("GeminiTimeout", 2, "HIGH", "error"),
        ("BlockedPrompt", 1, "LOW", "info"),
    }


@pytest.mark.parametrize(
    "text", [json.dumps({"scores": [{"id": "bcdf", "summary": "Größe"}]})[:end] for end in (1, 9, 20, 45)]
)
def test_json_without_its_end_is_cut_off(text: str) -> None:
    """The beginning of a JSON document counts as cut off."""
    assert is_cut_off(text)


@pytest.mark.parametrize("text", ["Sure!", "```json\n{}\n```", "{'a': 1}", '{"a": 1}', '{"a": 1} done', '{"a": NaN}'])
def test_other_text_is_not_cut_off(text: str) -> None:
    """Prose, code fences, other notations and complete documents do not count as cut off."""
    assert not is_cut_off(text)
