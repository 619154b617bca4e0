"""Which changes are worth a new score: rules from YAML, and the decision that follows from them.

`materiality.yaml`, next to this module, holds the defaults and explains the format.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from schemas.change_event import ACCOUNT_ENTITY, ENTITIES, AccountChange, ChangeType
from schemas.outcome import SkipReason
from transforms.yaml_files import FileModel, known_key, read_yaml

_DEFAULTS: Final = resources.files("transforms.filter").joinpath("materiality.yaml")
_NEVER: Final = "never"
_MATCHES_KEPT: Final = 4_096
_CLIENT: Final = re.compile(r"(?:\A|;)\s*client=([^;]*)")
_GLOB: Final = re.compile(r"[A-Za-z*][\w*]*(?:\.[A-Za-z*][\w*]*)?\Z", re.ASCII)


@dataclass(frozen=True)
class EntityFields:
    """Globs of an entity's material fields; without an include no update of the entity is material."""

    entity: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @cached_property
    def is_material(self) -> Callable[[str], bool]:
        """Function that tells whether a changed field, or part of a compound field, is material; caches its answers."""
        included, excluded = _including(self.include), _excluding(self.exclude)

        @lru_cache(maxsize=_MATCHES_KEPT)  # bounded, because names come from events
        def matches(name: str) -> bool:
            return bool(included.fullmatch(name)) and not excluded.fullmatch(name)

        return matches

    def __reduce__(self) -> tuple[type["EntityFields"], tuple[object, ...]]:
        """Pickle the plain values only, without the compiled function."""
        return EntityFields, (self.entity, self.include, self.exclude)


@dataclass(frozen=True)
class Materiality:
    """The rules as plain values, which workers receive and compile once per process."""

    entities: tuple[EntityFields, ...]
    own_clients: tuple[str, ...] = ()

    @cached_property
    def _by_entity(self) -> dict[str, EntityFields]:
        return {fields.entity: fields for fields in self.entities}

    @cached_property
    def _own_clients(self) -> frozenset[str]:
        return frozenset(map(_client_key, self.own_clients))

    def skip_reason(self, change: AccountChange) -> SkipReason | None:
        """Return why a change is not worth a score; None if it is.

        Only an UPDATE can be immaterial because of its fields: the other change types say that a record was created,
        deleted, restored or must be read again. Writes of the configured own clients are skipped whatever they change,
        except for the creation and deletion of accounts, which no write of a score causes.
        """
        is_update = change.change_type is ChangeType.UPDATE
        if (is_update or change.entity_name != ACCOUNT_ENTITY) and self._is_own(change):
            return SkipReason.OWN_WRITE
        return SkipReason.IMMATERIAL if is_update and not self.material_fields(change) else None

    def material_fields(self, change: AccountChange) -> tuple[str, ...]:
        """Return the material fields among the changed ones, in the event's order; their new values may be unknown."""
        rules = self._by_entity.get(change.entity_name)
        if rules is None:
            return ()
        # A cleared field counts as changed even if changedFields does not list it.
        changed = dict.fromkeys((*change.changed_fields, *change.nulled_fields))
        return tuple(filter(rules.is_material, changed))

    def _is_own(self, change: AccountChange) -> bool:
        if not self.own_clients:
            return False
        client = _CLIENT.search(change.change_origin)
        return client is not None and _client_key(client.group(1)) in self._own_clients


def load_materiality(path: Path | None = None) -> Materiality:
    """Return the default rules, replaced by those of a file for each entity that it names.

    Raises:
        YamlFileError: The file can't be read, or a rule in it is wrong.
    """
    defaults = read_yaml(_DEFAULTS, _RulesFile)
    rules = read_yaml(path, _RulesFile) if path else defaults
    clients = (rules if "own_clients" in rules.model_fields_set else defaults).own_clients
    return Materiality(
        tuple(
            EntityFields(name, _unique(fields.include), _unique(fields.exclude))
            for name, fields in (defaults.entities | rules.entities).items()
        ),
        tuple(sorted(set(clients))),
    )


@cache
def _including(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Compile includes: each matches the field it names, the field's parts, and the compound field it is a part of."""
    return _compiled(
        f"{_pattern(field)}(?:\\.{_pattern(part)})?" if part else f"{_pattern(field)}(?:\\..*)?"
        for field, _, part in (glob.partition(".") for glob in globs)
    )


@cache
def _excluding(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Compile excludes: each matches the field it names and its parts; a compound field only if all parts are named."""
    return _compiled(
        f"{_pattern(field)}\\.{_pattern(part)}" if part.strip("*") else f"{_pattern(field)}(?:\\..*)?"
        for field, _, part in (glob.partition(".") for glob in globs)
    )


def _compiled(patterns: Iterator[str]) -> re.Pattern[str]:
    # Salesforce's API names are unique without regard to case. Without globs the pattern matches nothing.
    return re.compile("|".join(patterns) or r"(?!)", re.IGNORECASE | re.ASCII | re.DOTALL)


def _pattern(glob: str) -> str:
    return re.sub(r"\*+", "[^.]*", glob)


def _client_key(client: str) -> str:
    """Return a client's name for comparison; Salesforce ends some with a slash (`client=SfdcInternalAPI/`)."""
    return client.strip().rstrip("/").casefold()


def _unique(globs: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(globs))


def _glob(glob: str) -> str:
    if not _GLOB.match(glob):
        raise ValueError(
            f"{glob!r} can match no field: use letters, digits, _ and *, and one dot before a part of a compound field"
        )
    if "*" in glob.partition(".")[0] and "." in glob:
        # A field's name does not tell whether it is compound, so `*.City` would match every field.
        raise ValueError(f"{glob!r} has a * before the dot: name the compound field, such as BillingAddress.*")
    return glob


def _not_excluded(glob: str, info: ValidationInfo) -> str:
    # The text of an include is matched, so that only a * in the exclude covers a * in the include.
    if _excluding(tuple(info.data.get("exclude", ()))).fullmatch(glob):
        raise ValueError(f"{glob} is also excluded, so it can match nothing: remove it from include or exclude")
    return glob


def _client(client: str) -> str:
    if not _client_key(client) or "=" in client or ";" in client:
        raise ValueError(f"{client!r} is not a client: write what follows client= in a changeOrigin, up to the ;")
    return client


_Glob = Annotated[str, AfterValidator(_glob)]


class _EntityRules(FileModel):
    """The rules of one entity; `exclude` is validated first, since `include` is compared with it."""

    exclude: list[_Glob] = Field(default_factory=list)
    include: list[Annotated[_Glob, AfterValidator(_not_excluded)]] = Field(default_factory=list)


def _never_or_fields(rules: Any) -> Any:
    if rules == _NEVER:
        return _EntityRules()
    lists = {} if rules is None else rules
    if isinstance(lists, dict) and lists.keys() <= _EntityRules.model_fields.keys() and not lists.get("include"):
        raise ValueError(f"no fields: list some under include, or write `{_NEVER}`")
    return rules


_Entity = Annotated[str, AfterValidator(partial(known_key, known=ENTITIES))]
_Client = Annotated[str, AfterValidator(_client)]


class _RulesFile(FileModel):
    entities: dict[_Entity, Annotated[_EntityRules, BeforeValidator(_never_or_fields)]] = Field(default_factory=dict)
    own_clients: list[_Client] = Field(default_factory=list)
