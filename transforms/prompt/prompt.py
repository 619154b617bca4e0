"""The prompt: accounts in context → the text of one Gemini call, and what its answers are checked against.

Instructions stand in versioned folders, `prompts/<version>/instruction.md`. A version covers all that shapes an answer:
the instruction, what this module and the allow-list make of an account, and the response schema. It is never edited
once it has scored; a test holds each version's digest.
"""

import hashlib
import importlib.resources
import json
import random
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from schemas.account_context import EnrichedChange
from schemas.change_event import ACCOUNT_ENTITY, RELATED_ENTITIES
from schemas.score import Flag
from transforms.prompt.crm_text import prepare_text
from transforms.prompt.prompt_fields import ALLOW_LIST, Shown
from transforms.prompt.prompt_injection import Suspicion

DEFAULT_PROMPT_VERSION: Final = "v2"
MAX_CHANGED_FIELDS: Final = 40
"""A CREATE changes every field of its record; these tell what kind of change it was."""
NAMELESS: Final = "(no name)"

_ID_LETTERS: Final = "bcdfghjkmnpqrstvwxz"
_ENTITIES: Final = RELATED_ENTITIES | {ACCOUNT_ENTITY}
_FIELD_NAME: Final = re.compile(r"[A-Za-z]\w{0,79}(?:\.[A-Za-z]\w{0,79}){0,2}", re.ASCII)
_UNSUPPORTED_BY_GEMINI: Final = frozenset({"maxLength", "minLength", "pattern", "default", "const"})


@dataclass(frozen=True)
class Prompt:
    """The user's part of one call; `accounts` maps each opaque id to the account it stands for, in prompt order."""

    text: str
    accounts: Mapping[str, EnrichedChange]
    facts: Mapping[str, str]
    """By id: the fact of its account that the answer must repeat, no two of a call alike. It is the name as shown."""


def load_instruction(version: str) -> str:
    """Return the fixed instruction of a prompt version; it comes first in every call, so that Gemini can cache it.

    Raises:
        FileNotFoundError: There is no such version.
    """
    return (
        importlib.resources.files("transforms.prompt")
        .joinpath("versions", version, "instruction.md")
        .read_text("utf-8")
    )


def prompt_versions() -> tuple[str, ...]:
    """Return the versions there are."""
    folders = importlib.resources.files("transforms.prompt").joinpath("versions").iterdir()
    return tuple(sorted(folder.name for folder in folders if folder.is_dir() and not folder.name.startswith("_")))


def render_prompt(accounts: Sequence[EnrichedChange]) -> Prompt:
    """Return the prompt of a call: fenced JSON, in an order and under ids that tell the model nothing.

    Order and ids follow from the changes alone, so that a retried call is the same call.
    """
    seed = hashlib.sha256("\x1f".join(sorted(item.change.event_id for item in accounts)).encode()).digest()
    dice = random.Random(seed)
    shuffled = sorted(accounts, key=lambda item: item.change.event_id)
    dice.shuffle(shuffled)
    ids = _opaque_ids(dice, len(shuffled))
    entries = [_entry(short_id, item) for short_id, item in zip(ids, shuffled, strict=True)]
    facts = unlike_names([entry["profile"]["name"] for entry in entries])
    for entry, fact in zip(entries, facts, strict=True):
        entry["profile"]["name"] = fact
    # No text can close the fence: a backtick within the JSON is written as its escape.
    block = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).replace("`", "\\u0060")
    text = f"Score these {len(entries)} accounts.\n\n```json\n{block}\n```\n"
    return Prompt(
        text=text,
        accounts=dict(zip(ids, shuffled, strict=True)),
        facts=dict(zip(ids, facts, strict=True)),
    )


def suspicions_of(item: EnrichedChange) -> frozenset[Suspicion]:
    """Return what the texts of an account that its prompt shows seem to try."""
    found = (prepare_text(text, most).suspicions for text, most in _texts(item))
    return frozenset().union(*found)


def row_flags(item: EnrichedChange) -> tuple[Flag, ...]:
    """Return what a reader of an account's score should know of the texts that it was scored from."""
    return (Flag.SUSPECTED_INSTRUCTIONS,) if suspicions_of(item) else ()


def part_suspects(batch: Sequence[EnrichedChange]) -> tuple[list[EnrichedChange], list[EnrichedChange]]:
    """Return the accounts whose texts seem to give orders, each to be asked about alone, and all others."""
    suspects = [bool(suspicions_of(item)) for item in batch]
    return (
        [item for item, suspect in zip(batch, suspects, strict=True) if suspect],
        [item for item, suspect in zip(batch, suspects, strict=True) if not suspect],
    )


def unlike_names(names: Sequence[str]) -> list[str]:
    """Return the names of a call's accounts, numbered where two are alike, so that each tells its account."""
    taken: set[str] = set()
    unlike = []
    for shown in names:
        name = shown if comparable(shown) else NAMELESS
        number, candidate = 1, name
        while comparable(candidate) in taken:
            number += 1
            candidate = f"{name} ({number})"
        taken.add(comparable(candidate))
        unlike.append(candidate)
    return unlike


def comparable(fact: str) -> str:
    """Return a fact as it is compared: a model may write another form of the same characters, or other white space."""
    return " ".join(unicodedata.normalize("NFKC", fact).casefold().split())


def response_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON schema without the keywords that Gemini's `responseJsonSchema` does not take."""
    stripped = _without_unsupported(model.model_json_schema())
    if not isinstance(stripped, dict):
        raise TypeError(f"the schema of {model.__name__} is no object")
    return stripped


def _opaque_ids(dice: random.Random, count: int) -> list[str]:
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids["".join(dice.choices(_ID_LETTERS, k=4))] = None
    return list(ids)


def _entry(short_id: str, item: EnrichedChange) -> dict[str, Any]:
    context, change = item.context, item.change
    return {
        "id": short_id,
        "as_of": change.committed_at.date().isoformat(),
        "change_type": change.change_type.value,
        "changed_fields": list(_changed_fields(item)),
        "profile": _shown(context.profile),
        "opportunities": [_shown(record) for record in context.opportunities],
        "emails": [_shown(record) for record in context.emails],
        "calls": [_shown(record) for record in context.calls],
    }


def _changed_fields(item: EnrichedChange) -> Iterator[str]:
    """Yield the names of changed fields with their entities; what is no name of a field stays behind."""
    for name in item.change.changed_fields[:MAX_CHANGED_FIELDS]:
        if _FIELD_NAME.fullmatch(name):
            # Coalescing has named those of other records with their entity already.
            yield name if name.split(".", 1)[0] in _ENTITIES else f"{item.change.entity_name}.{name}"


def _shown(record: BaseModel) -> dict[str, Any]:
    """Return the fields of a record that the allow-list shows, as JSON, texts prepared; what is unknown is left out."""
    values = ((name, getattr(record, name), most) for name, most in _ALLOWED[type(record)].items())
    return {
        name: prepare_text(value, most).shown if isinstance(value, str) else to_jsonable_python(value)
        for name, value, most in values
        if value is not None
    }


def _texts(item: EnrichedChange) -> Iterator[tuple[str, int]]:
    context = item.context
    for record in (context.profile, *context.opportunities, *context.emails, *context.calls):
        for name, most in _ALLOWED[type(record)].items():
            if isinstance(value := getattr(record, name), str):
                yield value, most


_ALLOWED: Final = {
    model: {name: rule.most_characters for name, rule in rules.items() if isinstance(rule, Shown)}
    for model, rules in ALLOW_LIST.items()
}


def _without_unsupported(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_unsupported(value) for key, value in schema.items() if key not in _UNSUPPORTED_BY_GEMINI}
    if isinstance(schema, list):
        return [_without_unsupported(value) for value in schema]
    return schema
