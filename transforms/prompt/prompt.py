"""Prompt of a Gemini call: render accounts with their contexts as text, and keep what the answers are checked against.

Instructions are in `versions/<version>/instruction.md`. A version covers everything that shapes an answer: the
instruction, the rendering in this module, the allow-list, redaction, and the response schema. It must not change once
it has scored; a test compares each version's digest. The code has one rendering and one redaction, those of the newest
version: an older one that is chosen by option has its own instruction only.
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

from more_itertools import partition
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from schemas.account_context import EnrichedChange
from schemas.salesforce_fields import is_compound_part
from schemas.score import Flag
from transforms.prompt.crm_text import prepare_text
from transforms.prompt.prompt_fields import ALLOW_LIST, Shown
from transforms.prompt.prompt_injection import InjectionKind

DEFAULT_PROMPT_VERSION: Final = "v3"
MAX_CHANGED_FIELDS: Final = 40
"""A CREATE changes every field of its record; the first ones show what kind of change it was."""
NAMELESS: Final = "(no name)"

_ID_LETTERS: Final = "bcdfghjkmnpqrstvwxz"
_FIELD_NAME: Final = re.compile(r"[A-Za-z]\w{0,79}(?:\.[A-Za-z]\w{0,79}){0,2}", re.ASCII)
_UNSUPPORTED_BY_GEMINI: Final = frozenset({"maxLength", "minLength", "pattern", "default", "const"})


@dataclass(frozen=True)
class Prompt:
    """The user's part of one call."""

    text: str
    accounts: Mapping[str, EnrichedChange]
    """The account of each opaque id, in the order of the prompt."""
    echoed_names: Mapping[str, str]
    """By opaque id, the account name that the answer must repeat: the name as shown, unique within the call."""


def load_instruction(version: str) -> str:
    """Return the instruction of a prompt version; it comes first in every call, so that Gemini can cache it.

    Raises:
        FileNotFoundError: The version does not exist.
    """
    return (
        importlib.resources.files("transforms.prompt")
        .joinpath("versions", version, "instruction.md")
        .read_text("utf-8")
    )


def prompt_versions() -> tuple[str, ...]:
    """Return the names of all versions."""
    folders = importlib.resources.files("transforms.prompt").joinpath("versions").iterdir()
    return tuple(sorted(folder.name for folder in folders if folder.is_dir() and not folder.name.startswith("_")))


def render_prompt(accounts: Sequence[EnrichedChange]) -> Prompt:
    """Return the prompt of a call: fenced JSON, accounts in random order under random ids.

    The random seed is made of the event ids, so a retried call has the same text.
    """
    seed = hashlib.sha256("\x1f".join(sorted(item.change.event_id for item in accounts)).encode()).digest()
    rng = random.Random(seed)
    shuffled = sorted(accounts, key=lambda item: item.change.event_id)
    rng.shuffle(shuffled)
    ids = _opaque_ids(rng, len(shuffled))
    entries = [_entry(short_id, item) for short_id, item in zip(ids, shuffled, strict=True)]
    names = unique_names([entry["profile"]["name"] for entry in entries])
    for entry, name in zip(entries, names, strict=True):
        entry["profile"]["name"] = name
    # Backticks within the JSON are escaped, so that no text can close the fence.
    block = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).replace("`", "\\u0060")
    text = f"Score these {len(entries)} accounts.\n\n```json\n{block}\n```\n"
    return Prompt(
        text=text,
        accounts=dict(zip(ids, shuffled, strict=True)),
        echoed_names=dict(zip(ids, names, strict=True)),
    )


def shown_text(item: EnrichedChange) -> str:
    """Return what a prompt shows of an account, for a look at its words."""
    return json.dumps(_entry("", item), ensure_ascii=False)


def suspected_injections(item: EnrichedChange) -> frozenset[InjectionKind]:
    """Return the kinds of prompt injection that are suspected in the texts that an account's prompt shows."""
    found = (prepare_text(text, most).injections for text, most in _texts(item))
    return frozenset().union(*found)


def row_flags(item: EnrichedChange) -> tuple[str, ...]:
    """Return the flags of an account's score: what follows from its texts, and those of the change."""
    suspected = (Flag.SUSPECTED_INSTRUCTIONS,) if suspected_injections(item) else ()
    return (*suspected, *item.change.flags)


def split_suspected(batch: Sequence[EnrichedChange]) -> tuple[list[EnrichedChange], list[EnrichedChange]]:
    """Return the accounts with a suspected prompt injection, each of which gets a call of its own, and all others."""
    others, suspected = partition(suspected_injections, batch)
    return list(suspected), list(others)


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names of a call's accounts, with a number added to those that are equal by `comparable_name`."""
    taken: set[str] = set()
    unique = []
    for shown in names:
        name = shown if comparable_name(shown) else NAMELESS
        number, candidate = 1, name
        while comparable_name(candidate) in taken:
            number += 1
            candidate = f"{name} ({number})"
        taken.add(comparable_name(candidate))
        unique.append(candidate)
    return unique


def comparable_name(name: str) -> str:
    """Return a name as it is compared: a model may change case, white space, or the form of a Unicode character."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def response_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON schema without the keywords that Gemini's `responseJsonSchema` does not support."""
    stripped = _without_unsupported(model.model_json_schema())
    if not isinstance(stripped, dict):
        raise TypeError(f"the JSON schema of {model.__name__} must be an object")
    return stripped


def _opaque_ids(rng: random.Random, count: int) -> list[str]:
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids["".join(rng.choices(_ID_LETTERS, k=4))] = None
    return list(ids)


def _entry(short_id: str, item: EnrichedChange) -> dict[str, Any]:
    context, change = item.context, item.change
    return {
        "id": short_id,
        "as_of": change.row_order.committed_at.date().isoformat(),
        "change_type": change.change_type.value,
        "changed_fields": list(_changed_fields(item)),
        "profile": _shown(context.profile),
        "opportunities": [_shown(record) for record in context.opportunities],
        "emails": [_shown(record) for record in context.emails],
        "calls": [_shown(record) for record in context.calls],
    }


def _changed_fields(item: EnrichedChange) -> Iterator[str]:
    """Yield the names of changed fields with their entities; anything that is not a field name is left out."""
    for name in item.change.changed_fields[:MAX_CHANGED_FIELDS]:
        if _FIELD_NAME.fullmatch(name):
            # Coalescing has already put the entity before the fields of other records.
            is_qualified = "." in name and not is_compound_part(name)
            yield name if is_qualified else f"{item.change.entity_name}.{name}"


def _shown(record: BaseModel) -> dict[str, Any]:
    """Return the fields of a record that the allow-list shows, as JSON: texts are prepared, empty fields left out."""
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
