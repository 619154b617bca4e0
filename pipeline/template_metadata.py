"""The Flex Template's metadata: each option of the pipeline as a parameter, which Dataflow checks before a launch.

    python -m pipeline.template_metadata infrastructure/flex_template/metadata.json     # `make generate` does

Names, descriptions and defaults are those of `pipeline.options`; here is said which values a text may have. Left out is
what a template can't give: flags without a value, and files of the machine that builds the graph.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from pipeline.options import RescoringOptions

_FILES: Final = frozenset({"materiality", "schemas", "prices"})
_RESOURCE: Final = r"[A-Za-z][\w.~+%-]{2,254}"

_TEXTS: Final = {
    "subscription": rf"(projects/[a-z0-9:.-]+/subscriptions/)?{_RESOURCE}",
    "id_label": r"[\w.-]{0,256}",
    "dead_letter_topic": rf"(projects/[a-z0-9:.-]+/topics/)?{_RESOURCE}",
    "dataset": r"\w{1,1024}",
    "crm_dataset": r"\w{1,1024}",
    "model": r"[a-z0-9][a-z0-9.@-]{0,126}",
    "location": r"global|[a-z]+-[a-z]+[0-9]+",
    "prompt_version": r"[\w.-]{1,64}",
    "shadow_model": r"[a-z0-9][a-z0-9.@-]{0,126}",
    "shadow_prompt": r"[\w.-]{1,64}",
    "skip_unchanged_contexts": "true|false",
    "redis_url": r"(rediss?://[^\s@]{1,255}|projects/[a-z0-9:.-]+/secrets/[\w-]+(/versions/[\w-]+)?|[A-Z][A-Z0-9_]{0,127})?",
    "salesforce_login_url": r"(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?)?",
    "salesforce_client_id": r"[\w.-]{0,255}",
    "salesforce_secret": r"(projects/[a-z0-9:.-]+/secrets/[\w-]+(/versions/[\w-]+)?|[A-Z][A-Z0-9_]{0,127})?",
    "salesforce_username": r"[^@\s]{1,64}@[^@\s]{1,255}",
}

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


def parameter(action: argparse.Action) -> dict[str, Any]:
    """Return an option as a template's parameter.

    Raises:
        KeyError: It is a text, and nothing here says which ones it may be.
    """
    described: dict[str, Any] = {
        "name": action.dest,
        "label": action.dest.replace("_", " ").capitalize(),
        "helpText": action.help,
        "isOptional": True,
        "paramType": "TEXT",
        "regexes": [f"^({_values(action)})$"],
    }
    if action.default is None:
        return described
    is_switch = isinstance(action.default, bool)
    return described | {"defaultValue": str(action.default).lower() if is_switch else str(action.default)}


def _values(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(re.escape(str(choice)) for choice in action.choices)
    if action.type is int:
        return "[1-9][0-9]{0,11}" if action.default else "[0-9]{1,12}"
    if action.type is float:
        return r"[0-9]{1,9}(\.[0-9]{1,6})?"
    if action.dest not in _TEXTS:
        raise KeyError(f"--{action.dest}: say in pipeline/template_metadata.py which texts it may be")
    return _TEXTS[action.dest]


def options() -> list[argparse.Action]:
    """Return this pipeline's options that a template can give."""
    parser = argparse.ArgumentParser(add_help=False)
    RescoringOptions._add_argparse_args(parser)  # noqa: SLF001 - Beam has no other way to ask
    return [action for action in parser._actions if action.nargs != 0 and action.dest not in _FILES]  # noqa: SLF001


def metadata() -> dict[str, Any]:
    """Return the template's metadata, as Dataflow reads it."""
    return {
        "name": "Account rescoring",
        "description": "Rescores Salesforce accounts with Gemini as they change: Pub/Sub to BigQuery",
        "streaming": True,
        "supportsExactlyOnce": True,
        "supportsAtLeastOnce": False,
        "parameters": [*(parameter(action) for action in options()), *_OF_DATAFLOW],
    }


def document() -> str:
    """Return the metadata as it is committed."""
    return json.dumps(metadata(), indent=2) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document(), encoding="utf-8")
