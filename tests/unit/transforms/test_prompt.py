"""Prompts: fenced data, opaque ids, bounded text, and a schema that Gemini takes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.account_context import ChangeInContext, Email
from schemas.score import ScoreAnswers
from tests.fixtures.changes import COMMITTED_AT, account_id, change, context, in_context
from transforms.prompt import CUT_MARK, MAX_TEXT_CHARACTERS, load_instruction, render_prompt, response_schema


def _entries(text: str) -> list[dict[str, Any]]:
    opening, block, closing = text.split("```")
    assert block.startswith("json\n")
    assert "```" not in opening + closing
    entries: list[dict[str, Any]] = json.loads(block.removeprefix("json\n"))
    return entries


def _with_email(body: str) -> ChangeInContext:
    email = Email(
        email_id="1", account_id=account_id(), direction="inbound", subject="S", body=body, sent_at=COMMITTED_AT
    )
    return ChangeInContext(change=change(), context=context(emails=(email,)))


def test_each_account_stands_under_its_own_opaque_id() -> None:
    """The block holds every account once, under an id that is none of Salesforce's."""
    prompt = render_prompt([in_context(number) for number in range(5)])
    entries = _entries(prompt.text)
    assert [entry["id"] for entry in entries] == list(prompt.accounts)
    assert {entry["profile"]["name"] for entry in entries} == {f"Company {number}" for number in range(5)}
    for entry in entries:
        assert entry["profile"]["name"] == prompt.accounts[entry["id"]].context.profile.name


def test_salesforce_ids_stay_behind() -> None:
    """No record id reaches the model."""
    prompt = render_prompt([in_context(1)])
    assert account_id(1) not in prompt.text
    assert "006-1" not in prompt.text


def test_a_retried_call_is_the_same_call() -> None:
    """Order and ids follow from the changes, not from the order in which they came."""
    items = [in_context(number) for number in range(6)]
    assert render_prompt(items).text == render_prompt(items[::-1]).text


def test_order_tells_nothing() -> None:
    """The accounts are shuffled: over many calls their order is not that of their events."""
    orders = set()
    for start in range(0, 60, 6):
        prompt = render_prompt([in_context(number) for number in range(start, start + 6)])
        orders.add(tuple(int(item.change.event_id, 16) - start for item in prompt.accounts.values()))
    assert len(orders) > 1


def test_dates_are_iso() -> None:
    """Dates and times are ISO 8601."""
    entry = _entries(render_prompt([in_context(1)]).text)[0]
    assert entry["as_of"] == "2026-03-02"
    assert entry["opportunities"][0]["closed_on"] == "2026-04-01"
    assert entry["emails"][0]["sent_at"] == "2026-03-02T09:30:00Z"


@given(st.text(max_size=2_000))
def test_no_text_leaves_its_fence(body: str) -> None:
    """Whatever an email says, the block is one block of JSON, and the text is the email's, cut where it is long."""
    entry = _entries(render_prompt([_with_email(body)]).text)[0]
    expected = body if len(body) <= MAX_TEXT_CHARACTERS else body[:MAX_TEXT_CHARACTERS] + CUT_MARK
    assert entry["emails"][0]["body"] == expected


def test_the_instruction_comes_from_its_version() -> None:
    """A version that does not exist is an error, not another prompt."""
    assert "data" in load_instruction("v1")
    with pytest.raises(FileNotFoundError):
        load_instruction("v0")


def test_the_schema_has_no_keyword_that_gemini_refuses() -> None:
    """Lengths and patterns are checked here, after the answer; Gemini does not take them."""
    text = json.dumps(response_schema(ScoreAnswers))
    assert "maxLength" not in text
    assert "minLength" not in text
    assert '"maximum": 100' in text
