"""The query guard: ad-hoc SQL → the one read-only statement that may run, bounded in partitions and in rows.

Pure. The statement is parsed, judged, and written anew from the tree that was judged, so that what runs is what was
judged: no comment, quote or encoding can hide another statement. What the guard does not understand it refuses.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from schemas.identifiers import DatasetId, ProjectId, checked
from schemas.tables import CRM_TABLES, SCORING_TABLES, SCORING_VIEWS, Table
from transforms.clients.partition_bounds import is_bounded

DIALECT: Final = "bigquery"
MAX_SQL_CHARACTERS: Final = 100_000

_FIRST_TOKENS: Final = frozenset({TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN, TokenType.FROM})
_QUERIES: Final = (exp.Select, exp.SetOperation, exp.Subquery)
_REFUSED_NODES: Final = (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock, exp.Export)
_SOURCE_PARENTS: Final = (exp.From, exp.Join, exp.Subquery, exp.Table)
_NAMESPACES: Final = frozenset({"SAFE", "NET"})
"""Of functions that read nothing and cost nothing; ML and AI call models, other prefixes are datasets of routines."""


class QueryRefused(ValueError):
    """A statement that may not run; the message says why and what to write instead, and quotes no value of it."""


@dataclass(frozen=True)
class GuardRules:
    """What ad-hoc statements may read, and how much of it.

    Attributes:
        tables: Tables by `project.dataset.table`; None where a view bounds its partitions by itself.
        project: The project of tables that are named without one.
        window: The time that is read of a partitioned table where the statement does not say.
        default_rows: LIMIT of a statement without one.
        max_rows: The largest LIMIT a statement may have.
        max_bytes_billed: BigQuery refuses, free of charge, what would read more.
    """

    project: str
    tables: Mapping[str, Table | None] = field(default_factory=dict)
    window: dt.timedelta = dt.timedelta(days=30)
    default_rows: int = 1_000
    max_rows: int = 100_000
    max_bytes_billed: int = 10 * 2**30


@dataclass(frozen=True)
class GuardedQuery:
    """A statement that may run, and what was added to it, in words for the log."""

    sql: str
    added: tuple[str, ...] = ()


def guard_rules(project: str, scoring_dataset: str, crm_dataset: str | None = None) -> GuardRules:
    """Return the rules that let a statement read this service's tables and views, and nothing else.

    Raises:
        ValueError: A name is none that the platform allows.
    """
    project = checked(ProjectId, project, "the project")
    scoring = f"{project}.{checked(DatasetId, scoring_dataset, 'the dataset')}"
    tables: dict[str, Table | None] = {f"{scoring}.{table.name}": table for table in SCORING_TABLES}
    tables |= {f"{scoring}.{view.name}": None for view in SCORING_VIEWS}
    if crm_dataset is not None:
        crm = f"{project}.{checked(DatasetId, crm_dataset, 'the CRM dataset')}"
        tables |= {f"{crm}.{table.name}": table for table in CRM_TABLES}
    return GuardRules(project=project, tables=tables)


def guard_query(sql: str, rules: GuardRules) -> GuardedQuery:
    """Return the statement that may run in place of this one.

    Raises:
        QueryRefused: It is no single read-only query, or reads what the rules do not name.
    """
    try:
        query = _single_query(sql)
        _refuse_functions(_tokens(_written(query)))
        added = [*_bound_partitions(query, rules), *_bound_rows(query, rules)]
        return GuardedQuery(_rewritten(query), tuple(added))
    except SqlglotError:
        # sqlglot's message quotes the statement.
        raise QueryRefused("the statement can't be read as BigQuery SQL") from None
    except RecursionError:
        raise QueryRefused("the statement is nested too deeply") from None


def _single_query(sql: str) -> exp.Query:
    """Parse the one statement; its first word is looked at before, since sqlglot reads what it can't parse as text."""
    if len(sql) > MAX_SQL_CHARACTERS:
        raise QueryRefused(f"the statement has more than {MAX_SQL_CHARACTERS} characters")
    tokens = _tokens(sql)
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens.pop()
    if any(token.token_type is TokenType.SEMICOLON for token in tokens):
        raise QueryRefused("one statement at a time is wanted, and no script")
    if not tokens or tokens[0].token_type not in _FIRST_TOKENS:
        raise QueryRefused("only queries may run: the statement must begin with SELECT or WITH")
    # A comment behind the last semicolon is a tree of its own.
    trees = [tree for tree in sqlglot.parse(sql, dialect=DIALECT) if tree and not isinstance(tree, exp.Semicolon)]
    if len(trees) != 1:
        raise QueryRefused("one statement at a time is wanted, and no script")
    query = trees[0]
    if not isinstance(query, _QUERIES) or any(isinstance(node, _REFUSED_NODES) for node in query.walk()):
        raise QueryRefused("only queries may run: the statement would change or export something")
    if any(isinstance(source.this, exp.Select | exp.SetOperation) for source in query.find_all(exp.From, exp.Join)):
        raise QueryRefused("a query that is read from must stand in parentheses")
    return query


def _tokens(sql: str) -> list[Token]:
    return list(sqlglot.tokenize(sql, read=DIALECT))


def _written(query: exp.Expr) -> str:
    return query.sql(dialect=DIALECT, comments=False)


def _rewritten(query: exp.Query) -> str:
    """Return the judged tree as text, which must again be one query: some trees are written as other statements."""
    sql = _written(query)
    _single_query(sql)
    return sql


def _refuse_functions(tokens: list[Token]) -> None:
    """Refuse calls of anything but built-in functions: routines, remote functions and models are named with a dot."""
    for place, bracket in enumerate(tokens):
        if bracket.token_type is not TokenType.L_PAREN or place == 0:
            continue
        if tokens[place - 1].token_type is TokenType.IDENTIFIER:
            raise QueryRefused("only built-in functions may be called, written without backticks")
        is_dotted = place > 2 and tokens[place - 2].token_type is TokenType.DOT  # noqa: PLR2004 - prefix, dot and name
        if is_dotted and tokens[place - 3].text.upper() not in _NAMESPACES:
            raise QueryRefused("only built-in functions may be called, none of a dataset, of ML or of AI")


def _bound_partitions(query: exp.Query, rules: GuardRules) -> Iterator[str]:
    """Put a bound on each partitioned table that has none, where it is read; yield what was added."""
    for table in list(query.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier):
            raise QueryRefused("only tables, subqueries and UNNEST may be read from, no table functions")
        if _is_cte(table):
            continue
        if not isinstance(table.parent, _SOURCE_PARENTS):
            raise QueryRefused("a table may stand after FROM and JOIN only")
        known = _known_table(table, rules)
        if known and known.partition_column and not is_bounded(table, known, lambda it: _columns(it, rules)):
            _read_window_only(table, known.partition_column, rules.window)
            yield f"{known.name}.{known.partition_column}: the last {rules.window.days} days"


def _known_table(table: exp.Table, rules: GuardRules) -> Table | None:
    name = _full_name(table, rules)
    if name not in rules.tables:
        raise QueryRefused("a table is named that is none of this service's: name it as dataset.table")
    return rules.tables[name]


def _full_name(table: exp.Table, rules: GuardRules) -> str:
    return ".".join((table.catalog or rules.project, table.db, table.name))


def _columns(source: exp.Expr, rules: GuardRules) -> Iterable[str] | None:
    """Return the columns of what is read from; None where they are not known, as a view's."""
    if isinstance(source, exp.Table) and not _is_cte(source):
        known = rules.tables.get(_full_name(source, rules))
        return [column["name"] for column in known.columns] if known else None
    select = source.this if isinstance(source, exp.Subquery) else None
    if not isinstance(select, exp.Select):
        return None
    if not select.is_star:
        return select.named_selects
    inner = select.args["from_"].this if select.args.get("from_") and not select.args.get("joins") else None
    return _columns(inner, rules) if inner else None


def _is_cte(table: exp.Table) -> bool:
    """Whether the name is that of a WITH around it; only such names have no dataset."""
    if table.db or table.catalog:
        return False
    node = table.parent
    while node:
        with_ = node.args.get("with_")
        if with_ and any(cte.alias.casefold() == table.name.casefold() for cte in with_.expressions):
            return True
        node = node.parent
    return False


def _read_window_only(table: exp.Table, column: str, window: dt.timedelta) -> None:
    """Replace a table by a subquery of the window: within a join's side, so that an outer join stays what it was."""
    inner = table.copy()
    outside = {name: inner.args.pop(name) for name in ("alias", "joins", "pivots", "laterals") if inner.args.get(name)}
    bound = f"{column} >= TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL {window.days} DAY)"
    subquery = exp.Subquery(this=exp.select("*").from_(inner).where(bound, dialect=DIALECT))
    subquery.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
    for name, value in outside.items():
        subquery.set(name, value)
    table.replace(subquery)


def _bound_rows(query: exp.Query, rules: GuardRules) -> Iterator[str]:
    """Put a LIMIT on the statement if it has none; yield what was added."""
    limit = query.args.get("limit")
    if limit is None:
        query.set("limit", exp.Limit(expression=exp.Literal.number(rules.default_rows)))
        yield f"LIMIT {rules.default_rows}"
        return
    rows = limit.expression if isinstance(limit, exp.Limit) else None
    if not isinstance(rows, exp.Literal) or not rows.is_int or int(rows.this) > rules.max_rows:
        raise QueryRefused(f"LIMIT must be a number of at most {rules.max_rows}")
