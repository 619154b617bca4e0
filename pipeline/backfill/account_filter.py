"""Turn the text of `--where` into a SQL condition over `crm.accounts` with query parameters; pure.

Only comparisons of a known column with a value are accepted, joined by AND, OR and NOT. sqlglot writes the condition
from the checked tree, with parameters for the values: none of the text becomes part of the query.
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from schemas.tables import ACCOUNTS

FilterValue = str | int | float | dt.datetime
MAX_FILTER_CHARACTERS: Final = 10_000
_MAX_INTEGER: Final = 2**63 - 1

_REVERSIBLE: Final = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
"""Comparisons that may have the value on the left."""

_COMPARISONS: Final = (*_REVERSIBLE, exp.Like, exp.In, exp.Between)
_OPERANDS: Final = frozenset({"this", "expression", "expressions", "low", "high"})
"""sqlglot's names of a comparison's operands; anything else, such as the subquery of an IN, is refused."""

_COLUMNS: Final = {column["name"]: column["type"] for column in ACCOUNTS.columns}
_EXPECTED: Final = {
    "STRING": "is text: put the value in quotation marks",
    "FLOAT": "is a number: write the value without quotation marks",
    "INTEGER": "takes whole numbers, without quotation marks",
    "TIMESTAMP": "is a time: expected one such as '2026-03-02T09:30:00Z'",
}


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
        parameters: dict[str, FilterValue] = {}
        _bind(where.this, parameters)
        return AccountFilter(where.this.sql(dialect="bigquery", comments=False), parameters)
    except SqlglotError:
        raise FilterRefused("--where can't be parsed: expected column = 'value', joined by AND, OR and NOT") from None
    except RecursionError:
        raise FilterRefused("--where is nested too deeply") from None


def _bind(condition: exp.Expr, parameters: dict[str, FilterValue]) -> None:
    """Check a condition, and replace each of its values by a parameter."""
    operands = list(condition.iter_expressions())
    used = {name for name, value in condition.args.items() if value}
    if isinstance(condition, exp.And | exp.Or | exp.Not | exp.Paren):
        for operand in operands:
            _bind(operand, parameters)
    elif isinstance(condition, exp.Is) and isinstance(condition.expression, exp.Null):
        _known_column(condition.this)
    elif isinstance(condition, _COMPARISONS) and len(operands) > 1 and used <= _OPERANDS:
        if isinstance(condition, _REVERSIBLE):
            operands.sort(key=lambda operand: not isinstance(operand, exp.Column))
        column = _known_column(operands[0])
        for value in operands[1:]:
            name = f"where_{len(parameters)}"
            parameters[name] = _value(value, column)
            value.replace(exp.Parameter(this=exp.var(name)))
    else:
        raise FilterRefused(
            "--where may compare columns with values by =, !=, <, <=, >, >=, LIKE, IN, BETWEEN and IS NULL only"
        )


def _known_column(node: exp.Expr) -> str:
    """Return the name of a column of `crm.accounts`, and replace the node by that name."""
    name = node.name.lower() if isinstance(node, exp.Column) and not node.table else ""
    if name not in _COLUMNS:
        raise FilterRefused(f"--where names an unknown column: crm.accounts has {', '.join(_COLUMNS)}")
    node.replace(exp.column(name))
    return name


def _value(node: exp.Expr, column: str) -> FilterValue:
    kind = _COLUMNS[column]
    if kind == "TIMESTAMP" and isinstance(node, exp.Cast):
        node = node.this  # TIMESTAMP '2026-03-02'
    sign, literal = (-1, node.this) if isinstance(node, exp.Neg) else (1, node)
    is_text, is_number = node.is_string, isinstance(literal, exp.Literal) and not literal.is_string
    try:
        if kind == "STRING" and is_text:
            return node.name
        if kind == "TIMESTAMP" and is_text:
            time = dt.datetime.fromisoformat(node.name)
            return time if time.tzinfo else time.replace(tzinfo=dt.UTC)
        if kind == "FLOAT" and is_number:
            return sign * float(literal.name)
        if kind == "INTEGER" and is_number and (number := float(literal.name)).is_integer() and number <= _MAX_INTEGER:
            return sign * int(number)
    except ValueError:
        pass  # text that is no time
    raise FilterRefused(f"--where: {column} {_EXPECTED[kind]}")
