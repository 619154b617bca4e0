"""Commands in documents: README's table has all of `rescore`; commands, options, modules and make targets exist."""

import functools
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from apache_beam.options.pipeline_options import PipelineOptions
from typer.core import TyperGroup

from pipeline.cli import app
from pipeline.config.settings import Settings
from tests.unit.test_docs import WITH_PATHS

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
_CODE: Final = re.compile(r"`([^`]+)`")
ANNOUNCED: Final[frozenset[str]] = frozenset()
"""Commands that documents name, and that do not exist yet."""

_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each command with its name, such as `dead-letters list`."""
    if not isinstance(command, TyperGroup) or command.invoke_without_command:
        yield name, command
    if not isinstance(command, TyperGroup):
        return
    for part, member in command.commands.items():
        yield from _commands(member, f"{name} {part}".strip())


COMMANDS: Final = dict(_commands(typer.main.get_command(app)))


def _rows() -> Iterator[tuple[str, set[str]]]:
    """Yield each row of the table of commands with the commands that it names.

    The first cell has `rescore GROUP NAME`, then names of its group's other commands; the second cell may have more.
    """
    for row in re.findall(r"^\| (`rescore .*) \|$", README, flags=re.MULTILINE):
        head, _, rest = row.replace(r"\|", "/").partition(" | ")
        # `rescore recover --to TIME` is recover, and `show ID` is show.
        first, *others = [re.split(r" [A-Z-]", code)[0] for code in _CODE.findall(head)]
        name = first.removeprefix("rescore ")
        group = name.rpartition(" ")[0]
        mentioned = {f"{group} {code.split()[0]}" for code in _CODE.findall(rest)} & set(COMMANDS)
        yield row, {name, *(f"{group} {other}" for other in others), *mentioned}


ROWS: Final = list(_rows())


def _unknown_options(line: str, names: set[str]) -> list[str]:
    """Return the options of a line that none of the commands has or passes on to the pipeline and to Beam."""
    known = {option for name in names for parameter in COMMANDS[name].params for option in parameter.opts}
    if any(COMMANDS[name].context_settings.get("ignore_unknown_options") for name in names):
        known |= _passed_on()
    return [option for option in re.findall(r"(?<!\S)[`']?(--[a-z][\w-]*)", line) if option not in known]


@functools.cache
def _passed_on() -> set[str]:
    """Return the options of the pipeline and of Beam; argparse writes a switch that is on by default as --no_NAME."""
    names = {*Settings.model_fields, *PipelineOptions([]).get_all_options(), "config"}
    return {f"--{prefix}{name}" for name in names for prefix in ("", "no_")}


def _uses(document: str) -> Iterator[str]:
    """Yield what follows `rescore` in the code of a document; a backslash at its end continues a line.

    In a fenced block, lines that begin with `$ ` are typed, and the others are output.
    """
    text = re.sub(r"\\\n\s*", " ", (ROOT / document).read_text(encoding="utf-8"))
    typed = [line for block in _FENCE.findall(text) for line in re.findall(r"^\$ (.*)$", block, flags=re.MULTILINE)]
    prose = _FENCE.sub("", text)
    code = (*typed, *_CODE.findall(prose), *re.findall(r"^ {4,}(.*)$", prose, flags=re.MULTILINE))
    for line in code:
        for use in re.findall(r"\brescore ([a-z][^|#;&]*)", line):
            yield " ".join(use.split())


def _command_of(use: str) -> str | None:
    """Return the longest name of a command with which a use begins."""
    words = re.split(r"[ ,:)]", use)
    return next((name for name in (" ".join(words[:2]), words[0]) if name in COMMANDS), None)


def test_the_table_lists_every_command() -> None:
    """A command without a row, and a row without a command, is noticed."""
    listed = [name for _, names in ROWS for name in names]
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize(("row", "names"), ROWS, ids=[min(names) for _, names in ROWS])
def test_options_in_the_table_exist(row: str, names: set[str]) -> None:
    """An option is one of the row's commands, or one that they pass on to the pipeline and to Beam."""
    assert _unknown_options(row, names) == []


def test_announced_commands_do_not_exist_yet() -> None:
    """One that does has its options checked like any other."""
    assert not ANNOUNCED & set(COMMANDS)


@pytest.mark.parametrize("document", WITH_PATHS)
def test_commands_in_documents_exist(document: str) -> None:
    """Code such as `rescore run --update` names a command and its options; `python -m` names a module."""
    uses = {use: _command_of(use) for use in _uses(document)}
    groups = {name.partition(" ")[0] for name in COMMANDS} | ANNOUNCED
    assert [use for use, name in uses.items() if name is None and use not in groups] == []
    assert [use for use, name in uses.items() if name and _unknown_options(use, {name})] == []
    modules = re.findall(r"python -m\s+([\w.]+)", (ROOT / document).read_text(encoding="utf-8"))
    assert [module for module in modules if not importlib.util.find_spec(module)] == []


def test_make_targets_exist() -> None:
    """Each `make TARGET` of the README is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", README, flags=re.MULTILINE))
    assert named >= {"demo", "test", "shell"}
    assert named <= targets
