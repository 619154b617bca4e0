"""The Flex Template's metadata: each option of the pipeline as a parameter, which Dataflow checks before a launch.

    python -m pipeline.config.template_metadata infrastructure/flex_template/metadata.json     # `make generate` does

Names, descriptions, defaults and values are those of `pipeline.config.settings`. Left out is what a template can't
give: files of the machine that builds the graph.
"""

import json
import re
import sys
from enum import Enum
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import AfterValidator
from pydantic.fields import FieldInfo

from pipeline.config.settings import OURS, Matches, Settings

_FILES: Final = frozenset({"materiality", "schemas", "prices"})

_OF_DATAFLOW: Final = (
    {
        "name": "number_of_worker_harness_threads",
        "label": "Threads a worker process",
        "helpText": "Bundles that a worker process has in hand at once; they wait for Gemini most of the time",
        "isOptional": True,
        "paramType": "TEXT",
        "regexes": ["^[1-9][0-9]{0,2}$"],
    },
    {
        "name": "dataflow_service_options",
        "label": "Service options",
        "helpText": "Of Dataflow itself, separated by commas, such as min_num_workers=2,worker_utilization_hint=0.5",
        "isOptional": True,
        "paramType": "TEXT",
        "regexes": [r"^\w+(=[\w.-]+)?(,\w+(=[\w.-]+)?)*$"],
    },
)


def parameter(name: str, field: FieldInfo) -> dict[str, Any]:
    """Return an option as a template's parameter.

    Raises:
        KeyError: It is a text, and nothing says which ones it may be.
    """
    described: dict[str, Any] = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": field.description,
        "isOptional": True,
        "paramType": "TEXT",
        "regexes": [f"^({_values(name, field)})$"],
    }
    if field.default is None:
        return described
    is_switch = isinstance(field.default, bool)
    return described | {"defaultValue": str(field.default).lower() if is_switch else str(field.default)}


def _values(name: str, field: FieldInfo) -> str:
    kinds, metadata = _kinds(field.annotation), [*field.metadata, *_metadata(field.annotation)]
    for kind in kinds:
        if issubclass(kind, Enum):
            return "|".join(re.escape(str(member.value)) for member in kind)
    if bool in kinds:
        return "true|false"
    if int in kinds:
        return "[1-9][0-9]{0,11}"
    if float in kinds:
        return r"[0-9]{1,9}(\.[0-9]{1,6})?"
    rules = [it.func if isinstance(it, AfterValidator) else it for it in metadata]
    patterns = [rule.pattern for rule in rules if isinstance(rule, Matches)]
    if not patterns:
        raise KeyError(f"--{name}: say in pipeline/config/settings.py which texts it may be")
    return patterns[0]


def _kinds(annotation: Any) -> list[type]:
    """Return the types that an annotation stands for: one, or one beside None."""
    found = [annotation] if isinstance(annotation, type) else []
    return found + [kind for part in get_args(annotation) for kind in _kinds(part)]


def _metadata(annotation: Any) -> list[Any]:
    """Return the rules of an annotation beside None, which pydantic leaves inside it."""
    return [rule for part in get_args(annotation) for rule in (*getattr(part, "__metadata__", ()), *_metadata(part))]


def options() -> dict[str, FieldInfo]:
    """Return this pipeline's options that a template can give."""
    return {name: Settings.model_fields[name] for name in OURS if name not in _FILES}


def metadata() -> dict[str, Any]:
    """Return the template's metadata, as Dataflow reads it."""
    return {
        "name": "Account rescoring",
        "description": "Rescores Salesforce accounts with Gemini as they change: Pub/Sub to BigQuery",
        "streaming": True,
        "supportsExactlyOnce": True,
        "supportsAtLeastOnce": False,
        "parameters": [*(parameter(name, field) for name, field in options().items()), *_OF_DATAFLOW],
    }


def document() -> str:
    """Return the metadata as it is committed."""
    return json.dumps(metadata(), indent=2) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
