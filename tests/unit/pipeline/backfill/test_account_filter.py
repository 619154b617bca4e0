# ruff: noqa: E501 - filters as they are typed
"""Account filters: conditions over known columns with bound values; everything else is refused."""

import datetime as dt
import itertools
from typing import Final

import duckdb
import pytest
import sqlglot
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.backfill.account_filter import MAX_FILTER_CHARACTERS, FilterRefused, account_filter
from schemas.salesforce_ids import normalize_record_id
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
        ("name NOT LIKE 'Test%'", "name NOT LIKE @where_0", ["Test%"]),
        ("NOT (name NOT LIKE 'Test%')", "NOT (name NOT LIKE @where_0)", ["Test%"]),
        ("name = 'Caf\\'e \\\\ \\n'", "name = @where_0", ["Caf'e \\ \n"]),
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
        "annual_revenue > 1e400",
        "modified_at > DATE '2026-03-02'",
        "modified_at > DATETIME '2026-03-02T09:30:00'",
        "modified_at > SAFE_CAST('2026-03-02' AS TIMESTAMP)",
        "modified_at > CAST('2026-03-02' AS TIMESTAMP FORMAT 'YYYY-MM-DD')",
        "name = 'a\\x41'",
        "name = 'a\\\"'",
        "name LIKE '50\\%'",
        "name NOT LIKE ANY ('x', 'y')",
        "name NOT LIKE 'a' ESCAPE 'b'",
        "name NOT ILIKE 'x'",
        "name IS NOT DISTINCT FROM 'x'",
        "name IS NULL IS NULL",
        "rating = 'Hot' NOT",
        "(rating = 'Hot') NOT",
        "rating NOT IS NULL",
        "rating NOT IS NOT NULL",
        "rating = 'Hot',",
        "modified_at > + '2026-03-02'",
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


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("rating = NULL", "write rating IS NULL or rating IS NOT NULL"),
        ("NULL != annual_revenue", "write annual_revenue IS NULL or annual_revenue IS NOT NULL"),
        ("modified_at > NULL", "write modified_at IS NULL"),
        ("rating IN (NULL)", "write rating IS NULL"),
        ("rating NOT IN ('Hot', NULL)", "write rating IS NULL"),
        ("year_started BETWEEN NULL AND 5", "write year_started IS NULL"),
        ("name = 'O''Brien'", "write a quotation mark in a text as \\', as in 'O\\'Brien'"),
        ('name IN ("x""y")', "write a quotation mark in a text as"),
        ("name LIKE r'O.Brien%'", "write the text without r, and a backslash as two"),
        ('name = R"O\'Brien"', "write the text without r"),
        ("name = b'x'", "write the text without b"),
        ("name = `x`", "write a value, text in quotation marks"),
        ("name = Energy", "write a value, text in quotation marks"),
        ("rating = 5", "put the value in quotation marks"),
    ],
)
def test_what_is_no_value_is_refused_with_what_to_write_instead(text: str, remedy: str) -> None:
    """One line names the column and the remedy: a comparison with NULL would select no account, without a word."""
    with pytest.raises(FilterRefused) as refused:
        account_filter(text)
    assert remedy in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "named", "remedy"),
    [
        ("UPPER(name) LIKE 'A%'", "calls UPPER", "--accounts"),
        ("COALESCE(name, 'x') = 'y'", "calls COALESCE", "--accounts"),
        ("'y' = coalesce(name, 'x')", "calls COALESCE", "--accounts"),
        ("UPPER(name) IS NULL", "calls UPPER", "--accounts"),
        ("STARTS_WITH(name, 'A')", "calls STARTS_WITH", "--accounts"),
        ("REGEXP_CONTAINS(name, 'A')", "calls REGEXP_CONTAINS", "--accounts"),
        ("my_function(name) = 'x'", "calls MY_FUNCTION", "--accounts"),
        ("LENGTH(name) BETWEEN 1 AND 2", "calls LENGTH", "--accounts"),
        ("industry = UPPER('x')", "calls UPPER", "a value written out"),
        ("modified_at > CURRENT_TIMESTAMP()", "calls CURRENT_TIMESTAMP", "a value written out"),
        ("modified_at > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 5 DAY)", "calls TIMESTAMP_SUB", "a value written out"),
        ("CASE WHEN name = 'x' THEN 1 END = 1", "calls CASE", "--accounts"),
        ("annual_revenue / number_of_employees > 1", "computes with /", "--accounts"),
        ("annual_revenue > 5 + 5", "computes with +", "a value written out"),
        ("-annual_revenue > 5", "computes with -", "--accounts"),
        ("name || 'a' = 'b'", "computes with ||", "--accounts"),
        ("1 = 1", "compares a value with a value", "--all"),
        ("'x' LIKE 'x'", "compares a value with a value", "--all"),
        ("name LIKE ANY ('x', 'y')", "has ANY", "joined by OR"),
        ("name NOT LIKE ANY ('x')", "has ANY", "joined by OR"),
        ("name LIKE ALL ('x')", "has ALL", "joined by AND"),
        ("modified_at > DATE '2026-03-02'", "modified_at is a time", "the text alone, as in '2026-03-02'"),
        ("modified_at > DATETIME '2026-03-02T09:30:00'", "modified_at is a time", "write TIMESTAMP '…'"),
    ],
)  # fmt: skip
def test_what_is_computed_is_named_with_what_to_do_instead(text: str, named: str, remedy: str) -> None:
    """The column is known, so the refusal is about the function or the operator."""
    with pytest.raises(FilterRefused) as refused:
        account_filter(text)
    assert named in str(refused.value)
    assert remedy in str(refused.value)
    assert "unknown column" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("column", ["account_id", "parent_id", "owner_id"])
def test_an_id_of_15_characters_is_the_one_of_18(column: str) -> None:
    """The mirror has the longer form; patterns and other text stay as they are."""
    full = normalize_record_id("001A00000000001")
    short = full[:15]
    for text in (f"{column} = '{short}'", f"'{short}' != {column}", f"{column} = '{short}{full[15:].lower()}'"):
        assert list(account_filter(text).parameters.values()) == [full]
    assert list(account_filter(f"{column} NOT IN ('{short}', 'x')").parameters.values()) == [full, "x"]
    for text in (f"{column} LIKE '{short}'", f"{column} > '{short}'", f"name = '{short}'"):
        assert list(account_filter(text).parameters.values()) == [short]


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


class _Rows:
    """Rows of `crm.accounts` in DuckDB, whose comparisons mean what BigQuery's do."""

    def __init__(self) -> None:
        self.database = duckdb.connect()
        self.database.execute("SET TimeZone = 'UTC'")
        self.database.execute(
            "CREATE TABLE accounts (id INTEGER, name VARCHAR, rating VARCHAR, annual_revenue DOUBLE, "
            "year_started BIGINT, modified_at TIMESTAMPTZ)"
        )
        values = itertools.product(_TEXTS, ("Hot", None), _NUMBERS, _YEARS, _TIMES)
        rows = [(number, *row) for number, row in enumerate(values)]
        self.database.executemany("INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?)", rows)

    def fulfilling(self, condition: str, parameters: dict[str, object] | None = None) -> list[int]:
        """Return the numbers of the rows that fulfil a condition."""
        query = f"SELECT id FROM accounts WHERE {condition} ORDER BY id"  # noqa: S608 - no data but the test's own
        return [number for (number,) in self.database.execute(query, parameters or {}).fetchall()]


_TEXTS: Final = ("Test", "Testing", "test", "", "A_B", None)
_NUMBERS: Final = (-1.5, 0.0, 5e6, None)
_YEARS: Final = (1990, 2000, None)
_TIMES: Final = (dt.datetime(2026, 3, 2, tzinfo=dt.UTC), dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC), None)
_COMPARED: Final = ("=", "!=", "<>", "<", "<=", ">", ">=")


@pytest.fixture(scope="module")
def rows() -> _Rows:
    """Return rows with each combination of some values."""
    return _Rows()


def _comparisons(column: str, values: st.SearchStrategy[str], *, is_text: bool = False) -> st.SearchStrategy[str]:
    """Return comparisons of a column as a person may type them."""
    negation = st.sampled_from(["", "NOT "])
    compared = st.sampled_from(_COMPARED)
    forms = [
        st.builds("{} {} {}".format, st.just(column), compared, values),
        st.builds("{} {} {}".format, values, compared, st.just(column)),
        st.builds("{} IS {}NULL".format, st.just(column), negation),
        st.builds("{} {}BETWEEN {} AND {}".format, st.just(column), negation, values, values),
        st.builds("{} {}IN ({})".format, st.just(column), negation, st.lists(values, min_size=1).map(", ".join)),
    ]
    if is_text:
        patterns = st.lists(st.sampled_from(["Test", "A", "%", "_", "g"]), max_size=3).map("".join).map("'{}'".format)
        forms.append(st.builds("{} {}LIKE {}".format, st.just(column), negation, patterns))
    return st.one_of(forms)


_COMPARISON: Final = st.one_of(
    _comparisons("name", st.sampled_from(_TEXTS[:-1]).map("'{}'".format), is_text=True),
    _comparisons("RATING", st.sampled_from(["'Hot'", "'Warm'"]), is_text=True),
    _comparisons("annual_revenue", st.sampled_from(["-1.5", "0", "5e6", "+5000000", ".5", "-.5"])),
    _comparisons("year_started", st.sampled_from(["1990", "2000", "-1"])),
    _comparisons("modified_at", st.sampled_from(["'2026-03-02'", "TIMESTAMP '2026-03-02T09:30:00Z'"])),
)
_FILTER: Final = st.recursive(
    _COMPARISON,
    lambda inner: (
        st.builds("{} {} {}".format, inner, st.sampled_from(["AND", "OR"]), inner)
        | inner.map("NOT {}".format)
        | inner.map("({})".format)
    ),
    max_leaves=6,
)


@examples(ordinary=100, slow=3_000)
@given(_FILTER)
@example("name NOT LIKE 'Test%'")
def test_a_filter_selects_the_rows_that_its_text_selects(rows: _Rows, text: str) -> None:
    """Any filter of the allowed comparisons is accepted, and its condition selects exactly the rows of its text."""
    found = account_filter(text)
    condition = found.condition.replace("@", "$")
    assert rows.fulfilling(condition, dict(found.parameters)) == rows.fulfilling(text)


_STRAY_WORDS: Final = (
    "NOT", "ANY", "ALL", "SOME", "SYMMETRIC", "DISTINCT", "FROM", "ESCAPE", "'_'", "COLLATE", "NULL", "IS", "IN", "LIKE",
    "ILIKE", "UNNEST", "AS", "LIMIT", "1", "(", ")", ",", "-", "+", "BETWEEN", "AND", "OR", "TRUE", "CAST", "DATE",
    "TIMESTAMP", "INTERVAL", "name", "SIMILAR", "TO", "GLOB", "IGNORE", "NULLS", "||", "::", "[",
)  # fmt: skip


@examples(ordinary=300, slow=20_000)
@given(_FILTER, st.lists(st.tuples(st.integers(0, 40), st.sampled_from(_STRAY_WORDS)), min_size=1, max_size=3))
@example("name LIKE 'Test%'", [(1, "NOT")])
@example("year_started BETWEEN 2000 AND 1990", [(2, "SYMMETRIC")])
def test_a_filter_with_stray_words_is_refused_or_means_what_it_says(
    rows: _Rows, text: str, strays: list[tuple[int, str]]
) -> None:
    """No word of an accepted filter gets lost: its text is SQL, and selects the same rows."""
    words = text.split(" ")
    for place, word in strays:
        words.insert(min(place, len(words)), word)
    mutated = " ".join(words)
    try:
        found = account_filter(mutated)
    except FilterRefused:
        return
    condition = found.condition.replace("@", "$")
    assert rows.fulfilling(condition, dict(found.parameters)) == rows.fulfilling(mutated)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_value_in_quotation_marks_is_the_parameter(text: str) -> None:
    """Quotation marks and backslashes are written with a backslash; every other character is itself."""
    literal = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    assert list(account_filter(f"name = '{literal}'").parameters.values()) == [text]
