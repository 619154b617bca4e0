"""Whether a query bounds the partitions that it reads of a table, by a condition from which BigQuery can prune.

Pure; part of the query guard. A condition counts if it stands in the WHERE beside the table, is not one of several
alternatives, and compares the bare partition column with what does not depend on any row, from below.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from sqlglot import exp

from schemas.tables import Table

ColumnsOf = Callable[[exp.Expr], Iterable[str] | None]
"""The columns of what a query reads from; None where they are not known."""

_FROM_BELOW: Final = (exp.GTE, exp.GT, exp.EQ)
_FROM_ABOVE: Final = (exp.LTE, exp.LT, exp.EQ)
_ROW_DEPENDENT: Final = (exp.Column, exp.Query, exp.Star)


def is_bounded(table: exp.Table, known: Table, columns_of: ColumnsOf) -> bool:
    """Return whether the SELECT that reads a table bounds its partition column from below."""
    select = table.find_ancestor(exp.Select)
    where = select.args.get("where") if select else None
    if select is None or where is None or known.partition_column is None or table.args.get("pivots"):
        return False
    names = {table.alias_or_name.casefold()}
    if _is_unambiguous(table, select, known.partition_column, columns_of):
        names.add("")
    return any(_bounds(condition, known.partition_column, names) for condition in _conjuncts(where.this))


def _is_unambiguous(table: exp.Table, select: exp.Select, column: str, columns_of: ColumnsOf) -> bool:
    """Whether a column without its table's name can be that table's alone."""
    for source in _sources(select):
        if source is table:
            continue
        columns = columns_of(source)
        if columns is None or column in columns:
            return False
    return True


def _sources(select: exp.Select) -> Iterator[exp.Expr]:
    """Yield what a SELECT reads from: tables, subqueries and UNNESTs, those in parenthesised joins too."""
    roots = [select.args.get("from_"), *(select.args.get("joins") or ()), *(select.args.get("laterals") or ())]
    for root in roots:
        if root is not None:
            yield from _sources_within(root.this)


def _sources_within(source: exp.Expr) -> Iterator[exp.Expr]:
    is_parenthesised = isinstance(source, exp.Subquery | exp.Paren) and isinstance(source.this, exp.Table)
    if is_parenthesised:
        yield from _sources_within(source.this)
    else:
        yield source
    for join in source.args.get("joins") or ():
        yield from _sources_within(join.this)


def _conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the conditions that must all hold."""
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        yield from _conjuncts(condition.left)
        yield from _conjuncts(condition.right)
    else:
        yield condition


def _bounds(condition: exp.Expr, column: str, names: set[str]) -> bool:
    if isinstance(condition, exp.Between):
        low, high = condition.args["low"], condition.args["high"]
        return _is_column(condition.this, column, names) and _is_constant(low) and _is_constant(high)
    if isinstance(condition, exp.In):
        values = [*condition.expressions, condition.args.get("unnest")]
        is_list = not condition.args.get("query") and all(value is None or _is_constant(value) for value in values)
        return is_list and _is_column(condition.this, column, names)
    if isinstance(condition, _FROM_BELOW) and _is_column(condition.left, column, names):
        return _is_constant(condition.right)
    if isinstance(condition, _FROM_ABOVE) and _is_column(condition.right, column, names):
        return _is_constant(condition.left)
    return False


def _is_column(node: exp.Expr, column: str, names: set[str]) -> bool:
    node = node.unnest()
    return (
        isinstance(node, exp.Column)
        and node.name.casefold() == column
        and not node.db
        and node.table.casefold() in names
    )


def _is_constant(node: exp.Expr) -> bool:
    return not any(isinstance(part, _ROW_DEPENDENT) for part in node.walk())
