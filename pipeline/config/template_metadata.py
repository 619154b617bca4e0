"""The Flex Template's metadata: each option as a parameter, which Dataflow validates before a launch.

    python -m pipeline.config.template_metadata infrastructure/flex_template/metadata.json     # `make generate` does

Names, help texts, defaults and patterns come from the JSON schema of `pipeline.config.settings`. Files have to be in
Cloud Storage, since a template can't read files of the machine that launches it.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.config.settings import BEAM_OPTIONS, Settings

_PATTERNS: Final = {
    "boolean": "true|false",
    "integer": "[1-9][0-9]{0,11}",
    "number": r"[0-9]{1,9}(\.[0-9]{1,6})?",
}

_LEVEL: Final = "DEBUG|INFO|WARNING|ERROR|CRITICAL"
_LEVEL_OF_LOGGER: Final = rf'"[\w.]+": ?"({_LEVEL})"'
_SERVICE_OPTIONS: Final = r"\w+(=[\w.-]+)?(,\w+(=[\w.-]+)?)*"

BEAM_PARAMETERS: Final = {
    "number_of_worker_harness_threads": (
        "Threads per worker process",
        "Number of bundles that a worker process handles at once; they mostly wait for Gemini",
        "[1-9][0-9]{0,2}",
    ),
    "dataflow_service_options": (
        "Service options",
        "Dataflow's own, separated by commas, such as min_num_workers=2,worker_utilization_hint=0.5",
        _SERVICE_OPTIONS,
    ),
    "experiments": (
        "Experiments",
        "Beam's and Dataflow's, separated by commas, such as enable_data_sampling",
        _SERVICE_OPTIONS,
    ),
    "resource_hints": (
        "Resource hint",
        "Of all steps: max_active_bundles_per_worker=N lets Dataflow add workers by parallelism instead of CPU",
        "(max_active_bundles_per_worker|min_ram|cpu_count)=[0-9A-Za-z.]{1,20}",
    ),
    "default_sdk_harness_log_level": ("Log level", f"Of the workers' log: {_LEVEL.replace('|', ', ')}", _LEVEL),
    "sdk_harness_log_level_overrides": (
        "Log levels by logger",
        'JSON of loggers whose level differs, such as {"transforms.score": "DEBUG"}',
        rf"\{{{_LEVEL_OF_LOGGER}(, ?{_LEVEL_OF_LOGGER})*\}}",
    ),
    "element_processing_timeout_minutes": (
        "Element timeout in minutes",
        "After so long in one step with one element, a worker process ends itself; default: above the outage deadlines",
        "[1-9][0-9]{0,3}",
    ),
    "max_cache_memory_usage_mb": (
        "State cache in MB",
        "Size of Beam's cache of state in a worker process; 0: none, see docs/adr/005",
        "[0-9]{1,5}",
    ),
}
"""Beam's own options that the template passes, each with its label, its help text and the pattern of its values.

Beam's other options come from the launch itself: project, region, buckets, machines, network, image.
"""


def parameters(settings: type[Settings] = Settings) -> list[dict[str, Any]]:
    """Return the options as a template's parameters.

    Raises:
        KeyError: An option is text, and no pattern says which texts are valid.
    """
    schema = settings.model_json_schema()
    return [
        _parameter(name, field, schema["$defs"])
        for name, field in schema["properties"].items()
        if name not in BEAM_OPTIONS
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


def _beam_parameters() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "label": label,
            "helpText": help_text,
            "isOptional": True,
            "paramType": "TEXT",
            "regexes": [f"^({pattern})$"],
        }
        for name, (label, help_text, pattern) in BEAM_PARAMETERS.items()
    ]


def metadata() -> dict[str, Any]:
    """Return the template's metadata, as Dataflow reads it."""
    return {
        "name": "Account rescoring",
        "description": "Rescores Salesforce accounts with Gemini as they change: Pub/Sub to BigQuery",
        "streaming": True,
        "supportsExactlyOnce": True,
        "supportsAtLeastOnce": False,
        "parameters": [*parameters(), *_beam_parameters()],
    }


def document() -> str:
    """Return the metadata as the JSON file in the repository."""
    return json.dumps(metadata(), indent=2) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
