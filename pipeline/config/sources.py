"""Config sources: an option's value comes from the command line, else the environment, else a YAML file.

The result is one command line, which Beam reads as if all of it had been typed. Every option, Beam's own included, can
therefore be set in each source, and the Dataflow console shows the values in force.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from schemas.validation_errors import suggestion
from transforms.yaml_files import YamlFileError, load_yaml

PREFIX: Final = "RESCORE_"
CONFIG: Final = "config"
_PROJECT_VARIABLE: Final = "GOOGLE_CLOUD_PROJECT"
"""The variable that gcloud and Google's clients use."""

_Values = dict[str, tuple[str, Any]]
"""By option: the source as the user knows it, and the value."""


@dataclass(frozen=True)
class ResolvedOptions:
    """The options of all sources as one command line; `origins` names the source of those that were not typed."""

    arguments: list[str]
    origins: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()

    def label(self, name: str) -> str:
        """Return what the user calls an option: `--name`, or the source that sets it."""
        return self.origins.get(name, f"--{name}")


def resolve_options(
    arguments: Sequence[str], environment: Mapping[str, str], options: Mapping[str, argparse.Action]
) -> ResolvedOptions:
    """Return the arguments, completed from the environment and the file that `--config` names.

    Args:
        arguments: The command line as typed; options may be spelled with - instead of _.
        environment: `RESCORE_NAME` sets an option; GOOGLE_CLOUD_PROJECT sets the project.
        options: Every known option by name.
    """
    arguments = [_spelled(argument, options) for argument in arguments]
    typed = {argument[2:].partition("=")[0] for argument in arguments if argument.startswith("--")}
    problems: list[str] = []
    path, rest = _config_file(arguments, environment.get(f"{PREFIX}{CONFIG.upper()}"), problems)
    values = _from_file(Path(path), options, problems) if path else {}
    values |= _from_environment(environment, options, problems)
    added = {name: value for name, value in values.items() if name not in typed}
    more = [argument for name, (_, value) in added.items() for argument in _as_typed(options[name], name, value)]
    return ResolvedOptions([*rest, *more], {name: origin for name, (origin, _) in added.items()}, problems)


def _spelled(argument: str, options: Mapping[str, argparse.Action]) -> str:
    """Return an argument with the option's name as it is known, where it is spelled with - instead of _."""
    flag, is_with_value, value = argument.partition("=")
    name = flag[2:].replace("-", "_")
    return f"--{name}{is_with_value}{value}" if flag.startswith("--") and name in options else argument


def _config_file(
    arguments: Sequence[str], default: str | None, problems: list[str]
) -> tuple[str | None, Sequence[str]]:
    """Return the path that `--config` names, and the other arguments."""
    path, rest, words = default, [], iter(arguments)
    for word in words:
        if word == f"--{CONFIG}":
            path = next(words, None)
            if path is None:
                problems.append(f"--{CONFIG} needs a value: name a YAML file")
        elif word.startswith(f"--{CONFIG}="):
            path = word.partition("=")[2]
        else:
            rest.append(word)
    return path, rest


def _from_environment(
    environment: Mapping[str, str], options: Mapping[str, argparse.Action], problems: list[str]
) -> _Values:
    values: _Values = {}
    if _PROJECT_VARIABLE in environment:
        values["project"] = _PROJECT_VARIABLE, environment[_PROJECT_VARIABLE]
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name == CONFIG:
            continue
        if name in options:
            values[name] = variable, environment[variable]
        else:
            problems.append(f"the variable {variable} sets no option: {_remedy(name, options, PREFIX)}")
    return values


def _from_file(path: Path, options: Mapping[str, argparse.Action], problems: list[str]) -> _Values:
    try:
        content = load_yaml(path)
    except YamlFileError as error:
        problems.append(f"--{CONFIG}: {error}")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        problems.append(f"--{CONFIG}: {path}: expected a mapping of option names to values")
        return {}
    values: _Values = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in options:
            problems.append(f"{path}: {key} is not an option: {_remedy(name, options)}")
        elif isinstance(value, dict) or (isinstance(value, list) and any(isinstance(it, dict | list) for it in value)):
            problems.append(f"{path}: {name}: expected text, a number, or a list of them")
        elif value is not None:
            values[name] = f"{name} in {path}", value
    return values


def _remedy(name: str, options: Mapping[str, argparse.Action], prefix: str = "") -> str:
    meant = suggestion(name, options)
    if meant is None:
        return "see rescore run --list-options"
    return f"did you mean {prefix}{meant.upper() if prefix else meant}?"


def _as_typed(action: argparse.Action, name: str, value: Any) -> Iterator[str]:
    """Yield a value as it would be typed; a flag without a value is typed if the value is true."""
    if action.nargs == 0:
        if _text(value).lower() == "true":
            yield f"--{name}"
    elif isinstance(value, list):
        yield from (f"--{name}={_text(item)}" for item in value)
    else:
        yield f"--{name}={_text(value)}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
