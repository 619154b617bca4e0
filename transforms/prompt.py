"""The prompt: accounts in context → the text of one Gemini call, and the answers it must bring.

Texts stand in versioned folders, `prompts/<version>/instruction.md`; a version is never edited once it has scored.
"""

import hashlib
import importlib.resources
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from schemas.account_context import ChangeInContext
from schemas.change_event import ACCOUNT_ENTITY, RELATED_ENTITIES

MAX_TEXT_CHARACTERS: Final = 600
CUT_MARK: Final = "… [cut]"

_ID_LETTERS: Final = "bcdfghjkmnpqrstvwxz"
_FREE_TEXT: Final = frozenset({"body", "notes", "subject", "name", "summary"})
_OUR_IDS: Final = frozenset({"account_id", "opportunity_id", "email_id", "call_id", "parent_id", "owner_id"})
_ENTITIES: Final = RELATED_ENTITIES | {ACCOUNT_ENTITY}
_UNSUPPORTED_BY_GEMINI: Final = frozenset({"maxLength", "minLength", "pattern", "default", "const"})


@dataclass(frozen=True)
class Prompt:
    """The user's part of one call; `accounts` maps each opaque id to the account it stands for, in prompt order."""

    text: str
    accounts: Mapping[str, ChangeInContext]


def load_instruction(version: str) -> str:
    """Return the fixed instruction of a prompt version; it comes first in every call, so that Gemini can cache it.

    Raises:
        FileNotFoundError: There is no such version.
    """
    return importlib.resources.files("transforms").joinpath("prompts", version, "instruction.md").read_text("utf-8")


def render_prompt(accounts: Sequence[ChangeInContext]) -> Prompt:
    """Return the prompt of a call: fenced JSON, in an order and under ids that tell the model nothing.

    Order and ids follow from the changes alone, so that a retried call is the same call.
    """
    seed = hashlib.sha256("\x1f".join(sorted(item.change.event_id for item in accounts)).encode()).digest()
    dice = random.Random(seed)
    shuffled = sorted(accounts, key=lambda item: item.change.event_id)
    dice.shuffle(shuffled)
    ids = _opaque_ids(dice, len(shuffled))
    entries = [_entry(short_id, item) for short_id, item in zip(ids, shuffled, strict=True)]
    # No text can close the fence: a backtick within the JSON is written as its escape.
    block = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).replace("`", "\\u0060")
    text = f"Score these {len(entries)} accounts.\n\n```json\n{block}\n```\n"
    return Prompt(text=text, accounts=dict(zip(ids, shuffled, strict=True)))


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


def _entry(short_id: str, item: ChangeInContext) -> dict[str, Any]:
    facts = item.context.model_dump(mode="json", exclude_none=True)
    return {
        "id": short_id,
        "as_of": item.change.committed_at.date().isoformat(),
        "change_type": item.change.change_type.value,
        "changed_fields": [_with_entity(item.change.entity_name, name) for name in item.change.changed_fields],
        "profile": _bounded(facts["profile"]),
        "opportunities": [_bounded(record) for record in facts["opportunities"]],
        "emails": [_bounded(record) for record in facts["emails"]],
        "calls": [_bounded(record) for record in facts["calls"]],
    }


def _with_entity(entity: str, name: str) -> str:
    """Return a field's name with its entity; coalescing has named those of other records so already."""
    return name if name.split(".", 1)[0] in _ENTITIES else f"{entity}.{name}"


def _bounded(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _cut(value) if name in _FREE_TEXT else value for name, value in record.items() if name not in _OUR_IDS
    }


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_CHARACTERS else text[:MAX_TEXT_CHARACTERS] + CUT_MARK


def _without_unsupported(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_unsupported(value) for key, value in schema.items() if key not in _UNSUPPORTED_BY_GEMINI}
    if isinstance(schema, list):
        return [_without_unsupported(value) for value in schema]
    return schema
