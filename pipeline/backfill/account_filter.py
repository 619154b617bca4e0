"""Turn the text of `--where` into a SQL condition over `crm.accounts` with query parameters; pure.

Only comparisons of a known column with a value are accepted, joined by AND, OR and NOT. sqlglot writes the condition
from the checked tree, with parameters for the values: none of the text becomes part of the query. Every part of the
tree is either checked or refused, and what was written must read as the same tree and have the same words, so no part
of a filter gets lost.
"""

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from schemas.salesforce_ids import normalize_record_id
from schemas.tables import ACCOUNTS
from transforms.clients.query_guard import DIALECT, has_misread_escape

FilterValue = str | int | float | dt.datetime
MAX_FILTER_CHARACTERS: Final = 10_000
_MAX_INTEGER: Final = 2**63 - 1
_TIMESTAMP: Final = exp.DataType.build("TIMESTAMP", dialect=DIALECT)

_REVERSIBLE: Final = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
"""Comparisons that may have the value on the left."""

_TWO_SIDES: Final = frozenset({"this", "expression"})
_COMPARISONS: Final[Mapping[type[exp.Expr], frozenset[str]]] = {
    **dict.fromkeys(_REVERSIBLE, _TWO_SIDES),
    exp.Like: _TWO_SIDES | {"negate"},
    exp.In: frozenset({"this", "expressions"}),
    exp.Between: frozenset({"this", "low", "high"}),
}
"""sqlglot's names of a comparison's parts; one with any other part, such as the subquery of an IN, is refused."""

_JOINTS: Final[Mapping[type[exp.Expr], frozenset[str]]] = {
    exp.And: _TWO_SIDES,
    exp.Or: _TWO_SIDES,
    exp.Not: frozenset({"this"}),
    exp.Paren: frozenset({"this"}),
}
_PARAMETER: Final = "where_"
_VALUES: Final = frozenset({TokenType.STRING, TokenType.NUMBER})
_SIGNED: Final = frozenset(
    {
        (TokenType.DASH, TokenType.NUMBER),
        (TokenType.DASH, TokenType.DOT),
        (TokenType.PLUS, TokenType.NUMBER),
        (TokenType.PLUS, TokenType.DOT),
        (TokenType.DOT, TokenType.NUMBER),
        (TokenType.TIMESTAMPTZ, TokenType.STRING),
    }
)
"""Words that belong to the value behind them, and what follows: `-5`, `-.5`, `+5`, `+.5`, `.5`, `TIMESTAMP '2026'`."""

_OPERAND_ENDS: Final = _VALUES | {TokenType.VAR, TokenType.IDENTIFIER, TokenType.R_PAREN, TokenType.NULL}
_NEGATED: Final = frozenset({TokenType.IN, TokenType.LIKE, TokenType.BETWEEN})

_COLUMNS: Final = {column["name"]: column["type"] for column in ACCOUNTS.columns}
_EXPECTED: Final = {
    "STRING": "is text: put the value in quotation marks",
    "FLOAT": "is a number: write the value without quotation marks",
    "INTEGER": "takes whole numbers, without quotation marks",
    "TIMESTAMP": "is a time: expected one such as '2026-03-02T09:30:00Z'",
}


_REMEDIES: Final[Mapping[type[exp.Expr], str]] = {
    exp.Null: "is compared with NULL, which is true for no row: write {column} IS NULL or {column} IS NOT NULL",
    exp.RawString: "is compared with r'…': write the text without r, and a backslash as two",
    exp.ByteString: "is compared with bytes: write the text without b",
    exp.Concat: r"is compared with two texts side by side: write a quotation mark in a text as \', as in 'O\'Brien'",
    exp.Column: "is compared with a column: write a value, text in quotation marks ' or \"",
}
"""What to write instead of something that is no value."""


_COMPUTED: Final[Mapping[type[exp.Expr], str]] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "MOD",
    exp.Neg: "-",
    exp.DPipe: "||",
    exp.Collate: "COLLATE",
    exp.Interval: "INTERVAL",
}
"""Operators that make a value of others, as they are typed."""

_AS_IT_IS: Final = (
    "compare a column as it is with a value written out, or find the ids with a query of your own and pass them by "
    "--accounts"
)
_QUANTIFIERS: Final[Mapping[type[exp.Expr], str]] = {
    exp.Any: "--where has ANY: write a comparison for each value, joined by OR",
    exp.All: "--where has ALL: write a comparison for each value, joined by AND",
}
_FUNCTION: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,60}")
_IDS: Final = frozenset({"account_id", "parent_id", "owner_id"})
_EXACT: Final = (exp.EQ, exp.NEQ, exp.In)


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
        if has_misread_escape(text):
            raise FilterRefused("--where: write characters themselves, and a backslash as two: no \\x, \\u or numbers")
        where = _where(text)
        parameters: dict[str, FilterValue] = {}
        _bind(where.this, parameters)
        condition = where.this.sql(dialect=DIALECT, comments=False, unsupported_level=ErrorLevel.RAISE)
        if _where(condition) != where or _words(condition) != _words(text):
            raise FilterRefused("--where has words that mean nothing where they stand: leave them out")
        return AccountFilter(condition, parameters)
    except SqlglotError:
        raise FilterRefused("--where can't be parsed: expected column = 'value', joined by AND, OR and NOT") from None
    except RecursionError:
        raise FilterRefused("--where is nested too deeply") from None


def _words(text: str) -> list[str]:
    """Return the words of a condition as they are compared: values and parameters are `?`, and `NOT` is left out.

    sqlglot writes `NOT rating IN (...)` for `rating NOT IN (...)`, so the place of a `NOT` is checked here.

    Raises:
        FilterRefused: A `NOT` follows a value without IN, LIKE or BETWEEN behind it; sqlglot accepts some of these.
    """
    words: list[str] = []
    tokens = sqlglot.tokenize(text, read=DIALECT)
    before: TokenType | None = None
    for token, after in zip(tokens, [*(token.token_type for token in tokens[1:]), None], strict=True):
        kind = token.token_type
        if kind is TokenType.NOT and before in _OPERAND_ENDS and after not in _NEGATED:
            raise FilterRefused("--where has a NOT that negates nothing: write NOT before a condition, IN or LIKE")
        before = kind
        is_sign = (kind, after) in _SIGNED or kind is TokenType.PARAMETER
        is_end = kind is TokenType.SEMICOLON and after is None
        if kind is not TokenType.NOT and not is_sign and not is_end:
            words.append("?" if kind in _VALUES or token.text.startswith(_PARAMETER) else _word(token))
    return words


def _word(token: Token) -> str:
    return "<>" if token.token_type is TokenType.NEQ else token.text.upper()


def _where(text: str) -> exp.Where:
    tree = sqlglot.parse_one(f"SELECT 1 WHERE {text}", dialect=DIALECT)
    where = tree.args.get("where") if isinstance(tree, exp.Select) else None
    if not isinstance(where, exp.Where) or _parts(tree) != {"where", "expressions"}:
        raise FilterRefused("--where is not a condition: expected column = 'value', joined by AND, OR and NOT")
    return where


def _parts(node: exp.Expr) -> set[str]:
    """Return sqlglot's names of the parts that a node has."""
    return {name for name, value in node.args.items() if value}


def _bind(condition: exp.Expr, parameters: dict[str, FilterValue]) -> None:
    """Check a condition, and replace each of its values by a parameter."""
    kind = type(condition)
    operands = list(condition.iter_expressions())
    if kind in _JOINTS and _parts(condition) <= _JOINTS[kind]:
        for operand in operands:
            _bind(operand, parameters)
    elif kind is exp.Is and _parts(condition) == _TWO_SIDES and isinstance(condition.expression, exp.Null):
        _known_column(condition.this)
    elif kind in _COMPARISONS and len(operands) > 1 and _parts(condition) <= _COMPARISONS[kind]:
        if isinstance(condition, _REVERSIBLE):
            operands.sort(key=lambda it: (not isinstance(it, exp.Column), isinstance(it, exp.Literal)))
        column = _known_column(operands[0])
        for value in operands[1:]:
            name = f"{_PARAMETER}{len(parameters)}"
            bound = _value(value, column)
            is_id = column in _IDS and isinstance(condition, _EXACT) and isinstance(bound, str)
            parameters[name] = _full_id(str(bound)) if is_id else bound
            value.replace(exp.Parameter(this=exp.var(name)))
    else:
        _refuse_computed(condition)
        raise FilterRefused(
            "--where may compare columns with values by =, !=, <, <=, >, >=, LIKE, IN, BETWEEN and IS NULL only"
        )


def _known_column(node: exp.Expr) -> str:
    """Return the name of a column of `crm.accounts`, and replace the node by that name."""
    _refuse_computed(node)
    if isinstance(node, exp.Literal | exp.Boolean):
        raise FilterRefused("--where compares a value with a value: name a column, or take every account with --all")
    name = node.name.lower() if isinstance(node, exp.Column) and _parts(node) == {"this"} else ""
    if name not in _COLUMNS:
        raise FilterRefused(f"--where names an unknown column: crm.accounts has {', '.join(_COLUMNS)}")
    node.replace(exp.column(name))
    return name


def _value(node: exp.Expr, column: str) -> FilterValue:
    kind = _COLUMNS[column]
    if kind == "TIMESTAMP" and type(node) is exp.Cast and node.to == _TIMESTAMP and _parts(node) == {"this", "to"}:
        node = node.this  # TIMESTAMP '2026-03-02'
    is_negative = type(node) is exp.Neg
    literal = node.this if is_negative else node
    if type(literal) is exp.Literal:
        try:
            if literal.is_string and not is_negative:
                return _text_value(literal.name, kind)
            if not literal.is_string:
                return _number_value(f"-{literal.name}" if is_negative else literal.name, kind)
        except (ValueError, ArithmeticError):
            pass  # a value of another kind than the column's
    if kind == "TIMESTAMP" and isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal):
        raise FilterRefused(f"--where: {column} is a time: write TIMESTAMP '…' or the text alone, as in '2026-03-02'")
    if not isinstance(literal, exp.Literal) and type(node) not in _REMEDIES:
        _refuse_computed(node)
    remedy = _REMEDIES.get(type(node), _EXPECTED[kind])
    raise FilterRefused(f"--where: {column} {remedy.format(column=column)}")


def _refuse_computed(node: exp.Expr) -> None:
    """Refuse what is computed: a function's call, an operator, or a comparison with several values at once.

    Raises:
        FilterRefused: It is one of these; the message names it.
    """
    kind = type(node)
    if kind in _QUANTIFIERS:
        raise FilterRefused(_QUANTIFIERS[kind])
    if kind in _COMPUTED:
        raise FilterRefused(f"--where computes with {_COMPUTED[kind]}: {_AS_IT_IS}")
    if isinstance(node, exp.Func) and kind not in _JOINTS:
        name = _FUNCTION.match(node.sql(dialect=DIALECT, comments=False, unsupported_level=ErrorLevel.IGNORE))
        raise FilterRefused(f"--where calls {name[0].upper() if name else 'a function'}: {_AS_IT_IS}")


def _full_id(text: str) -> str:
    """Return the 18-character form of an id, which the mirror has; other text stays as it is, and names no record."""
    try:
        return normalize_record_id(text)
    except ValueError:
        return text


def _text_value(text: str, kind: str) -> str | dt.datetime:
    if kind == "STRING":
        return text
    if kind != "TIMESTAMP":
        raise ValueError("text")
    time = dt.datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _number_value(text: str, kind: str) -> int | float:
    number = Decimal(text)
    if kind == "FLOAT" and math.isfinite(float(number)):
        return float(number)
    if kind == "INTEGER" and abs(number) <= _MAX_INTEGER and number == int(number):
        return int(number)
    raise ValueError("a number of another kind")
