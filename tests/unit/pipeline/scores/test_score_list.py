"""The list of scores: its report, its JSON, its CSV."""

import csv
import datetime as dt
import io
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pipeline.scores.score_csv import list_table
from pipeline.scores.score_list import ScoreList, ScoreRequest, render, tiers_of
from pipeline.terminal.csv_output import print_csv
from schemas.score import Tier
from schemas.views import HISTORY_DAYS
from tests.fixtures.changes import NOW, account_id
from tests.fixtures.scores import DRIVER, score_row
from tests.unit.pipeline.terminal.test_tables import shown

WEEK = dt.timedelta(days=7)


def row(number: int, score: int, **fields: Any) -> dict[str, Any]:
    """Return a row as BigQuery returns it."""
    stored = score_row(number, score, NOW - dt.timedelta(days=2))
    values = msgspec.structs.asdict(stored) | {"drivers": [msgspec.structs.asdict(it) for it in stored.drivers]}
    return values | {"name": f"Company {number}", "accounts": 2} | fields


def listed(*rows: dict[str, Any], accounts: int | None = None, **request: Any) -> ScoreList:
    """Return a list that was read at NOW."""
    of = ScoreRequest(**{"limit": 20} | request)
    return ScoreList(of, NOW, len(rows) if accounts is None else accounts, rows, None)


def test_the_highest_scores_are_a_table() -> None:
    """With tier, account, name, age and first driver."""
    assert shown(render(listed(row(1, 95), row(2, 40, name=None, drivers=[]))), 80) == [
        "score    account             name       scored      first driver",
        f"95 hot   {account_id(1)}  Company 1  2 days ago  + Favourable tone",
        f"40 cool  {account_id(2)}  -          2 days ago  -",
        "2 accounts; `rescore scores ACCOUNT` says why",
    ]


def test_the_largest_movements_are_a_table() -> None:
    """With the difference, what moved it, and when; a late change can have moved it without a movement of its own."""
    moved = {"difference": -30, "cause": "facts", "moved_by_fields": ["Rating"], "moved_at": NOW - WEEK}
    late = {"difference": 5, "cause": None, "moved_by_fields": None, "moved_at": None}
    lines = shown(render(listed(row(1, 20, **moved), row(2, 55, **late), moved_since=NOW - WEEK)), None)
    assert lines[1].startswith(f"  -30  20 cold  {account_id(1)}  Company 1")
    assert lines[1].endswith("the account context changed: Rating, 7 days ago")
    assert lines[2].endswith("a change that arrived late")


def test_what_lies_beyond_the_limit_is_counted() -> None:
    """Who reads ten rows knows that there are more."""
    assert shown(render(listed(row(1, 95), accounts=8_803)), 132)[-1].startswith("1 of 8,803 accounts, the highest")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "`rescore backfill --all` scores all accounts"),
        ({"tiers": (Tier.HOT, Tier.WARM)}, "no account has a score of tier hot or warm"),
        ({"moved_since": NOW}, "no score is another than at 2026-03-02 09:31 UTC"),
    ],
)
def test_an_empty_list_says_why_and_what_to_do(request_: dict[str, Any], said: str) -> None:
    """An empty table would say neither."""
    assert said in " ".join(shown(render(listed(**request_)), 132))


def test_a_young_stack_says_that_its_scores_are_the_first() -> None:
    """Not only that none has moved, as if nothing had happened."""
    said = shown(render(replace(listed(moved_since=NOW), first_scored=150)), 132)
    assert "no score is another than at 2026-03-02 09:31 UTC; 150 accounts had no score then" in said
    assert replace(listed(moved_since=NOW), first_scored=150).document()["first_scored_since"] == 150


def test_texts_from_the_model_do_not_act() -> None:
    """Neither on a terminal, nor as markup, nor in a spreadsheet."""
    hostile = {"factor": "\x1b=[2J[red]=cmd", "impact": "positive", "evidence": "\r\n=1+1"}
    of = listed(row(1, 95, name='=HYPERLINK("http://x")', drivers=[hostile], summary="\t=1+1", recommended_action=None))
    report = "\n".join(shown(render(of), 132))
    assert "\x1b" not in report
    assert "+ �=[2J[red]=cmd" in report
    file = io.StringIO()
    print_csv(*list_table(of), to=file)
    lines = file.getvalue().splitlines()
    assert len(lines) == 2
    (values,) = csv.DictReader(lines)
    assert values["name"] == '\'=HYPERLINK("http://x")'
    assert values["drivers"] == "' =[2J[red]=cmd (positive:   =1+1)"
    assert values["summary"] == "' =1+1"
    assert values["recommended_action"] == ""
    assert values["scored_at"] == "2026-02-28T09:31:00Z"
    assert values["score"] == "95"


def test_the_document_has_the_columns_of_the_view() -> None:
    """And those of the movement, if scores that moved were asked for."""
    (plain,) = listed(row(1, 95)).document()["scores"]
    assert plain["drivers"][0] == msgspec.structs.asdict(DRIVER)
    assert "difference" not in plain
    fields = dict.fromkeys(("previous_score", "previous_tier", "difference", "moved_at", "cause", "moved_by_fields"), 1)
    document = listed(row(1, 95, **fields), moved_since=NOW).document()
    assert document["scores"][0]["difference"] == 1
    assert (document["moved_since"], document["limit"], document["accounts"]) == (NOW, 20, 1)


def test_a_tier_is_one_of_four() -> None:
    """An unknown one is refused with the others."""
    assert tiers_of(["HOT", "cold"]) == (Tier.HOT, Tier.COLD)
    with pytest.raises(ValueError, match="--tier is 'hott': expected one of hot, warm, cool, cold; did") as refused:
        tiers_of(["hott"])
    assert str(refused.value).endswith("did you mean 'hot'?")


@pytest.mark.parametrize(
    ("since", "remedy"), [(NOW, "is not in the past"), (NOW - dt.timedelta(HISTORY_DAYS + 1), "too early")]
)
def test_a_period_that_the_views_do_not_read_is_refused(since: dt.datetime, remedy: str) -> None:
    """The answer would be empty for the wrong reason."""
    with pytest.raises(ValueError, match=remedy):
        ScoreRequest(5, moved_since=since).check(NOW)
    ScoreRequest(5, moved_since=NOW - WEEK).check(NOW)
