"""Query guard: check SQL that a person or a client of the API composed, before it runs. Pure.

No command composes SQL today; `Warehouse.guarded_query` is for the API.

The statement is parsed, checked, and written anew from the checked tree, so that what runs is what was checked: no
comment, quote or encoding can hide another statement. See docs/adr/040.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from schemas.identifiers import DatasetId, DatasetPath, ProjectId, checked
from schemas.tables import CRM_TABLES, SCORING_TABLES
from schemas.views import SCORING_VIEWS

DIALECT: Final = "bigquery"
MAX_SQL_CHARACTERS: Final = 10_000
"""Checking takes 0.7 s at most for this length, the slowest of 2,000 hostile statements; it grows with the length."""

_FIRST_TOKENS: Final = frozenset({TokenType.SELECT, TokenType.WITH})
_REFUSED_NODES: Final = (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock, exp.Export)
_FUNCTION_PREFIXES: Final = frozenset({"", "SAFE", "NET"})
"""Of built-in functions. ML and AI call models; any other prefix is a dataset that holds routines."""


_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_READ_ESCAPES: Final = frozenset("abfnrtv\\")
"""The escape sequences that sqlglot reads as BigQuery does, beside the quotation mark of the text itself."""


class QueryRefused(ValueError):
    """The statement must not run; the message says what to write instead, and quotes nothing of the statement."""


@dataclass(frozen=True)
class GuardRules:
    """What a composed statement may read, and how much of it.

    Attributes:
        project: The project of tables that are named without one.
        partition_columns: The partition column, if any, of each readable table or view by `project.dataset.table`.
        default_rows: LIMIT of a statement that has none.
        max_rows: The largest LIMIT that a statement may have.
        max_bytes_billed: BigQuery refuses, free of charge, a statement that could read more.
    """

    project: str
    partition_columns: Mapping[str, str | None]
    default_rows: int = 1_000
    max_rows: int = 100_000
    max_bytes_billed: int = 10 * 2**30


def guard_rules(project: str, scoring_dataset: str, crm_dataset: str) -> GuardRules:
    """Return the rules under which a statement may read the tables and views of this service, and nothing else.

    Raises:
        ValueError: A name is not one that Google Cloud allows.
    """
    project = checked(ProjectId, project, "the project")
    scoring = f"{project}.{checked(DatasetId, scoring_dataset, 'the dataset')}"
    mirror = checked(DatasetPath, crm_dataset, "the CRM dataset")
    crm = mirror if "." in mirror else f"{project}.{mirror}"
    # Views filter the partitions of their tables themselves.
    columns: dict[str, str | None] = {f"{scoring}.{view.name}": None for view in SCORING_VIEWS}
    columns |= {f"{scoring}.{table.name}": table.partition_column for table in SCORING_TABLES}
    columns |= {f"{crm}.{table.name}": table.partition_column for table in CRM_TABLES}
    return GuardRules(project, columns)


def guard_query(sql: str, rules: GuardRules) -> str:
    """Return the statement to run in place of a composed one: the same SELECT, with a LIMIT.

    Raises:
        QueryRefused: It is not one SELECT over tables of the rules, or lacks a filter on a partition column.
    """
    if len(sql) > MAX_SQL_CHARACTERS:
        raise QueryRefused(f"the statement has more than {MAX_SQL_CHARACTERS} characters")
    try:
        select = _one_select(sql.strip().removesuffix(";"))
        with_names = {cte.alias.casefold() for cte in select.find_all(exp.CTE)}
        for table in select.find_all(exp.Table):
            _check_table(table, rules, with_names)
        _limit_rows(select, rules)
        guarded = select.sql(dialect=DIALECT, comments=False, unsupported_level=ErrorLevel.RAISE)
        if _one_select(guarded) != select.transform(_plain_text):  # sqlglot writes some trees as other statements
            raise QueryRefused("a part of the statement can't be written back as it was read: use a simpler form of it")
    except SqlglotError:
        # sqlglot's message quotes the statement.
        raise QueryRefused("the statement can't be parsed as BigQuery SQL") from None
    except RecursionError:
        raise QueryRefused("the statement is nested too deeply") from None
    return guarded


def has_misread_escape(sql: str) -> bool:
    """Whether a text in quotation marks has an escape sequence that sqlglot leaves as it is, such as a hex number."""
    for token in sqlglot.tokenize(sql, read=DIALECT):
        if token.token_type is TokenType.STRING:
            literal = sql[token.start : token.end + 1]
            if not _READ_ESCAPES.union(literal[0]).issuperset(_ESCAPE.findall(literal)):
                return True
    return False


def _plain_text(node: exp.Expr) -> exp.Expr:
    """Return a raw text as sqlglot writes it: in plain quotation marks."""
    return exp.Literal.string(node.name) if isinstance(node, exp.RawString) else node


def _one_select(sql: str) -> exp.Select:
    tokens = sqlglot.tokenize(sql, read=DIALECT)
    kinds = [token.token_type for token in tokens]
    # Checked before parsing: sqlglot logs the text of statements that it does not know.
    if not kinds or kinds[0] not in _FIRST_TOKENS or TokenType.SEMICOLON in kinds:
        raise QueryRefused("expected one statement that begins with SELECT or WITH")
    _refuse_routines(tokens)
    if has_misread_escape(sql):
        raise QueryRefused("write characters themselves, and a backslash as two: no \\x, \\u or octal numbers")
    select = sqlglot.parse_one(sql, dialect=DIALECT)
    if not isinstance(select, exp.Select):
        raise QueryRefused("expected one SELECT; put a UNION in a subquery")
    if any(isinstance(node, _REFUSED_NODES) for node in select.walk()):
        raise QueryRefused("expected a SELECT that changes and exports nothing")
    return select


def _refuse_routines(tokens: list[Token]) -> None:
    """Refuse calls of anything but built-in functions: a routine is called by `dataset.name`, or in backticks."""
    for place, token in enumerate(tokens):
        if token.token_type is not TokenType.L_PAREN or place == 0:
            continue
        start = place - 1
        while start > 1 and tokens[start - 1].token_type is TokenType.DOT:
            start -= 2  # a name and its dot
        prefix = ".".join(it.text.upper() for it in tokens[start : place - 1 : 2])
        if prefix not in _FUNCTION_PREFIXES or tokens[place - 1].token_type is TokenType.IDENTIFIER:
            raise QueryRefused("only built-in functions may be called: no routines, no ML or AI, no backticks")


def _check_table(table: exp.Table, rules: GuardRules, with_names: set[str]) -> None:
    if not isinstance(table.this, exp.Identifier):
        raise QueryRefused("table functions may not be called")
    if not table.db and table.name.casefold() in with_names:
        return
    name = ".".join((table.catalog or rules.project, table.db, table.name))
    if name not in rules.partition_columns:
        raise QueryRefused("only the tables of this service may be read: name each as dataset.table")
    column = rules.partition_columns[name]
    if column and not _is_filtered(table, column):
        known = name.rpartition(".")[2]
        raise QueryRefused(
            f"{known} is partitioned by {column}: filter it in the WHERE of the SELECT that reads it, such as "
            f"alias.{column} >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 7 DAY), joined to other conditions by AND"
        )


def _is_filtered(table: exp.Table, column: str) -> bool:
    """Whether the WHERE beside a table compares its partition column with a constant, from below."""
    select = table.find_ancestor(exp.Select)
    where = select.args.get("where") if select else None
    if select is None or where is None or table.args.get("pivots"):
        return False
    is_alone = isinstance(table.parent, exp.From) and not select.args.get("joins") and not select.args.get("laterals")
    names = {table.alias_or_name.casefold(), "" if is_alone else table.alias_or_name.casefold()}
    conditions = where.this.flatten() if isinstance(where.this, exp.And) else [where.this]
    return any(_bounds_below(condition.unnest(), column, names) for condition in conditions)


def _bounds_below(condition: exp.Expr, column: str, table_names: set[str]) -> bool:
    compared = condition.this
    return (
        isinstance(condition, exp.GTE | exp.GT | exp.EQ | exp.Between)
        and isinstance(compared, exp.Column)
        and compared.name.casefold() == column
        and compared.table.casefold() in table_names
        and not compared.db
        and list(condition.find_all(exp.Column, exp.Query)) == [compared]
    )


def _limit_rows(select: exp.Select, rules: GuardRules) -> None:
    limit = select.args.get("limit")
    if limit is None:
        select.limit(rules.default_rows, copy=False)
        return
    rows = limit.expression if isinstance(limit, exp.Limit) else None
    if not isinstance(rows, exp.Literal) or not rows.is_int or int(rows.this) > rules.max_rows:
        raise QueryRefused(f"LIMIT must be a number of at most {rules.max_rows}")
