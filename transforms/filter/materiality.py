"""Which changes are worth a new score: rules in YAML, and the decision that follows from them.

`materiality.yaml`, beside this module, holds the defaults and tells how a file of one's own is read.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Final, Never

import yaml

from schemas.change_event import ACCOUNT_ENTITY, ENTITIES, AccountChange, ChangeType
from schemas.outcome import SkipReason

_DEFAULTS: Final = "materiality.yaml"
_NEVER: Final = "never"
_MATCHES_KEPT: Final = 4_096
_CLIENT: Final = re.compile(r"(?:\A|;)\s*client=([^;]*)")
_GLOB: Final = re.compile(r"[A-Za-z*][\w*]*(?:\.[A-Za-z*][\w*]*)?\Z", re.ASCII)
_STR: Final = "tag:yaml.org,2002:str"


class MaterialityError(ValueError):
    """The rules can't be used; the message is one line with file, line and column, what is wrong, and the remedy."""


@dataclass(frozen=True)
class Material:
    """A change that is worth a score, and the changed fields that make it so; a gap or a DELETE needs none."""

    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class Immaterial:
    """A change that is not worth a score, and why."""

    reason: SkipReason


@dataclass(frozen=True)
class EntityFields:
    """Globs of the fields that matter in an entity's updates; without an include no update does."""

    entity: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def matter(self, name: str) -> bool:
        """Whether a changed field, or part of a compound field, matters."""
        return self.matcher(name)

    @cached_property
    def matcher(self) -> Callable[[str], bool]:
        """`matter`, which is asked of the same few hundred names again and again."""
        included, excluded = _including(self.include), _excluding(self.exclude)

        @lru_cache(maxsize=_MATCHES_KEPT)  # names come from events: there is no telling how many
        def matters(name: str) -> bool:
            return bool(included.fullmatch(name)) and not excluded.fullmatch(name)

        return matters

    def __reduce__(self) -> tuple[type["EntityFields"], tuple[object, ...]]:
        """Travel to workers as plain values, without what was compiled from them."""
        return EntityFields, (self.entity, self.include, self.exclude)


@dataclass(frozen=True)
class Materiality:
    """The rules, as plain values: they travel to workers, which compile them once a process."""

    entities: tuple[EntityFields, ...]
    own_clients: tuple[str, ...] = ()

    @cached_property
    def _by_entity(self) -> dict[str, EntityFields]:
        return {fields.entity: fields for fields in self.entities}

    @cached_property
    def _own_clients(self) -> frozenset[str]:
        return frozenset(map(_client_key, self.own_clients))

    def decide(self, change: AccountChange) -> Material | Immaterial:
        """Return whether a change is worth a score.

        Only an UPDATE can be immaterial for its fields: the other types say that a record came, went or must be read
        again. A write of our own is one whatever it changed, except that an account's coming and going counts whoever
        caused it: no score that is written back does that, and the ledger of scores has to follow it.
        """
        is_update = change.change_type is ChangeType.UPDATE
        if (is_update or change.entity_name != ACCOUNT_ENTITY) and self._is_own(change):
            return Immaterial(SkipReason.OWN_WRITE)
        fields = self.material_fields(change)
        return Immaterial(SkipReason.IMMATERIAL) if is_update and not fields else Material(fields)

    def material_fields(self, change: AccountChange) -> tuple[str, ...]:
        """Return the changed fields that matter, in the event's order; whether their new values are known or not."""
        rules = self._by_entity.get(change.entity_name)
        if rules is None:
            return ()
        # A cleared field has changed, also where changedFields forgot it.
        changed = dict.fromkeys((*change.changed_fields, *change.nulled_fields))
        return tuple(filter(rules.matcher, changed))

    def _is_own(self, change: AccountChange) -> bool:
        if not self.own_clients:
            return False
        client = _CLIENT.search(change.change_origin)
        return client is not None and _client_key(client.group(1)) in self._own_clients


def load_materiality(path: Path | None = None) -> Materiality:
    """Return the rules of a file, over the packaged defaults for what it does not name; without a file, the defaults.

    Raises:
        MaterialityError: The file can't be read, or a rule in it is wrong.
    """
    packaged = resources.files("transforms.filter").joinpath(_DEFAULTS).read_bytes()
    defaults = _Reader(f"transforms/filter/{_DEFAULTS}").rules(packaged, Materiality(()))
    if path is None:
        return defaults
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MaterialityError(f"{path}: can't be read: {error.strerror}: name a YAML file") from error
    return _Reader(str(path)).rules(data, defaults)


@cache
def _including(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Compile includes: each stands for what it names, for its parts, and for the whole that it is part of."""
    return _compiled(
        f"{_pattern(field)}(?:\\.{_pattern(part)})?" if part else f"{_pattern(field)}(?:\\..*)?"
        for field, _, part in (glob.partition(".") for glob in globs)
    )


@cache
def _excluding(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Compile excludes: each stands for what it names and for its parts; a whole goes only if all its parts do."""
    return _compiled(
        f"{_pattern(field)}\\.{_pattern(part)}" if part.strip("*") else f"{_pattern(field)}(?:\\..*)?"
        for field, _, part in (glob.partition(".") for glob in globs)
    )


def _compiled(patterns: Iterator[str]) -> re.Pattern[str]:
    # Salesforce's API names differ in more than case. Without a glob the pattern is one that matches nothing.
    return re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE | re.ASCII | re.DOTALL)


def _pattern(glob: str) -> str:
    return re.sub(r"\*+", "[^.]*", glob)


def _client_key(client: str) -> str:
    """Return a client as it is compared: Salesforce ends some with a slash (`client=SfdcInternalAPI/`)."""
    return client.strip().rstrip("/").casefold()


@dataclass(frozen=True)
class _Reader:
    """Reads the rules from YAML's nodes, which know their places in the file, as its values would not."""

    source: str

    def rules(self, data: bytes, defaults: Materiality) -> Materiality:
        """Return the rules of a file."""
        root = self._compose(data)
        if root is None:
            raise MaterialityError(f"{self.source}:1:1: the file is empty: give entities, own_clients or both")
        top = self._mapping(root, ("entities", "own_clients"))
        entities = {fields.entity: fields for fields in defaults.entities}
        if "entities" in top:
            named = self._mapping(top["entities"], ENTITIES)
            entities |= {entity: self._entity(entity, node) for entity, node in named.items()}
        clients = self._clients(top["own_clients"]) if "own_clients" in top else defaults.own_clients
        return Materiality(tuple(entities.values()), clients)

    def _entity(self, entity: str, node: yaml.Node) -> EntityFields:
        if isinstance(node, yaml.ScalarNode) and node.value == _NEVER:
            return EntityFields(entity)
        lists = {} if _is_empty(node) else self._mapping(node, ("include", "exclude"))
        fields = lists.get("include", node)
        include = {} if fields is node or _is_empty(fields) else self._globs(fields)
        if not include:
            self._fail(fields, f"{entity} has no fields: list some under include, or write `{entity}: {_NEVER}`")
        exclude = tuple(self._globs(lists["exclude"])) if "exclude" in lists else ()
        for glob, where in include.items():
            # A glob is excluded as a whole where its own text is: only a * of the exclude takes in a * of it.
            if _excluding(exclude).fullmatch(glob):
                self._fail(where, f"{glob} is excluded again, so it can match nothing: take it out of one of the two")
        return EntityFields(entity, tuple(include), exclude)

    def _globs(self, node: yaml.Node) -> dict[str, yaml.Node]:
        """Return the globs of a list, each with its place."""
        globs = dict(self._texts(node))
        for glob, where in globs.items():
            if not _GLOB.match(glob):
                wanted = "letters, digits, _ and * are wanted, and one dot before a part of a compound field"
                self._fail(where, f"{glob!r} can match no field: {wanted}")
            if "*" in glob.partition(".")[0] and "." in glob:
                # Which fields are compound the name of one does not tell: `*.City` would take in every field.
                self._fail(where, f"{glob!r} has a * before the dot: name the compound field, as BillingAddress.*")
        return globs

    def _clients(self, node: yaml.Node) -> tuple[str, ...]:
        clients = dict(self._texts(node))
        for client, where in clients.items():
            if not _client_key(client) or "=" in client or ";" in client:
                self._fail(where, f"{client!r} is no client: write what follows client= in a changeOrigin, up to the ;")
        return tuple(sorted(clients))

    def _mapping(self, node: yaml.Node, keys: Collection[str]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, f"{_kind(node)}: a mapping is wanted, of {', '.join(keys)}")
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else _kind(key)
            if name not in keys:
                close = difflib.get_close_matches(str(name), keys, 1)
                remedy = f"did you mean {close[0]}?" if close else f"one of {', '.join(keys)} is wanted"
                self._fail(key, f"unknown key {name!r}: {remedy}")
            if name in found:
                line = found[name][0].start_mark.line + 1
                self._fail(key, f"{name} stands here and in line {line}: put both into one")
            found[name] = key, value
        return {name: value for name, (_, value) in found.items()}

    def _texts(self, node: yaml.Node) -> Iterator[tuple[str, yaml.Node]]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, f"{_kind(node)}: a list is wanted, of an entry a line: - Rating")
        for entry in node.value:
            if not isinstance(entry, yaml.ScalarNode) or entry.tag != _STR:
                self._fail(entry, f"{_kind(entry)}: a text is wanted, in quotes if YAML reads it as something else")
            yield entry.value, entry

    def _compose(self, data: bytes) -> yaml.Node | None:
        try:
            text = data.decode("utf-8-sig")
            root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        except UnicodeDecodeError as error:
            place = _place(data[: error.start].decode())
            raise MaterialityError(f"{self.source}:{place}: no UTF-8: save the file as UTF-8") from None
        except yaml.reader.ReaderError as error:
            place = _place(text[: error.position])
            raise MaterialityError(f"{self.source}:{place}: a control character: take it out") from None
        except yaml.MarkedYAMLError as error:
            problem = f"{error.context or ''} {error.problem or ''}".strip()
            remedy = 'a glob that starts with * needs quotes: "*__c"' if "alias" in problem else "YAML is wanted"
            mark = error.problem_mark or error.context_mark
            place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
            raise MaterialityError(f"{self.source}:{place}: {problem}: {remedy}") from None
        return root

    def _fail(self, node: yaml.Node, problem: str) -> Never:
        mark = node.start_mark
        raise MaterialityError(f"{self.source}:{mark.line + 1}:{mark.column + 1}: {problem}")


def _is_empty(node: yaml.Node) -> bool:
    return str(node.tag).endswith(":null")


def _kind(node: yaml.Node) -> str:
    names = {"null": "nothing", "map": "a mapping", "seq": "a list", "str": "a text", "bool": "true or false"}
    kind = str(node.tag).rpartition(":")[2]
    return names.get(kind, f"a value of type {kind}")


def _place(before: str) -> str:
    """Return line and column of what follows a text."""
    lines = before.split("\n")
    return f"{len(lines)}:{len(lines[-1]) + 1}"
