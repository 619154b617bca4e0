# ruff: noqa: E501 - filters as they are typed
"""Account filters: conditions over known columns with bound values; everything else is refused."""

import datetime as dt

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from pipeline.backfill.account_filter import MAX_FILTER_CHARACTERS, FilterRefused, account_filter
from schemas.tables import ACCOUNTS
from tests.fixtures.examples import examples

COLUMNS = {column["name"] for column in ACCOUNTS.columns}


@pytest.mark.parametrize(
    ("text", "condition", "values"),
    [
        ("industry = 'Energy'", "industry = @where_0", ["Energy"]),
        ('INDUSTRY = "Energy"', "industry = @where_0", ["Energy"]),
        ("'Energy' = industry", "@where_0 = industry", ["Energy"]),
        ("5 < annual_revenue", "@where_0 < annual_revenue", [5.0]),
        ("annual_revenue >= 5e6 AND rating != 'Cold'",
         "annual_revenue >= @where_0 AND rating <> @where_1", [5e6, "Cold"]),
        ("a.industry = 'x' OR 1 = 1", None, None),
        ("rating <> 'Hot' OR rating IS NULL", "rating <> @where_0 OR rating IS NULL", ["Hot"]),
        ("rating IS NOT NULL", "NOT rating IS NULL", []),
        ("NOT (rating IN ('Hot', 'Warm'))", "NOT (rating IN (@where_0, @where_1))", ["Hot", "Warm"]),
        ("rating NOT IN ('Hot')", "NOT rating IN (@where_0)", ["Hot"]),
        ("name LIKE 'A%'", "name LIKE @where_0", ["A%"]),
        ("year_started BETWEEN 1990 AND 2000", "year_started BETWEEN @where_0 AND @where_1", [1990, 2000]),
        ("annual_revenue > -1.5", "annual_revenue > @where_0", [-1.5]),
        ("modified_at >= '2026-03-02'", "modified_at >= @where_0", [dt.datetime(2026, 3, 2, tzinfo=dt.UTC)]),
        ("modified_at < TIMESTAMP '2026-03-02T09:30:00Z'", "modified_at < @where_0",
         [dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)]),
        ("industry = 'x' /* AND TRUE */ -- ;", "industry = @where_0", ["x"]),
        ("industry = 'x''; DROP TABLE crm.accounts; --'", None, None),
        ("industry = '\\'; DROP TABLE crm.accounts; --'", "industry = @where_0", ["'; DROP TABLE crm.accounts; --"]),
    ],
)  # fmt: skip
def test_comparisons_of_columns_become_a_condition(
    text: str, condition: str | None, values: list[object] | None
) -> None:
    """The condition has columns, operators and parameters; the user's values are bound."""
    if condition is None:
        with pytest.raises(FilterRefused):
            account_filter(text)
        return
    found = account_filter(text)
    assert found.condition == condition
    assert list(found.parameters.values()) == values


@pytest.mark.parametrize(
    "text",
    [
        "",
        "TRUE",
        "1 = 1",
        "industry",
        "industry = industry",
        "industry = name",
        "industri = 'x'",
        "crm.accounts.industry = 'x'",
        "industry = 5",
        "annual_revenue = '5'",
        "annual_revenue = NULL",
        "year_started = 19.5",
        "year_started = 99999999999999999999",
        "modified_at > 'yesterday'",
        "modified_at > 5",
        "annual_revenue > 5 + 5",
        "UPPER(industry) = 'x'",
        "industry = UPPER('x')",
        "industry = @x",
        "industry = (SELECT name FROM crm.accounts)",
        "industry IN (SELECT name FROM crm.accounts)",
        "industry IN UNNEST(['x'])",
        "industry IN ()",
        "industry IN name",
        "rating IS 'Hot'",
        "'A%' LIKE name",
        "5 BETWEEN annual_revenue AND 6",
        "year_started BETWEEN SYMMETRIC 2 AND 1",
        "annual_revenue > - -5",
        "industry = CAST('x' AS STRING)",
        "(industry = 'x') = 'y'",
        "(industry) = 'x'",
        "EXISTS (SELECT 1)",
        "industry = 'x' LIMIT 5",
        "industry = 'x' GROUP BY name",
        "industry = 'x' UNION ALL SELECT 1",
        "industry = 'x'; DROP TABLE crm.accounts",
        "industry = 'x') OR (TRUE",
        "industry = 'x' WINDOW w AS (ORDER BY name)",
        "industry LIKE ANY ('x')",
        "industry COLLATE 'und:ci' = 'x'",
        "CASE WHEN TRUE THEN TRUE END",
        "ERROR('x')",
        "(" * 5_000 + "industry = 'x'" + ")" * 4_000,
        "industry = 'x' OR " * 1_000 + "TRUE",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Functions, subqueries, other columns, types and clauses: the error is one line that says what is allowed."""
    with pytest.raises(FilterRefused) as refused:
        account_filter(text)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("--where")


def test_a_filter_is_bounded() -> None:
    """Long text is refused."""
    with pytest.raises(FilterRefused, match=str(MAX_FILTER_CHARACTERS)):
        account_filter("industry = 'x' OR " * MAX_FILTER_CHARACTERS)


@examples(ordinary=100, slow=5_000)
@given(
    st.lists(
        st.sampled_from(["industry", "name", "=", "!=", "<", "LIKE", "IN", "(", ")", "'x'", "5", "AND", "OR", "NOT", ";",
                         "--", "/*", "`", '"', "'", "\\", "SELECT", "@x", "NULL", "IS", "BETWEEN", ",", "annual_revenue",
                         "DROP TABLE x", "UNION ALL"]) | st.text(max_size=3),
        max_size=9,
    ).map(" ".join)
)  # fmt: skip
def test_a_condition_has_known_words_only(text: str) -> None:
    """Any text is refused, or its condition has columns, operators and parameters, and no other word."""
    try:
        found = account_filter(text)
    except FilterRefused:
        return
    allowed = COLUMNS | {"AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "BETWEEN", "(", ")", ",", "@"}
    allowed |= {"=", "<>", "<", "<=", ">", ">="} | set(found.parameters)
    assert {token.text for token in sqlglot.tokenize(found.condition, read="bigquery")} <= allowed
