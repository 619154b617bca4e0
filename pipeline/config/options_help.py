"""This pipeline's options as argparse knows them, and the help text of `rescore run --list-options`; without Beam."""

import argparse
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipeline.config.settings import Settings, defaults
from pipeline.config.sources import CONFIG
from transforms.prompt.prompt import prompt_versions

_TYPES: Final = {"boolean": "true|false", "integer": "NUMBER", "number": "NUMBER"}
_FORMATS: Final = {"path": "PATH"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this pipeline's options to a parser; unset ones are None."""
    schema = Settings.model_json_schema()
    for name, default, description in defaults():
        shown = f" (default: {str(default).lower() if isinstance(default, bool) else default})"
        text = description + (shown if default not in (None, "") else "")
        parser.add_argument(f"--{name}", help=text.replace("%", "%%"), metavar=_values(name, schema))


def _values(name: str, schema: Mapping[str, Any]) -> str:
    """Return which values an option takes: one of several, or their type."""
    if name in {"prompt_version", "shadow_prompt"}:
        return "|".join(prompt_versions())  # and gs://…, which the help text says
    field = schema["properties"][name]
    value = field.get("anyOf", [field])[0]  # an optional value: its type or null
    if "$ref" in value:
        value = schema["$defs"][value["$ref"].rpartition("/")[2]]
    if "enum" in value:
        return "|".join(value["enum"])
    return _FORMATS.get(value.get("format", "")) or _TYPES.get(value["type"], "TEXT")


def option_names() -> Iterator[tuple[str, str]]:
    """Yield each option as it is typed, with its meaning, and those of one of several values with each value."""
    schema = Settings.model_json_schema()
    yield f"--{CONFIG}", "YAML file of options"
    for name in Settings.model_fields:
        meaning = Settings.model_fields[name].description or ""
        yield f"--{name}", meaning
        if name in schema["properties"] and "|" in (values := _values(name, schema)):
            yield from ((f"--{name}={value}", meaning) for value in values.split("|"))


class _WholeWords(argparse.HelpFormatter):
    """Breaks lines at blanks only, so that names can be copied."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)


def options_help() -> str:
    """Return the help text of this pipeline's options, with their values and defaults."""
    parser = argparse.ArgumentParser(
        prog="rescore run",
        usage="rescore run [--config FILE] [--NAME=VALUE …]",
        add_help=False,
        formatter_class=_WholeWords,
    )
    parser.add_argument(
        f"--{CONFIG}",
        metavar="FILE",
        help="YAML file of options, name: value; the command line and RESCORE_NAME variables win over it",
    )
    add_options(parser)
    return parser.format_help()
