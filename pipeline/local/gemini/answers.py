"""Building an answer that obeys a JSON schema: one node for each part of the schema, each a pure function.

A node is given the value that a model would like to write, and returns the nearest one that the schema allows. Where
nothing is wished for, it is given `NOTHING` and returns a value of its own, always the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

NOTHING: Final = object()
"""No wish: not null, which is a value."""

_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "somebody@example.com",
    "uri": "https://example.com/",
}
STRING_FORMATS: Final = frozenset({*_FORMATS, "enum"})
_PLACEHOLDER: Final = "not stated"


class Node(Protocol):
    """A part of a schema."""

    def fits(self, wish: Any) -> bool:
        """Whether the wish is of a type that this part is for."""
        ...

    def build(self, wish: Any) -> Any:
        """Return the allowed value nearest to the wish."""
        ...


@dataclass(frozen=True, slots=True)
class StringNode:
    """A text of `shortest` to `longest` characters, or one in a format, which no wish is checked against."""

    shortest: int = 0
    longest: int | None = None
    text_format: str | None = None

    def fits(self, wish: Any) -> bool:
        """Whether the wish is a text."""
        return isinstance(wish, str)

    def build(self, wish: Any) -> str:
        """Return the wish, cut with an ellipsis or filled with full stops."""
        text = _FORMATS.get(self.text_format or "") or (_PLACEHOLDER if wish is NOTHING else _as_text(wish))
        if self.longest is not None and len(text) > self.longest:
            text = text[: self.longest - 1] + "…" if self.longest else ""
        return text.ljust(self.shortest, ".")


@dataclass(frozen=True, slots=True)
class NumberNode:
    """A number, or an integer, from `least` to `most`."""

    integer: bool
    least: float = -math.inf
    most: float = math.inf

    def fits(self, wish: Any) -> bool:
        """Whether the wish is a number, and an integer where one is wanted."""
        return isinstance(wish, int if self.integer else (int, float)) and not isinstance(wish, bool)

    def build(self, wish: Any) -> float:
        """Return the wish, or 0 where there is none, moved to the nearest bound."""
        value = wish if isinstance(wish, int | float) and not isinstance(wish, bool) else 0
        value = min(max(value, self.least), self.most)
        return round(value) if self.integer else value


@dataclass(frozen=True, slots=True)
class BooleanNode:
    """True or false."""

    def fits(self, wish: Any) -> bool:
        """Whether the wish is a boolean."""
        return isinstance(wish, bool)

    def build(self, wish: Any) -> bool:
        """Return the wish, or false."""
        return wish is True


@dataclass(frozen=True, slots=True)
class NullNode:
    """Null."""

    def fits(self, wish: Any) -> bool:
        """Whether the wish is null."""
        return wish is None

    def build(self, wish: Any) -> None:
        """Return null."""


@dataclass(frozen=True, slots=True)
class EnumNode:
    """One of the values, which are not empty."""

    values: tuple[Any, ...]

    def fits(self, wish: Any) -> bool:
        """Whether the wish is one of the values, upper and lower case being the same."""
        return self._match(wish) is not NOTHING

    def build(self, wish: Any) -> Any:
        """Return the value that the wish means, else the first."""
        found = self._match(wish)
        return self.values[0] if found is NOTHING else found

    def _match(self, wish: Any) -> Any:
        if wish is NOTHING:
            return NOTHING
        folded = str(wish).casefold()
        return next((value for value in self.values if str(value).casefold() == folded), NOTHING)


@dataclass(frozen=True, slots=True)
class ArrayNode:
    """A list of `fewest` to `most` items; the first have a node each where `first` says so."""

    item: Node | None
    fewest: int = 0
    most: int | None = None
    first: tuple[Node, ...] = ()

    def fits(self, wish: Any) -> bool:
        """Whether the wish is a list."""
        return isinstance(wish, list)

    def build(self, wish: Any) -> list[Any]:
        """Return the wished items, cut or filled up to the allowed number."""
        wishes: Sequence[Any] = wish if isinstance(wish, list) else ()
        count = max(len(wishes), self.fewest, len(self.first))
        if self.most is not None:
            count = min(count, self.most)
        if self.item is None:
            count = min(count, len(self.first))
        nodes = [*self.first, *[self.item] * (count - len(self.first))][:count]
        return [
            node.build(wishes[index] if index < len(wishes) else NOTHING)
            for index, node in enumerate(nodes)
            if node is not None
        ]


@dataclass(frozen=True, slots=True)
class ObjectNode:
    """An object with these properties, in this order, and no other."""

    properties: tuple[tuple[str, Node], ...]

    def fits(self, wish: Any) -> bool:
        """Whether the wish is an object."""
        return isinstance(wish, dict)

    def build(self, wish: Any) -> dict[str, Any]:
        """Return every property, by the wish's member of that name."""
        wishes = wish if isinstance(wish, dict) else {}
        return {name: node.build(wishes.get(name, NOTHING)) for name, node in self.properties}


@dataclass(frozen=True, slots=True)
class UnionNode:
    """One of several, which are not empty."""

    branches: tuple[Node, ...]

    def fits(self, wish: Any) -> bool:
        """Whether the wish fits a branch."""
        return any(branch.fits(wish) for branch in self.branches)

    def build(self, wish: Any) -> Any:
        """Return what the first fitting branch makes of the wish, else the first that is not null."""
        fitting = [branch for branch in self.branches if branch.fits(wish)]
        others = [branch for branch in self.branches if not isinstance(branch, NullNode)]
        return [*fitting, *others, *self.branches][0].build(wish)


@dataclass(frozen=True, slots=True)
class AnyNode:
    """Whatever is wished for."""

    def fits(self, wish: Any) -> bool:
        """Whether there is a wish."""
        return wish is not NOTHING

    def build(self, wish: Any) -> Any:
        """Return the wish, or a text."""
        return _PLACEHOLDER if wish is NOTHING else wish


def build_answer(schema: Node | None, accounts: Sequence[Mapping[str, Any]]) -> Any:
    """Return the answer for the scored accounts: `{"scores": [...]}`, or what the schema makes of it.

    A list at the top gets an item for each account; an object at the top without `scores` speaks of the first account.
    """
    whole = {"scores": list(accounts)}
    if isinstance(schema, ArrayNode):
        return schema.build(whole["scores"])
    if isinstance(schema, ObjectNode) and "scores" not in dict(schema.properties) and accounts:
        return schema.build(dict(accounts[0]))
    return whole if schema is None else schema.build(whole)


def scores_of(answer: Any) -> list[Any]:
    """Return the items of an answer, one for each account, to be changed in place; empty if it has none."""
    items = answer.get("scores") if isinstance(answer, dict) else answer
    return items if isinstance(items, list) else []


def _as_text(wish: Any) -> str:
    return wish if isinstance(wish, str) else str(wish)
