"""Where options come from: the command line, over the environment, over a YAML file.

The result is a command line, which Beam reads as if all of it had been typed: so every option can be said in each of
the three ways, Beam's own among them, and the Dataflow console shows what is in force.
"""

import argparse
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

PREFIX: Final = "RESCORE_"
CONFIG: Final = "config"
_PROJECT_VARIABLE: Final = "GOOGLE_CLOUD_PROJECT"
"""As Google's own clients and gcloud's users know it."""


@dataclass(frozen=True)
class Layered:
    """Options as one command line; `origins` tells of those that were not typed where they were said."""

    arguments: list[str]
    origins: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[str] = ()

    def label(self, name: str) -> str:
        """Return what the user knows an option by."""
        return self.origins.get(name, f"--{name}")


def layered(
    arguments: Sequence[str], environment: Mapping[str, str], options: Mapping[str, argparse.Action]
) -> Layered:
    """Return the arguments with what the environment and the file that `--config` names add to them.

    Args:
        arguments: As typed.
        environment: `RESCORE_NAME` for each option; GOOGLE_CLOUD_PROJECT for the project.
        options: Every option there is, by name.
    """
    typed = {argument[2:].partition("=")[0] for argument in arguments if argument.startswith("--")}
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{CONFIG}", default=environment.get(f"{PREFIX}{CONFIG.upper()}"))
    known, rest = parser.parse_known_args(list(arguments))
    problems: list[str] = []
    said: dict[str, tuple[str, Any]] = {}
    if known.config:
        said |= _of_file(Path(known.config), options, problems)
    said |= _of_environment(environment, options, problems)
    added = {name: it for name, it in said.items() if name not in typed}
    more = [argument for name, (_, value) in added.items() for argument in _as_typed(options[name], name, value)]
    return Layered([*rest, *more], {name: origin for name, (origin, _) in added.items()}, problems)


def _of_environment(
    environment: Mapping[str, str], options: Mapping[str, argparse.Action], problems: list[str]
) -> dict[str, tuple[str, Any]]:
    said: dict[str, tuple[str, Any]] = {}
    if _PROJECT_VARIABLE in environment:
        said["project"] = _PROJECT_VARIABLE, environment[_PROJECT_VARIABLE]
    for variable in sorted(environment):
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name == CONFIG:
            continue
        if name in options:
            said[name] = variable, environment[variable]
        else:
            problems.append(f"the variable {variable} sets no option: {_meant(name, options, PREFIX, str.upper)}")
    return said


def _of_file(path: Path, options: Mapping[str, argparse.Action], problems: list[str]) -> dict[str, tuple[str, Any]]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"--{CONFIG} is {str(path)!r}: it can't be read ({type(error).__name__})")
        return {}
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problems.append(f"--{CONFIG} is {str(path)!r}: it is no YAML{where}")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        problems.append(f"--{CONFIG} is {str(path)!r}: names of options with their values are wanted")
        return {}
    said: dict[str, tuple[str, Any]] = {}
    for key, value in content.items():
        name = str(key)
        if name not in options:
            problems.append(f"{path}: {name} is no option: {_meant(name, options)}")
        elif isinstance(value, dict) or (isinstance(value, list) and any(isinstance(it, dict | list) for it in value)):
            problems.append(f"{path}: {name} holds other names: a text, a number, or a list of them is wanted")
        elif value is not None:
            said[name] = f"{name} in {path}", value
    return said


def _meant(name: str, options: Mapping[str, argparse.Action], prefix: str = "", written: Any = str) -> str:
    close = difflib.get_close_matches(name, options, n=1)
    return f"did you mean {prefix}{written(close[0])}?" if close else "see rescore run --list-options"


def _as_typed(action: argparse.Action, name: str, value: Any) -> Iterator[str]:
    """Yield a value as it would be typed; a flag without a value is typed, or not."""
    if action.nargs == 0:
        if _text(value).lower() == "true":
            yield f"--{name}"
    elif isinstance(value, list):
        yield from (f"--{name}={_text(item)}" for item in value)
    else:
        yield f"--{name}={_text(value)}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
