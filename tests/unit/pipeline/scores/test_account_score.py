"""The score of one account: now, why, what to do, and the history."""

import datetime as dt
from typing import Any

import msgspec
import pytest

from pipeline.scores.account_score import AccountScore, render
from pipeline.scores.phrases import CAUSES, cause_text, difference_text
from schemas.views import SCORE_MOVEMENTS
from tests.fixtures.changes import NOW, account_id
from tests.fixtures.scores import score_row
from tests.unit.pipeline.terminal.test_tables import shown

DAY = dt.timedelta(days=1)


def movement(score: int | None, previous: int | None, cause: str, days: int = 1, **fields: Any) -> dict[str, Any]:
    """Return a row of `score_movements`."""
    row = _builtin(score_row(1, score, NOW - days * DAY))
    difference = None if score is None or previous is None else score - previous
    before = {"previous_score": previous, "previous_tier": "cool" if previous else None, "difference": difference}
    return row | before | {"cause": cause, "movements": 2} | fields


def _builtin(row: Any) -> dict[str, Any]:
    return msgspec.structs.asdict(row) | {"drivers": [msgspec.structs.asdict(driver) for driver in row.drivers]}


def of(*history: dict[str, Any], current: dict[str, Any] | None = None) -> AccountScore:
    """Return the score of account 1."""
    return AccountScore(account_id(1), "Company 1", None, NOW, current, len(history), history)


def test_the_report_says_what_moved_the_score_and_what_to_do() -> None:
    """Score, change, movement, drivers with evidence, summary, next step, versions; then the history."""
    newest, first = movement(70, 40, "facts"), movement(40, None, "first_score", days=3)
    text = "\n".join(shown(render(of(newest, first, current=_builtin(score_row(1, 70, NOW - DAY)))), 80))
    assert (
        text
        == f"""\
Company 1  {account_id(1)}
score             70 warm, confidence 80%
scored            2026-03-01 09:31:00 UTC, 1 day ago
for the change    2026-03-01 09:30:00 UTC: Rating
moved             +30 from 40 cool: the account context changed: Rating
drivers           + Favourable tone (11 favourable words in its emails)
                  - Silence (No email for 40 days)
summary           Likely to buy.
next step         Call the decision maker
made by           gemini-x, prompt v2, pipeline 1.0.0

scored (UTC)         score    moved  moved by
2026-03-01 09:31:00  70 warm    +30  the account context changed: Rating
2026-02-27 09:31:00  40 cool      -  the first score
its events and dead letters: `rescore account {account_id(1)}`"""
    )


def test_a_deleted_account_has_no_score_and_a_history() -> None:
    """The report says when it was deleted."""
    lines = shown(render(of(movement(None, 40, "deleted"), movement(40, None, "first_score", days=3))), 80)
    assert lines[1:3] == ["score             none", "deleted           2026-03-01 09:30:00 UTC, 1 day ago"]
    assert lines[5] == "2026-03-01 09:31:00  none         -  the account was deleted"


def test_a_carried_over_score_says_so() -> None:
    """It was not made for this change; other flags are listed."""
    current = _builtin(score_row(1, 40, NOW, flags=("unchanged_context", "suspected_instructions")))
    lines = shown(render(of(movement(40, 40, "nothing"), current=current)), 132)
    assert any(line.endswith("just now, carried over: the account context had not changed") for line in lines)
    assert "flags             suspected_instructions" in lines
    assert "moved             not at all; 40 before" in lines


@pytest.mark.parametrize("width", [40, 60])
def test_narrow_terminals_have_every_column(width: int) -> None:
    """At 40 columns the history is a block of lines for each score."""
    newest = movement(70, 40, "facts", changed_fields=("AnnualRevenue", "NumberOfEmployees"))
    text = "\n".join(shown(render(of(newest, current=_builtin(score_row(1, 70, NOW - DAY)))), width))
    assert max(map(len, text.splitlines())) <= width
    for value in (account_id(1), "2026-03-01 09:31:00", "70 warm", "+30", "NumberOfEmployees"):
        assert value in text


def test_each_cause_of_the_view_has_words() -> None:
    """A new cause in the view's SQL needs them."""
    said = SCORE_MOVEMENTS.query.partition("CASE")[2].partition("END AS cause")[0]
    assert {text for text in said.split("'")[1::2] if text != "tombstone"} == set(CAUSES)
    assert cause_text("facts", ("Rating", "LastModifiedDate")) == "the account context changed: Rating"
    assert cause_text("facts", ()) == "the account context changed"
    assert cause_text("of a later version", ()) == "of a later version"


def test_a_difference_has_its_sign() -> None:
    """Without a score before there is none."""
    assert [difference_text(it) for it in (None, 0, 3, -3)] == ["-", "0", "+3", "-3"]
