"""Turn the text of `--where` into a SQL condition over `crm.accounts` with query parameters; pure.

Only comparisons of a known column with a value are accepted, joined by AND, OR and NOT. The condition is generated from
the parsed comparisons: none of the user's text becomes part of the query.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from schemas.tables import ACCOUNTS

FilterValue = str | int | float | dt.datetime
MAX_FILTER_CHARACTERS: Final = 10_000
_MAX_INTEGER: Final = 2**63 - 1

_COMPARISONS: Final[dict[type[exp.Expr], str]] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.Like: "LIKE",
}
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}
_COLUMNS: Final = {column["name"]: column["type"] for column in ACCOUNTS.columns}


class FilterRefused(ValueError):
    """A filter can't be used; the message says what is allowed."""


@dataclass(frozen=True)
class AccountFilter:
    """A SQL condition, and the values of the parameters that it names."""

    condition: str
    parameters: dict[str, FilterValue] = field(default_factory=dict)


def account_filter(text: str) -> AccountFilter:
    """Read a filter such as `industry = 'Energy' AND annual_revenue >= 5000000`.

    Raises:
        FilterRefused: It is not a condition, or compares something other than a column of `crm.accounts` with a value.
    """
    if len(text) > MAX_FILTER_CHARACTERS:
        raise FilterRefused(f"--where has more than {MAX_FILTER_CHARACTERS} characters: put the ids in a file")
    try:
        tree = sqlglot.parse_one(f"SELECT 1 WHERE {text}", dialect="bigquery")
        where = tree.args.get("where") if isinstance(tree, exp.Select) else None
        others = [name for name, value in tree.args.items() if value and name not in {"where", "expressions", "kind"}]
        if where is None or others:
            raise FilterRefused("--where is not a condition: expected column = 'value', joined by AND, OR and NOT")
        return _Writer().filter(where.this)
    except SqlglotError:
        raise FilterRefused("--where can't be parsed: expected column = 'value', joined by AND, OR and NOT") from None
    except RecursionError:
        raise FilterRefused("--where is nested too deeply") from None


class _Writer:
    """Generates conditions, and numbers their parameters."""

    def __init__(self) -> None:
        self.parameters: dict[str, FilterValue] = {}

    def filter(self, tree: exp.Expr) -> AccountFilter:
        return AccountFilter(self._condition(tree), self.parameters)

    def _condition(self, node: exp.Expr) -> str:
        node = node.unnest()
        if isinstance(node, exp.And | exp.Or):
            word = "AND" if isinstance(node, exp.And) else "OR"
            return f"({self._condition(node.left)} {word} {self._condition(node.right)})"
        if isinstance(node, exp.Not):
            return f"(NOT {self._condition(node.this)})"
        return f"({self._test(node)})"

    def _test(self, node: exp.Expr) -> str:
        match node:
            case exp.Is() if isinstance(node.expression, exp.Null):
                return f"{_column(node.this)} IS NULL"
            case exp.Between():
                column = _column(node.this)
                low, high = (self._value(node.args[end], column) for end in ("low", "high"))
                return f"{column} BETWEEN {low} AND {high}"
            case exp.In() if node.expressions and not node.args.get("query"):
                column = _column(node.this)
                return f"{column} IN ({', '.join(self._value(value, column) for value in node.expressions)})"
            case _ if type(node) in _COMPARISONS:
                return self._comparison(node)
        raise FilterRefused(
            "--where may compare columns with values by =, !=, <, <=, >, >=, LIKE, IN, BETWEEN and IS NULL only"
        )

    def _comparison(self, node: exp.Expr) -> str:
        sign = _COMPARISONS[type(node)]
        left, right = node.args["this"], node.args["expression"]
        if not isinstance(left, exp.Column) and sign in _MIRRORED:
            left, right, sign = right, left, _MIRRORED[sign]
        column = _column(left)
        return f"{column} {sign} {self._value(right, column)}"

    def _value(self, node: exp.Expr, column: str) -> str:
        """Add a parameter with a value, and return its name."""
        name = f"where_{len(self.parameters)}"
        self.parameters[name] = _READERS[_COLUMNS[column]](column, node)
        return f"@{name}"


def _column(node: exp.Expr) -> str:
    name = node.name.lower() if isinstance(node, exp.Column) and not node.table else ""
    if name not in _COLUMNS:
        raise FilterRefused(f"--where names an unknown column: crm.accounts has {', '.join(_COLUMNS)}")
    return name


def _text(column: str, node: exp.Expr) -> str:
    if not isinstance(node, exp.Literal) or not node.is_string:
        raise FilterRefused(f"--where: {column} is text: put the value in quotation marks")
    return node.name


def _number(column: str, node: exp.Expr) -> float:
    sign, node = (-1, node.this) if isinstance(node, exp.Neg) else (1, node)
    if not isinstance(node, exp.Literal) or node.is_string:
        raise FilterRefused(f"--where: {column} is a number: write the value without quotation marks")
    return sign * float(node.name)


def _whole(column: str, node: exp.Expr) -> int:
    number = _number(column, node)
    if not number.is_integer() or abs(number) > _MAX_INTEGER:
        raise FilterRefused(f"--where: {column} takes whole numbers")
    return int(number)


def _moment(column: str, node: exp.Expr) -> dt.datetime:
    node = node.this if isinstance(node, exp.Cast) else node
    try:
        moment = dt.datetime.fromisoformat(_text(column, node))
    except ValueError:
        raise FilterRefused(f"--where: {column} is a time: expected one such as '2026-03-02T09:30:00Z'") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


_READERS: Final[dict[str, Callable[[str, exp.Expr], FilterValue]]] = {
    "STRING": _text,
    "FLOAT": _number,
    "INTEGER": _whole,
    "TIMESTAMP": _moment,
}
