# ruff: noqa: S608 - the statements are what is judged; none of them is run
"""The query guard: what may run, what is added to it, and what is refused, however it is dressed up."""

import datetime as dt
from dataclasses import replace

import pytest
import sqlglot
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from schemas.tables import CRM_TABLES, SCORING_TABLES
from transforms.clients.query_guard import MAX_SQL_CHARACTERS, GuardedQuery, QueryRefused, guard_query, guard_rules

RULES = guard_rules("my-project", "account_scoring", "crm")
WINDOW = "scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL '30' DAY)"
SCORES = "account_scoring.account_scores"
WINDOWED = f"(SELECT * FROM {SCORES} WHERE {WINDOW})"
"""What stands for the table where the statement has no bound: GoogleSQL takes the number of an INTERVAL quoted too."""


def _sql(sql: str) -> str:
    return guard_query(sql, RULES).sql


def _bounds_added(sql: str) -> list[str]:
    return [added.partition(".")[0] for added in guard_query(sql, RULES).added if not added.startswith("LIMIT")]


def test_a_bounded_query_runs_as_it_is() -> None:
    """What has its bound and its LIMIT is only written anew, without its comments."""
    guarded = guard_query(f"SELECT score FROM {SCORES} WHERE scored_at >= @since /* why */ LIMIT 5; -- all", RULES)
    assert guarded == GuardedQuery(f"SELECT score FROM {SCORES} WHERE scored_at >= @since LIMIT 5")


def test_what_is_missing_is_added_and_told() -> None:
    """A partitioned table is read for the default window, and rows have a LIMIT; both are said for the log."""
    guarded = guard_query(f"SELECT score FROM {SCORES}", RULES)
    assert guarded.sql == f"SELECT score FROM {WINDOWED} AS `account_scores` LIMIT 1000"
    assert guarded.added == ("account_scores.scored_at: the last 30 days", "LIMIT 1000")


def test_the_window_and_the_rows_are_the_rules() -> None:
    """Rules say how far back and how many."""
    rules = replace(RULES, window=dt.timedelta(days=7), default_rows=3, max_rows=4)
    assert "INTERVAL '7' DAY" in guard_query(f"SELECT * FROM {SCORES}", rules).sql
    assert guard_query("SELECT 1", rules).sql == "SELECT 1 LIMIT 3"
    assert guard_query("SELECT 1 LIMIT 4", rules).sql == "SELECT 1 LIMIT 4"
    with pytest.raises(QueryRefused, match="at most 4"):
        guard_query("SELECT 1 LIMIT 5", rules)


@pytest.mark.parametrize(
    "condition",
    [
        "scored_at >= @since",
        "scored_at > '2026-01-01'",
        "scored_at = @day",
        "@since <= scored_at",
        "'2026-01-01' < scored_at",
        "scored_at BETWEEN @since AND @until",
        "scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 3 DAY)",
        "scored_at IN UNNEST(@days)",
        "scored_at IN ('2026-01-01', '2026-01-02')",
        "SCORED_AT >= @since",
        "`scored_at` >= @since",
        "account_scores.scored_at >= @since",
        "ACCOUNT_SCORES.scored_at >= @since",
        "(((scored_at >= @since)) AND tier = 'hot') AND score > 5",
        "tier = 'hot' AND (score > 5 OR score < 2) AND scored_at >= @since",
    ],
)
def test_a_bound_that_prunes_counts(condition: str) -> None:
    """A comparison from below of the bare column with a constant, wherever it stands among what must hold."""
    assert _bounds_added(f"SELECT * FROM {SCORES} WHERE {condition}") == []


@pytest.mark.parametrize(
    "condition",
    [
        "scored_at < @until",
        "@until >= scored_at",
        "scored_at >= @since OR TRUE",
        "TRUE OR scored_at >= @since",
        "NOT (scored_at < @since)",
        "NOT scored_at >= @since",
        "(scored_at >= @since) IS NOT NULL",
        "IF(scored_at >= @since, TRUE, TRUE)",
        "scored_at >= change_committed_at",
        "scored_at >= scored_at",
        "scored_at BETWEEN change_committed_at AND @until",
        f"scored_at >= (SELECT MIN(scored_at) FROM {SCORES} WHERE scored_at > @since)",
        f"scored_at IN (SELECT scored_at FROM {SCORES} WHERE scored_at > @since)",
        "scored_at NOT IN ('2026-01-01')",
        "scored_at IN (change_committed_at)",
        "TIMESTAMP_ADD(scored_at, INTERVAL 1 DAY) >= @since",
        "scored_at IS NOT NULL",
        "change_committed_at >= @since",
        "'scored_at >= @since' = 'x'",
        "TRUE /* AND scored_at >= @since */",
        "other.scored_at >= @since",
    ],
)
def test_a_condition_that_does_not_prune_does_not_count(condition: str) -> None:
    """Alternatives, negations, comparisons with rows, wrapped columns and mere text leave the table unbounded."""
    guarded = guard_query(f"SELECT * FROM {SCORES} WHERE {condition}", RULES)
    assert f"FROM {WINDOWED} AS `account_scores`" in guarded.sql


@pytest.mark.parametrize(
    ("sql", "unbounded"),
    [
        (f"SELECT * FROM {SCORES} AS s WHERE s.scored_at >= @x", []),
        (f"SELECT * FROM {SCORES} AS s WHERE t.scored_at >= @x", ["account_scores"]),
        (f"SELECT * FROM {SCORES} s, {SCORES} t WHERE s.scored_at >= @x", ["account_scores"]),
        (f"SELECT * FROM {SCORES} s, {SCORES} t WHERE scored_at >= @x", ["account_scores", "account_scores"]),
        (f"SELECT * FROM {SCORES} s JOIN crm.accounts a USING (account_id) WHERE scored_at >= @x", []),
        (f"SELECT * FROM {SCORES} s, (SELECT @x AS scored_at) WHERE scored_at >= @x", ["account_scores"]),
        (f"SELECT * FROM {SCORES} s, UNNEST(s.drivers) WHERE scored_at >= @x", ["account_scores"]),
        (f"SELECT * FROM {SCORES} s, s.drivers WHERE s.scored_at >= @x", []),
        (f"SELECT * FROM {SCORES} WHERE scored_at >= @x UNION ALL SELECT * FROM {SCORES}", ["account_scores"]),
        (f"(SELECT * FROM {SCORES}) EXCEPT DISTINCT (SELECT * FROM {SCORES})", ["account_scores"] * 2),
        (f"WITH x AS (SELECT * FROM {SCORES}) SELECT * FROM x WHERE scored_at >= @x", ["account_scores"]),
        (f"WITH x AS (SELECT * FROM {SCORES} WHERE scored_at >= @x) SELECT * FROM x", []),
        (f"SELECT * FROM (SELECT * FROM (SELECT * FROM {SCORES}))", ["account_scores"]),
        (f"SELECT (SELECT MAX(score) FROM {SCORES} s WHERE s.account_id = a.account_id) FROM crm.accounts a", None),
        (f"SELECT * FROM crm.accounts a WHERE EXISTS (SELECT 1 FROM {SCORES} WHERE a.modified_at > @x)", None),
        (f"SELECT * FROM crm.accounts WHERE account_id IN (SELECT account_id FROM {SCORES})", None),
        (f"SELECT ARRAY(SELECT AS STRUCT * FROM {SCORES})", None),
        (f"SELECT * FROM (crm.accounts a JOIN {SCORES} s ON TRUE)", None),
        (f"SELECT * FROM {SCORES} PIVOT(SUM(score) FOR tier IN ('hot')) WHERE scored_at > @x", None),
        (f"SELECT * FROM {SCORES} TABLESAMPLE SYSTEM (10 PERCENT)", None),
        (f"SELECT * FROM {SCORES} FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()", None),
        (f"FROM {SCORES} |> WHERE scored_at >= @x |> LIMIT 5", []),
        (f"FROM {SCORES} |> LIMIT 5", None),
        ("SELECT * FROM account_scoring.current_account_scores", []),
        ("SELECT * FROM crm.accounts", []),
        ("WITH account_scores AS (SELECT 1 AS a) SELECT * FROM account_scores", []),
        ("SELECT * FROM crm.opportunities, crm.emails, crm.calls", ["opportunities", "emails", "calls"]),
        ("SELECT * FROM account_scoring.dead_letters", ["dead_letters"]),
        ("SELECT * FROM `my-project.account_scoring.change_outcomes`", ["change_outcomes"]),
        ("SELECT * FROM `my-project`.account_scoring.`change_outcomes`", ["change_outcomes"]),
        ("SELECT * FROM my-project.account_scoring.change_outcomes", ["change_outcomes"]),
    ],
)
def test_each_table_is_bounded_where_it_is_read(sql: str, unbounded: list[str] | None) -> None:
    """Aliases, joins, set operations, WITH and subqueries: a bound counts for its own table, in its own SELECT."""
    assert _bounds_added(sql) == (["account_scores"] if unbounded is None else unbounded)


def test_an_outer_join_stays_one() -> None:
    """The bound is put on the table and not on the join's result, which would drop rows without a match."""
    sql = _sql(f"SELECT * FROM crm.accounts AS a LEFT JOIN {SCORES} AS s ON s.account_id = a.account_id LIMIT 1")
    assert sql == f"SELECT * FROM crm.accounts AS a LEFT JOIN {WINDOWED} AS s ON s.account_id = a.account_id LIMIT 1"


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "/* SELECT 1 */",
        "INSERT INTO crm.accounts (name) VALUES ('x')",
        "UPDATE crm.accounts SET name = 'x' WHERE TRUE",
        "DELETE FROM crm.accounts WHERE TRUE",
        "MERGE crm.accounts USING crm.calls ON FALSE WHEN NOT MATCHED THEN INSERT ROW",
        "TRUNCATE TABLE crm.accounts",
        "DROP TABLE crm.accounts",
        "CREATE TABLE crm.x AS SELECT 1",
        "CREATE TEMP FUNCTION f() AS (1)",
        "ALTER TABLE crm.accounts DROP COLUMN name",
        "GRANT `roles/owner` ON TABLE crm.accounts TO 'user:x@example.com'",
        "EXPORT DATA OPTIONS (uri = 'gs://x/*') AS SELECT * FROM crm.accounts",
        "LOAD DATA INTO crm.x FROM FILES (uris = ['gs://x/*'])",
        "CALL crm.f()",
        "EXECUTE IMMEDIATE 'DROP TABLE crm.accounts'",
        "BEGIN SELECT 1; END",
        "DECLARE x INT64 DEFAULT 1",
        "SET x = 1",
        "IF TRUE THEN SELECT 1; END IF",
        "BEGIN TRANSACTION",
        "ASSERT 1 = 1",
        "EXPLAIN SELECT 1",
        "DESCRIBE crm.accounts",
        "SHOW TABLES",
        "TABLE crm.accounts",
        "VALUES (1)",
        "SELECT 1; SELECT 2",
        "SELECT 1;; DROP TABLE crm.accounts",
        "SELECT 1 -- x\n; DROP TABLE crm.accounts",
        "SELECT 1 # x\n; DROP TABLE crm.accounts",
        "SELECT 1 /* x */; /* y */ DROP TABLE crm.accounts",
        "SELECT 1 INTO crm.x",
        "SELECT * FROM crm.accounts FOR UPDATE",
        "WITH x AS (SELECT 1) DELETE FROM crm.accounts WHERE TRUE",
        "WITH x AS (SELECT 1) INSERT INTO crm.accounts SELECT * FROM x",
        "WITH x AS (DELETE FROM crm.accounts RETURNING *) SELECT * FROM x",
        "SELECT * FROM (INSERT INTO crm.accounts SELECT 1)",
        "(DELETE FROM crm.accounts WHERE TRUE)",
        "\ufeffDROP TABLE crm.accounts",
    ],
)
def test_only_one_query_may_run(sql: str) -> None:
    """Changes, definitions, scripts, exports and calls are refused, alone, behind a query, and within one."""
    with pytest.raises(QueryRefused):
        guard_query(sql, RULES)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM secrets.passwords",
        "SELECT * FROM account_scores",
        "SELECT * FROM other-project.crm.accounts",
        "SELECT * FROM `other-project.crm.accounts`",
        "SELECT * FROM crm.INFORMATION_SCHEMA.TABLES",
        "SELECT * FROM `region-eu`.INFORMATION_SCHEMA.JOBS_BY_PROJECT",
        "SELECT * FROM `my-project.account_scoring.*`",
        "SELECT * FROM `account_scoring.account_*`",
        "SELECT * FROM `account_scoring.account_scores$20260101`",
        "SELECT * FROM CRM.accounts",
        "SELECT * FROM crm.Accounts",
        "SELECT * FROM crm.\u0430ccounts",
        "SELECT * FROM crm.accounts UNION ALL SELECT * FROM secrets.passwords",
        "SELECT (SELECT password FROM secrets.passwords LIMIT 1)",
        "WITH x AS (SELECT * FROM secrets.passwords) SELECT * FROM x",
        "WITH x AS (WITH y AS (SELECT 1) SELECT * FROM y) SELECT * FROM y",
        "SELECT * FROM EXTERNAL_QUERY('eu.connection', 'DELETE FROM t')",
        "SELECT * FROM ML.PREDICT(MODEL crm.m, TABLE crm.accounts)",
        "SELECT * FROM VECTOR_SEARCH(TABLE crm.accounts, 'x', TABLE crm.accounts)",
        "SELECT * FROM APPENDS(TABLE crm.accounts, NULL, NULL)",
        "SELECT * FROM crm.f()",
        "SELECT crm.f(1)",
        "SELECT crm . f (1)",
        "SELECT crm./* x */f/* y */(1)",
        "SELECT `crm`.`f`(1)",
        "SELECT `crm.f`(1)",
        "SELECT my-project.crm.f(1)",
        "SELECT SAFE.crm.f(1)",
        "SELECT AI.GENERATE('x')",
        "SELECT ai.generate('x')",
        "SELECT ML.GENERATE_TEXT('x')",
    ],
)
def test_only_this_services_tables_and_built_in_functions_are_read(sql: str) -> None:
    """Other datasets, metadata, wildcards, federated queries, models and routines are refused."""
    with pytest.raises(QueryRefused):
        guard_query(sql, RULES)


@pytest.mark.parametrize("limit", ["@n", "100001", "1e9", "-1", "NULL", "'5'", "5 + 5", "CAST(5 AS INT64)"])
def test_a_limit_is_a_number_within_the_rules(limit: str) -> None:
    """A LIMIT that can't be seen to be small enough is refused, not replaced."""
    with pytest.raises(QueryRefused):
        guard_query(f"SELECT * FROM crm.accounts LIMIT {limit}", RULES)


def test_a_limit_within_does_not_count_for_the_whole() -> None:
    """Rows that a subquery bounds can be multiplied outside."""
    assert _sql("SELECT * FROM (SELECT 1 LIMIT 5), UNNEST([1, 2])").endswith("LIMIT 1000")
    assert _sql("(SELECT 1 LIMIT 5)") == "(SELECT 1 LIMIT 5) LIMIT 1000"
    assert _sql("SELECT 1 UNION ALL SELECT 2") == "SELECT 1 UNION ALL SELECT 2 LIMIT 1000"


def test_what_is_too_large_or_too_deep_is_refused() -> None:
    """No statement is so long or so nested that it ends in anything but an answer."""
    with pytest.raises(QueryRefused, match="characters"):
        guard_query("SELECT " + "1," * MAX_SQL_CHARACTERS + "1", RULES)
    with pytest.raises(QueryRefused, match="nested"):
        guard_query("SELECT " + "(" * 20_000 + "1" + ")" * 20_000, RULES)


def test_a_refusal_quotes_nothing() -> None:
    """Statements can hold what people wrote; the message and its cause do not."""
    for sql in ("SELEC 'SECRET'", "SELECT 'SECRET' FROM FROM", "SELECT * FROM `SECRET`", "CALL SECRET()"):
        with pytest.raises(QueryRefused) as refused:
            guard_query(sql, RULES)
        assert "SECRET" not in str(refused.value)
        assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("name", ["a b", "crm`; DROP TABLE x; --", "crm.accounts", "", "x" * 1025])
def test_rules_are_made_of_names_only(name: str) -> None:
    """A dataset's or project's name that is none is refused before any statement is read."""
    for arguments in ((name, "account_scoring", "crm"), ("my-project", name, "crm"), ("my-project", "x", name)):
        with pytest.raises(ValueError, match=" is "):
            guard_rules(*arguments)


TABLES = {
    f"{dataset}.{table.name}": table
    for dataset, of in (("account_scoring", SCORING_TABLES), ("crm", CRM_TABLES))
    for table in of
}
_CONDITIONS = st.sampled_from(
    ["TRUE", "{c} >= @s", "{a}.{c} >= @s", "{c} < @s", "{c} >= @s OR TRUE", "NOT {c} >= @s", "{a}.{c} > '2026-01-01'"]
)


@st.composite
def _queries(draw: st.DrawFn, depth: int = 2) -> str:
    """Draw a query over this service's tables: joins, subqueries, set operations, WITH, aliases, comments."""
    name = draw(st.sampled_from(sorted(TABLES)))
    alias = draw(st.sampled_from(["s", "T", "`x`"]))
    column = TABLES[name].partition_column or "modified_at"
    where = draw(_CONDITIONS).format(c=column, a=alias)
    source = f"{name} AS {alias}"
    if depth:
        inner = draw(_queries(depth=depth - 1))
        shape = draw(st.sampled_from(["plain", "from", "join", "in", "with", "union", "scalar"]))
        match shape:
            case "from":
                return f"SELECT * FROM ({inner}) AS {alias} WHERE {where}"
            case "join":
                source += f" {draw(st.sampled_from(['LEFT', 'CROSS', 'INNER']))} JOIN ({inner}) AS j"
                source += "" if "CROSS" in source else " ON TRUE"
            case "in":
                where += f" AND account_id IN ({inner})"
            case "with":
                return f"WITH w AS ({inner}) SELECT * FROM w, {source} WHERE {where}"
            case "union":
                return f"SELECT * FROM {source} WHERE {where} UNION ALL ({inner})"
            case "scalar":
                return f"SELECT ARRAY({inner}) FROM {source} /* {column} >= @s */ WHERE {where}"
            case _:
                pass
    return f"SELECT * FROM {source} WHERE {where}"


@settings(max_examples=300, deadline=None)
@given(_queries())
def test_whatever_the_shape_every_partitioned_table_is_bounded_and_stays_so(sql: str) -> None:
    """What the guard lets run it lets run unchanged, and each partitioned table stands beside a bound of its own."""
    guarded = guard_query(sql, RULES)
    assert guard_query(guarded.sql, RULES) == GuardedQuery(guarded.sql)
    tree = sqlglot.parse_one(guarded.sql, dialect="bigquery")
    for table in tree.find_all(exp.Table):
        known = TABLES.get(f"{table.db}.{table.name}")
        if known and known.partition_column:
            select = table.find_ancestor(exp.Select)
            assert select is not None
            assert known.partition_column in select.args["where"].sql()


_PIECES = ["SELECT", "FROM", "crm.accounts", SCORES, ";", "DROP TABLE", "DELETE", "INTO", "(", ")", "--", "/*", "*/",
           "'", '"', "`", "\\", "@x", "WHERE", "UNION ALL", "WITH x AS", "x", ",", "1", "\n", "#", "\x00", "é", "|>",
           "r'", "'''", "EXECUTE IMMEDIATE", "LIMIT", "CALL", "EXPORT DATA", "."]  # fmt: skip


@settings(max_examples=1_000, deadline=None)
@example("FROM SELECT 0")
@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=3), max_size=14).map(" ".join))
def test_any_text_is_refused_or_becomes_one_query(text: str) -> None:
    """Whatever is typed: a refusal, or one SELECT that changes nothing and that the guard lets run unchanged."""
    try:
        guarded = guard_query(text, RULES)
    except QueryRefused:
        return
    trees = sqlglot.parse(guarded.sql, dialect="bigquery")
    assert [isinstance(tree, exp.Query) for tree in trees] == [True]
    assert guard_query(guarded.sql, RULES) == GuardedQuery(guarded.sql)
