"""Which entities count and which of their changes are worth a new score: rules from YAML, and the decision.

`materiality.yaml`, next to this module, holds the defaults and explains the format.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from schemas.change_event import ACCOUNT_ENTITY, ACCOUNT_FIELD, AccountFields, ChangeType, RecordChange
from schemas.outcome import SkipReason
from transforms.filter.entity_names import account_field, entity_name
from transforms.yaml_files import FileModel, YamlFileError, known_key, read_yaml

_DEFAULTS: Final = resources.files("transforms.filter").joinpath("materiality.yaml")
_CONTACT: Final = "Contact"
_IS_PERSON_ACCOUNT: Final = "IsPersonAccount"
_TRUE: Final = frozenset({"true", "1"})
"""How bridges without booleans write true."""

_NEVER: Final = "never"
_MATCHES_KEPT: Final = 4_096
_CLIENT: Final = re.compile(r"(?:\A|;)\s*client=([^;]*)")
_GLOB: Final = re.compile(r"[A-Za-z*][\w*]*(?:\.[A-Za-z*][\w*]*)?\Z", re.ASCII)


@dataclass(frozen=True)
class EntityFields:
    """Globs of an entity's material fields, and the fields that name its account, in the order in which they are asked.

    Without an include no update of the entity is material. An account is named by its record id.
    """

    entity: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    account: tuple[str, ...] = (ACCOUNT_FIELD,)

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
        return EntityFields, (self.entity, self.include, self.exclude, self.account)


@dataclass(frozen=True)
class Materiality:
    """The rules as plain values, which workers receive and compile once per process."""

    entities: tuple[EntityFields, ...]
    own_clients: tuple[str, ...] = ()

    @property
    def account_fields(self) -> AccountFields:
        """The entities that count, each with the fields that can name its account."""
        return {fields.entity: fields.account for fields in self.entities}

    @cached_property
    def _by_entity(self) -> dict[str, EntityFields]:
        return {fields.entity: fields for fields in self.entities}

    @cached_property
    def _own_clients(self) -> frozenset[str]:
        return frozenset(map(_client_key, self.own_clients))

    def skip_reason(self, change: RecordChange) -> SkipReason | None:
        """Return why a change is not worth a score; None if it is.

        Only an UPDATE can be immaterial because of its fields: the other change types say that a record was created,
        deleted, restored or must be read again. Writes of the configured own clients are skipped whatever they change,
        except for the creation and deletion of accounts, which no write of a score causes. The contact of a person
        account changes with the account, whose own event says the same: docs/adr/044.
        """
        is_update = change.change_type is ChangeType.UPDATE
        if (is_update or change.entity_name != ACCOUNT_ENTITY) and self._is_own(change):
            return SkipReason.OWN_WRITE
        if _is_twin(change):
            return SkipReason.IMMATERIAL
        return SkipReason.IMMATERIAL if is_update and not self.material_fields(change) else None

    def material_fields(self, change: RecordChange) -> tuple[str, ...]:
        """Return the material fields among the changed ones, in the event's order; their new values may be unknown."""
        rules = self._by_entity.get(change.entity_name)
        if rules is None:
            return ()
        # A cleared field counts as changed even if changedFields does not list it.
        changed = dict.fromkeys((*change.changed_fields, *change.nulled_fields))
        return tuple(filter(rules.is_material, changed))

    def _is_own(self, change: RecordChange) -> bool:
        if not self.own_clients:
            return False
        client = _CLIENT.search(change.change_origin)
        return client is not None and _client_key(client.group(1)) in self._own_clients


def _is_twin(change: RecordChange) -> bool:
    """Whether the event says that its contact is a person account's."""
    if change.entity_name != _CONTACT:
        return False
    told = (change.values.get(_IS_PERSON_ACCOUNT), change.enriched.get(_IS_PERSON_ACCOUNT))
    return True in told or any(isinstance(it, str) and it.strip().lower() in _TRUE for it in told)


def load_materiality(path: Path | Traversable | None = None) -> Materiality:
    """Return the default rules, replaced by those of a file for each entity that it names; ignored ones are left out.

    An entity of the defaults whose rules are replaced keeps the fields that name its account, unless the file has some.

    Raises:
        YamlFileError: The file can't be read, or a rule in it is wrong.
    """
    defaults = read_yaml(_DEFAULTS, _RulesFile)
    rules = read_yaml(path, _RulesFile) if path else defaults
    clients = (rules if "own_clients" in rules.model_fields_set else defaults).own_clients
    entities = defaults.entities | rules.entities
    for place, name in enumerate(rules.ignore):
        if problem := _not_ignorable(name, entities.keys(), rules):
            raise YamlFileError(f"{path or _DEFAULTS}: ignore[{place}]: {problem}")
    return Materiality(
        tuple(
            _entity_fields(name, fields, defaults.entities.get(name))
            for name, fields in entities.items()
            if name not in rules.ignore
        ),
        tuple(sorted(set(clients))),
    )


def _entity_fields(name: str, rules: "_EntityRules", default: "_EntityRules | None") -> EntityFields:
    named_by = rules.account or (default and default.account) or [ACCOUNT_FIELD]
    account = () if name == ACCOUNT_ENTITY else _unique(named_by)
    return EntityFields(name, _unique(rules.include), _unique(rules.exclude), account)


def _not_ignorable(name: str, known: Collection[str], rules: "_RulesFile") -> str | None:
    """Return why an entity can't be ignored; None if it can."""
    if name == ACCOUNT_ENTITY:
        return f"{name} can't be ignored: its changes are what this service is for"
    if name in rules.entities:
        return f"{name} is under entities, too: remove it from one of the two"
    try:
        known_key(name, known)
    except ValueError as error:
        return str(error)
    return None


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
    return glob


def _one_compound_field(glob: str) -> str:
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


def _listed(fields: Any) -> Any:
    if fields == []:
        raise ValueError(f"no fields: name one, such as {ACCOUNT_FIELD}, or leave the key out")
    return [fields] if isinstance(fields, str) else fields


class _EntityRules(FileModel):
    """The rules of one entity; `exclude` is validated first, since `include` is compared with it."""

    account: Annotated[list[Annotated[str, AfterValidator(account_field)]], BeforeValidator(_listed)] = Field(
        default_factory=list
    )
    exclude: list[_Glob] = Field(default_factory=list)
    include: list[Annotated[_Glob, AfterValidator(_one_compound_field), AfterValidator(_not_excluded)]] = Field(
        default_factory=list
    )


def _never_or_fields(rules: Any) -> Any:
    if rules == _NEVER:
        return _EntityRules()
    lists = {} if rules is None else rules
    if isinstance(lists, dict) and lists.keys() <= _EntityRules.model_fields.keys() and not lists.get("include"):
        raise ValueError(f"no fields: list some under include, or write `{_NEVER}`")
    return rules


_Entity = Annotated[str, AfterValidator(entity_name)]
_Client = Annotated[str, AfterValidator(_client)]


def _account_names_itself(entities: dict[str, _EntityRules]) -> dict[str, _EntityRules]:
    account = entities.get(ACCOUNT_ENTITY)
    if account and account.account:
        raise ValueError(f"an {ACCOUNT_ENTITY} is named by its record id: remove its key account")
    return entities


class _RulesFile(FileModel):
    entities: Annotated[
        dict[_Entity, Annotated[_EntityRules, BeforeValidator(_never_or_fields)]],
        AfterValidator(_account_names_itself),
    ] = Field(default_factory=dict)
    ignore: list[str] = Field(default_factory=list)
    own_clients: list[_Client] = Field(default_factory=list)
