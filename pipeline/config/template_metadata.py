"""The Flex Template's metadata: each option as a parameter, which Dataflow validates before a launch.

    python -m pipeline.config.template_metadata infrastructure/flex_template/metadata.json     # `make generate` does

Names, help texts, defaults and patterns come from the JSON schema of `pipeline.config.settings`. Options that name
local files are left out, since a template can't read files of the machine that launches it.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.config.settings import BEAM_OPTIONS, Settings

_FILES: Final = frozenset({"materiality", "schemas", "prices"})
_PATTERNS: Final = {
    "boolean": "true|false",
    "integer": "[1-9][0-9]{0,11}",
    "number": r"[0-9]{1,9}(\.[0-9]{1,6})?",
}

_DATAFLOW_PARAMETERS: Final = (
    {
        "name": "number_of_worker_harness_threads",
        "label": "Threads per worker process",
        "helpText": "Number of bundles that a worker process handles at once; they mostly wait for Gemini",
        "isOptional": True,
        "paramType": "TEXT",
        "regexes": ["^[1-9][0-9]{0,2}$"],
    },
    {
        "name": "dataflow_service_options",
        "label": "Service options",
        "helpText": "Dataflow's own, separated by commas, such as min_num_workers=2,worker_utilization_hint=0.5",
        "isOptional": True,
        "paramType": "TEXT",
        "regexes": [r"^\w+(=[\w.-]+)?(,\w+(=[\w.-]+)?)*$"],
    },
)


def parameters(settings: type[Settings] = Settings) -> list[dict[str, Any]]:
    """Return the options as a template's parameters.

    Raises:
        KeyError: An option is text, and no pattern says which texts are valid.
    """
    schema = settings.model_json_schema()
    return [
        _parameter(name, field, schema["$defs"])
        for name, field in schema["properties"].items()
        if name not in BEAM_OPTIONS | _FILES
    ]


def _parameter(name: str, field: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    parameter = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": field["description"],
        "isOptional": True,
        "paramType": "TEXT",
        "regexes": [f"^({_values(name, field, definitions)})$"],
    }
    default = field["default"]
    if default is None:
        return parameter
    return parameter | {"defaultValue": str(default).lower() if isinstance(default, bool) else str(default)}


def _values(name: str, field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return a pattern for an option's values; an optional one is `anyOf` its type and null."""
    value = field.get("anyOf", [field])[0]
    value = definitions[value["$ref"].rpartition("/")[2]] if "$ref" in value else value
    if "enum" in value:
        return "|".join(map(re.escape, value["enum"]))
    pattern = value.get("pattern") or _PATTERNS.get(value["type"])
    if not pattern:
        raise KeyError(f"--{name}: add a pattern of the valid texts in pipeline/config/settings.py")
    return pattern


def metadata() -> dict[str, Any]:
    """Return the template's metadata, as Dataflow reads it."""
    return {
        "name": "Account rescoring",
        "description": "Rescores Salesforce accounts with Gemini as they change: Pub/Sub to BigQuery",
        "streaming": True,
        "supportsExactlyOnce": True,
        "supportsAtLeastOnce": False,
        "parameters": [*parameters(), *_DATAFLOW_PARAMETERS],
    }


def document() -> str:
    """Return the metadata as the JSON file in the repository."""
    return json.dumps(metadata(), indent=2) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
