# ruff: noqa: S608 - the statements are what is checked; none of them is run
"""The query guard: what may run, what it adds, and what it refuses, in whatever disguise."""

from dataclasses import replace

import pytest
import sqlglot
from hypothesis import example, given
from hypothesis import strategies as st
from sqlglot import exp

from schemas.tables import CRM_TABLES, SCORING_TABLES
from tests.fixtures.examples import examples
from transforms.clients.query_guard import MAX_SQL_CHARACTERS, QueryRefused, guard_query, guard_rules

RULES = guard_rules("my-project", "account_scoring", "crm")
SCORES = "account_scoring.account_scores"


def _guarded(sql: str) -> str:
    return guard_query(sql, RULES)


def test_a_filtered_query_runs_as_it_is() -> None:
    """With a filter and a LIMIT it is only written anew, without comments and the last semicolon."""
    sql = f"SELECT score FROM {SCORES} WHERE scored_at >= @since"
    assert _guarded(f"{sql} /* why */ LIMIT 5 ; ") == f"{sql} LIMIT 5"


def test_a_missing_limit_is_added() -> None:
    """The rules say which, and how large one may be."""
    rules = replace(RULES, default_rows=3, max_rows=4)
    assert guard_query("SELECT 1", rules) == "SELECT 1 LIMIT 3"
    assert guard_query("SELECT 1 LIMIT 4", rules) == "SELECT 1 LIMIT 4"
    with pytest.raises(QueryRefused, match="at most 4"):
        guard_query("SELECT 1 LIMIT 5", rules)


@pytest.mark.parametrize(
    "condition",
    [
        "scored_at >= @since",
        "scored_at > '2026-01-01'",
        "scored_at = @day",
        "scored_at BETWEEN @since AND @until",
        "scored_at >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 3 DAY)",
        "SCORED_AT >= @since",
        "`scored_at` >= @since",
        "account_scores.scored_at >= @since",
        "ACCOUNT_SCORES.scored_at >= @since",
        "((scored_at >= @since)) AND tier = 'hot' AND score > 5",
        "tier = 'hot' AND (score > 5 OR score < 2) AND scored_at >= @since",
    ],
)
def test_a_filter_on_the_partition_column_is_enough(condition: str) -> None:
    """The bare column is compared from below with a constant, and every other condition is joined by AND."""
    assert _guarded(f"SELECT * FROM {SCORES} WHERE {condition}")


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
        "@since <= scored_at",
        "scored_at IN ('2026-01-01')",
    ],
)
def test_any_other_condition_is_refused(condition: str) -> None:
    """Alternatives, negations, comparisons with rows, wrapped columns and mere text do not bound the partitions."""
    with pytest.raises(QueryRefused, match=r"account_scores is partitioned by scored_at: .*alias\.scored_at >="):
        _guarded(f"SELECT * FROM {SCORES} WHERE {condition}")


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT * FROM {SCORES} AS s WHERE s.scored_at >= @x",
        f"SELECT * FROM {SCORES} s JOIN crm.accounts a USING (account_id) WHERE s.scored_at >= @x",
        f"SELECT * FROM crm.accounts a LEFT JOIN (SELECT * FROM {SCORES} WHERE scored_at >= @x) s USING (account_id)",
        f"SELECT * FROM {SCORES} s, s.drivers WHERE s.scored_at >= @x",
        f"SELECT * FROM {SCORES} s, UNNEST(s.drivers) WHERE s.scored_at >= @x",
        f"WITH x AS (SELECT * FROM {SCORES} WHERE scored_at >= @x) SELECT * FROM x",
        f"SELECT * FROM {SCORES} s, {SCORES} t WHERE s.scored_at >= @x AND t.scored_at >= @x",
        "SELECT * FROM account_scoring.current_account_scores",
        "SELECT * FROM crm.accounts",
        "SELECT * FROM `my-project.crm.accounts`",
        "WITH account_scores AS (SELECT 1 AS a) SELECT * FROM account_scores",
        "SELECT * FROM (SELECT 1 UNION ALL SELECT 2)",
        "SELECT SAFE.SUBSTR('x', 1), NET.HOST('x'), COUNT(*) OVER () FROM crm.accounts",
    ],
)
def test_these_run(sql: str) -> None:
    """Aliases, joins, WITH and subqueries: each table is filtered in the SELECT that reads it; views need no filter."""
    assert _guarded(sql).endswith(" LIMIT 1000")


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT * FROM {SCORES}",
        f"SELECT * FROM {SCORES} AS s WHERE t.scored_at >= @x",
        f"SELECT * FROM {SCORES} s, {SCORES} t WHERE s.scored_at >= @x",
        f"SELECT * FROM {SCORES} s, {SCORES} t WHERE scored_at >= @x",
        f"SELECT * FROM {SCORES} s JOIN crm.accounts a USING (account_id) WHERE scored_at >= @x",
        f"SELECT * FROM {SCORES} s, (SELECT @x AS scored_at) WHERE scored_at >= @x",
        f"SELECT * FROM {SCORES} s, UNNEST(s.drivers) WHERE scored_at >= @x",
        f"SELECT * FROM (SELECT * FROM {SCORES} WHERE scored_at >= @x UNION ALL SELECT * FROM {SCORES})",
        f"WITH x AS (SELECT * FROM {SCORES}) SELECT * FROM x WHERE scored_at >= @x",
        f"SELECT * FROM (SELECT * FROM (SELECT * FROM {SCORES}))",
        f"SELECT (SELECT MAX(score) FROM {SCORES} s WHERE s.account_id = a.account_id) FROM crm.accounts a",
        f"SELECT * FROM crm.accounts a WHERE EXISTS (SELECT 1 FROM {SCORES} WHERE a.modified_at > @x)",
        f"SELECT * FROM crm.accounts WHERE account_id IN (SELECT account_id FROM {SCORES})",
        f"SELECT ARRAY(SELECT AS STRUCT * FROM {SCORES})",
        f"SELECT * FROM (crm.accounts a JOIN {SCORES} s ON TRUE)",
        f"SELECT * FROM {SCORES} PIVOT(SUM(score) FOR tier IN ('hot')) WHERE scored_at > @x",
        f"SELECT * FROM {SCORES} TABLESAMPLE SYSTEM (10 PERCENT)",
        f"SELECT * FROM {SCORES} FOR SYSTEM_TIME AS OF CURRENT_TIMESTAMP()",
        "SELECT * FROM crm.opportunities",
        "SELECT * FROM account_scoring.dead_letters",
        "SELECT * FROM `my-project.account_scoring.change_outcomes`",
        "SELECT * FROM `my-project`.account_scoring.`change_outcomes`",
        "SELECT * FROM my-project.account_scoring.change_outcomes",
    ],
)
def test_a_table_without_a_filter_of_its_own_is_refused(sql: str) -> None:
    """A filter counts for its own table, in its own SELECT, and by the bare column only where no other table is."""
    with pytest.raises(QueryRefused, match="is partitioned by"):
        _guarded(sql)


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
        "SELECT 1 UNION ALL SELECT 2",
        "(SELECT 1)",
        "FROM crm.accounts |> LIMIT 5",
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
        "SELECT my_project.SAFE.f(1)",
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


def test_a_limit_of_a_subquery_is_not_the_statements() -> None:
    """Rows that a subquery bounds can be multiplied outside."""
    assert _guarded("SELECT * FROM (SELECT 1 LIMIT 5), UNNEST([1, 2])").endswith("LIMIT 1000")


def test_what_is_too_large_or_too_deep_is_refused() -> None:
    """No statement is so long or so nested that it ends in anything but an answer."""
    with pytest.raises(QueryRefused, match="characters"):
        guard_query("SELECT " + "1," * MAX_SQL_CHARACTERS + "1", RULES)
    with pytest.raises(QueryRefused, match="nested"):
        guard_query("SELECT " + "(" * 4_000 + "1" + ")" * 4_000, RULES)


def test_a_refusal_quotes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Statements can hold what people wrote; the message, its cause and the log do not."""
    hostile = ("SELEC 'SECRET'", "SELECT 'SECRET' FROM FROM", "SELECT * FROM `SECRET`", "CALL SECRET()")
    for sql in (*hostile, "SELECT 1; CALL SECRET()"):
        with pytest.raises(QueryRefused) as refused:
            _guarded(sql)
        assert "SECRET" not in str(refused.value)
        assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert "SECRET" not in caplog.text


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
    [
        *("{a}.{c} >= @s", "{a}.{c} > '2026-01-01'", "{a}.{c} BETWEEN @s AND @t", "TRUE AND {a}.{c} >= @s"),
        *("TRUE", "{c} < @s", "{c} >= @s", "{a}.{c} >= @s OR TRUE", "NOT {a}.{c} >= @s"),
    ]
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
                return f"SELECT * FROM (SELECT * FROM {source} WHERE {where} UNION ALL ({inner}))"
            case "scalar":
                return f"SELECT ARRAY({inner}) FROM {source} /* {column} >= @s */ WHERE {where}"
            case _:
                pass
    return f"SELECT * FROM {source} WHERE {where}"


@examples(ordinary=60, slow=2_000)
@given(_queries())
def test_whatever_the_shape_every_partitioned_table_is_filtered(sql: str) -> None:
    """What the guard lets run it lets run unchanged, and each partitioned table stands beside a filter of its own."""
    try:
        guarded = _guarded(sql)
    except QueryRefused as refused:
        assert "is partitioned by" in str(refused)  # noqa: PT017 - most statements run, and are looked at below
        return
    assert _guarded(guarded) == guarded
    tree = sqlglot.parse_one(guarded, dialect="bigquery")
    for table in tree.find_all(exp.Table):
        known = TABLES.get(f"{table.db}.{table.name}")
        if known and known.partition_column:
            select = table.find_ancestor(exp.Select)
            assert select is not None
            assert known.partition_column in select.args["where"].sql()


_PIECES = ["SELECT", "FROM", "crm.accounts", SCORES, ";", "DROP TABLE", "DELETE", "INTO", "(", ")", "--", "/*", "*/",
           "'", '"', "`", "\\", "@x", "WHERE", "UNION ALL", "WITH x AS", "x", ",", "1", "\n", "#", "\x00", "é", "|>",
           "r'", "'''", "EXECUTE IMMEDIATE", "LIMIT", "CALL", "EXPORT DATA", "."]  # fmt: skip


@examples(ordinary=200, slow=10_000)
@example("FROM SELECT 0")
@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=3), max_size=14).map(" ".join))
def test_any_text_is_refused_or_becomes_one_query(text: str) -> None:
    """Whatever is typed: a refusal, or one SELECT that changes nothing and that the guard lets run unchanged."""
    try:
        guarded = _guarded(text)
    except QueryRefused:
        return
    trees = sqlglot.parse(guarded, dialect="bigquery")
    assert [type(tree) for tree in trees] == [exp.Select]
    assert _guarded(guarded) == guarded


@pytest.mark.parametrize(
    "expression",
    [
        "name NOT LIKE 'T%'",
        "name NOT IN ('a')",
        "REGEXP_CONTAINS(name, r'\\d\\.')",
        "name = 'a\\n\\\\ \\''",
        "-1",
        "IF(TRUE, 1, 2)",
    ],
)
def test_what_runs_means_what_was_typed(expression: str) -> None:
    """A negation, a raw text and escape sequences are written back; the statement reads as the same tree."""
    sql = f"SELECT name FROM crm.accounts WHERE {expression} LIMIT 5"
    written, typed = (sqlglot.parse_one(it, dialect="bigquery") for it in (_guarded(sql), sql))
    assert written == typed.transform(lambda it: exp.Literal.string(it.name) if isinstance(it, exp.RawString) else it)


@pytest.mark.parametrize(
    "expression",
    [
        "name = 'a\\x41'",
        "name = 'a\\u0041'",
        "name = 'a\\101'",
        "name = 'a\\\"b'",
        "name ILIKE 'x'",
        "NOT name ILIKE 'x'",
    ],
)
def test_what_would_be_written_otherwise_is_refused(expression: str) -> None:
    """Escape sequences that sqlglot does not read, and forms that it writes as other ones."""
    with pytest.raises(QueryRefused, match=r"backslash as two|can't be written back"):
        _guarded(f"SELECT name FROM crm.accounts WHERE {expression}")
