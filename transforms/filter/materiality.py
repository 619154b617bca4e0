"""Which entities count and which of their changes are worth a new score: rules from YAML, and the decision.

`materiality.yaml`, next to this module, holds the defaults and explains the format.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from schemas.api_names import ByEntity
from schemas.change_event import ACCOUNT_ENTITY, ACCOUNT_FIELD, AccountFields, ChangeType, RecordChange
from schemas.outcome import SkipReason
from transforms.filter.entity_names import account_field, entity_name
from transforms.filter.noise import Noise, is_coordinate, is_custom, is_geolocation, is_package_time, is_time
from transforms.yaml_files import FileModel, YamlFileError, known_key, read_yaml

_DEFAULTS: Final = resources.files("transforms.filter").joinpath("materiality.yaml")
_CONTACT: Final = "Contact"
_IS_PERSON_ACCOUNT: Final = "IsPersonAccount"
_TRUE: Final = frozenset({"true", "1"})
"""How bridges without booleans write true."""

_NEVER: Final = "never"
_MATCHES_KEPT: Final = 4_096
_Judge = Callable[[RecordChange], bool]
"""Tells from an event's values whether the change of a field is material."""

_CLIENT: Final = re.compile(r"(?:\A|;)\s*client=([^;]*)")
_GLOB: Final = re.compile(r"[A-Za-z*][\w*]*(?:\.[A-Za-z*][\w*]*)?\Z", re.ASCII)


@dataclass(frozen=True)
class EntityFields:
    """Globs of an entity's material fields, and the fields that name its account, in the order in which they are asked.

    Without an include no update of the entity is material. An account is named by its record id. `noise` are kinds of
    changes (`noise.py`) that are immaterial, unless an include without a * names the field.
    """

    entity: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    account: tuple[str, ...] = (ACCOUNT_FIELD,)
    noise: tuple[Noise, ...] = ()

    @cached_property
    def judge(self) -> Callable[[str], "bool | _Judge"]:
        """Function that tells whether a changed field, or a part, is material, or what decides that; caches answers."""
        included, excluded = _including(self.include), _excluding(self.exclude)
        wanted = _including(tuple(glob for glob in self.include if "*" not in glob))

        @lru_cache(maxsize=_MATCHES_KEPT)  # bounded, because names come from events
        def judged(name: str) -> bool | _Judge:
            if not included.fullmatch(name) or excluded.fullmatch(name):
                return False
            return True if wanted.fullmatch(name) else self._judge_custom(name)

        return judged

    def _judge_custom(self, name: str) -> "bool | _Judge":
        if Noise.COORDINATES in self.noise and is_coordinate(name):
            return False
        by_name = is_package_time(name) if Noise.PACKAGE_TIMES in self.noise else False
        if by_name is not False:
            return partial(_tells_more_than_time, name, is_time_by_name=bool(by_name))
        if Noise.COORDINATES in self.noise and is_custom(name):
            return lambda change: not is_geolocation(name, change)
        return True

    def __reduce__(self) -> tuple[type["EntityFields"], tuple[object, ...]]:
        """Pickle the plain values only, without the compiled function."""
        return EntityFields, (self.entity, self.include, self.exclude, self.account, self.noise)


@dataclass(frozen=True)
class Materiality:
    """The rules as plain values, which workers receive and compile once per process."""

    entities: tuple[EntityFields, ...]
    own_clients: tuple[str, ...] = ()

    @property
    def account_fields(self) -> AccountFields:
        """The entities that count, each with the fields that can name its account; found in any case."""
        return ByEntity((fields.entity, fields.account) for fields in self.entities)

    @cached_property
    def _by_entity(self) -> ByEntity[EntityFields]:
        return ByEntity((fields.entity, fields) for fields in self.entities)

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
        return SkipReason.IMMATERIAL if is_update and next(self._material(change), None) is None else None

    def material_fields(self, change: RecordChange) -> tuple[str, ...]:
        """Return the material fields among the changed ones, in the event's order; their new values may be unknown."""
        return tuple(dict.fromkeys(self._material(change)))

    def _material(self, change: RecordChange) -> Iterator[str]:
        """Yield the material fields one by one: of nearly every material change, the first one decides."""
        rules = self._by_entity.get(change.entity_name)
        if rules is None:
            return
        judge = rules.judge
        # A cleared field counts as changed even if changedFields does not list it.
        for names in (change.changed_fields, change.nulled_fields):
            for name in names:
                judged = judge(name)
                if judged is True or (judged is not False and judged(change)):
                    yield name

    def _is_own(self, change: RecordChange) -> bool:
        if not self.own_clients:
            return False
        client = _CLIENT.search(change.change_origin)
        return client is not None and _client_key(client.group(1)) in self._own_clients


def _tells_more_than_time(name: str, change: RecordChange, *, is_time_by_name: bool) -> bool:
    """Whether a field that is probably a package's time is material; the value decides where the event has it."""
    value = change.values.get(name)
    return not (is_time_by_name if value is None else is_time(value))


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
    noise = (rules if "noise" in rules.model_fields_set else defaults).noise
    entities = defaults.entities | rules.entities
    for where, name in _in_two_cases(rules):
        raise YamlFileError(f"{path or _DEFAULTS}: {where}: {name} is there in another case: remove one of the two")
    for place, name in enumerate(rules.ignore):
        if problem := _not_ignorable(name, entities.keys(), rules):
            raise YamlFileError(f"{path or _DEFAULTS}: ignore[{place}]: {problem}")
    ignored = {name.casefold() for name in rules.ignore}
    return Materiality(
        tuple(
            _entity_fields(name, fields, defaults.entities.get(name), noise)
            for name, fields in entities.items()
            if name.casefold() not in ignored
        ),
        tuple(sorted(set(clients))),
    )


def _in_two_cases(rules: "_RulesFile") -> Iterator[tuple[str, str]]:
    """Yield the key path and the name of each entry that differs from one before it in case only."""
    lists = {"entities": (rules.entities, "entities.{1}"), "ignore": (rules.ignore, "ignore[{0}]")}
    lists["own_clients"] = (rules.own_clients, "own_clients[{0}]")
    for entity, fields in rules.entities.items():
        for key in ("account", "exclude", "include"):
            lists[f"{entity}.{key}"] = (getattr(fields, key), f"entities.{entity}.{key}[{{0}}]")
    for names, where in lists.values():
        before: dict[str, str] = {}
        for place, name in enumerate(names):
            if before.setdefault(name.casefold(), name) != name:
                yield where.format(place, name), name


def _entity_fields(name: str, rules: "_EntityRules", default: "_EntityRules | None", noise: list[str]) -> EntityFields:
    named_by = rules.account or (default and default.account) or [ACCOUNT_FIELD]
    account = () if name == ACCOUNT_ENTITY else _unique(named_by)
    kinds = tuple(map(Noise, dict.fromkeys(noise if rules.noise is None else rules.noise)))
    return EntityFields(name, _unique(rules.include), _unique(rules.exclude), account, kinds)


def _not_ignorable(name: str, known: Collection[str], rules: "_RulesFile") -> str | None:
    """Return why an entity can't be ignored; None if it can."""
    if name.casefold() == ACCOUNT_ENTITY.casefold():
        return f"{name} can't be ignored: its changes are what this service is for"
    if name in ByEntity((it, True) for it in rules.entities):
        return f"{name} is under entities, too: remove it from one of the two"
    if name in ByEntity((it, True) for it in known):
        return None
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


def _noise(name: str) -> Noise:
    return Noise(known_key(name, [kind.value for kind in Noise]))


_Noise = Annotated[str, AfterValidator(_noise)]
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
    noise: list[_Noise] | None = None
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
    noise: list[_Noise] = Field(default_factory=list)
    own_clients: list[_Client] = Field(default_factory=list)
