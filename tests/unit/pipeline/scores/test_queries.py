"""The queries behind `rescore scores` and `rescore account`."""

import datetime as dt
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given

from pipeline.scores.queries import (
    Query,
    account_names,
    account_timeline,
    current_score,
    highest_scores,
    moved_scores,
    score_history,
)
from tests.fixtures.changes import NOW
from tests.fixtures.hostile_text import hostile_text
from transforms.clients.query_guard import guard_query, guard_rules

SCORES: Final = "my-project.account_scoring"
CRM: Final = "my-project.crm"
ACCOUNT: Final = "001000000000001AAA"
QUERIES: Final[dict[str, Query]] = {
    "highest": highest_scores(SCORES, (), 20),
    "of a tier": highest_scores(SCORES, ("hot",), 20),
    "moved": moved_scores(SCORES, NOW, ("hot", "warm"), 20),
    "current": current_score(SCORES, ACCOUNT),
    "history": score_history(SCORES, ACCOUNT, 20),
    "names": account_names(CRM, [ACCOUNT]),
    "timeline": account_timeline(SCORES, ACCOUNT, NOW, 200),
}


@pytest.mark.parametrize("name", QUERIES)
def test_the_query_guard_admits_each(name: str) -> None:
    """Each is one SELECT over this service's tables, and filters the partitions of the tables that it reads."""
    assert guard_query(QUERIES[name].sql, guard_rules("my-project", "account_scoring", "crm"))


@pytest.mark.parametrize("name", QUERIES)
def test_each_value_is_bound(name: str) -> None:
    """The text has a parameter for each value that is passed, and no other."""
    words = QUERIES[name].sql.replace(")", " ").split()
    assert {word.removeprefix("@") for word in words if word.startswith("@")} | {
        word.partition("@")[2] for word in words if "(@" in word
    } == set(QUERIES[name].parameters)


@given(hostile_text)
def test_values_change_no_text(text: str) -> None:
    """Whatever an id or a tier is, the query is the same."""
    of_account: list[Callable[[str], Query]] = [
        lambda value: current_score(SCORES, value),
        lambda value: score_history(SCORES, value, 20),
        lambda value: account_names(CRM, [value]),
        lambda value: account_timeline(SCORES, value, NOW, 20),
        lambda value: highest_scores(SCORES, [value], 20),
        lambda value: moved_scores(SCORES, NOW, [value], 20),
    ]
    for build in of_account:
        assert build(text).sql == build(ACCOUNT).sql
        assert text in build(text).parameters.values() or [text] in build(text).parameters.values()


def test_a_limit_is_a_number() -> None:
    """It is part of the text, and the last thing in it."""
    assert highest_scores(SCORES, (), 7).sql.strip().endswith("LIMIT 7")
    with pytest.raises(ValueError, match="invalid literal"):
        highest_scores(SCORES, (), "1; DROP TABLE x")  # type: ignore[arg-type] # on purpose


def test_times_are_bound_as_times() -> None:
    """BigQuery prunes partitions by a bound TIMESTAMP."""
    since = NOW - dt.timedelta(days=7)
    assert moved_scores(SCORES, since, (), 5).parameters == {"moved_since": since}
    assert account_timeline(SCORES, ACCOUNT, since, 5).parameters == {"account_id": ACCOUNT, "since": since}
