"""Every command of `rescore`, with the example of its help: a new command is in the tests by itself."""

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from typer._click.core import Command
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

from pipeline.cli import app
from tests.fixtures.changes import payload

_EXAMPLE: Final = re.compile(r"`rescore ([^`]+)`")
PROJECT: Final = "my-project"
"""The project in examples."""

_INSTEAD: Final[Mapping[str, str]] = {
    "run": "run --project my-project --runner=pipeline.local.runner.LocalRunner",
    "demo": "demo --accounts 5 --json",
    "local": "local --accounts 5 --data-dir local",
    "serve": "serve --project my-project --allow-anonymous --port 0",
}
"""What is run instead of the example: a pipeline on this machine, a small local stack, a server on a free port."""

_QUICKER: Final[Mapping[str, tuple[str, ...]]] = {
    "dead-letters replay": ("--quiet", "0.5"),
    "dead-letters resume": ("--quiet", "0.5"),
}


@dataclass(frozen=True)
class Row:
    """A command: its name, such as `dead-letters list`, and the arguments of its example."""

    name: str
    command: Command
    arguments: tuple[str, ...]

    @property
    def options(self) -> list[TyperOption]:
        """Its options."""
        return [param for param in self.command.params if isinstance(param, TyperOption)]

    def has(self, flag: str) -> bool:
        """Whether it has an option."""
        return any(flag in option.opts for option in self.options)

    def typed(self, *more: str, project: str = PROJECT, **replaced: str) -> list[str]:
        """Return the arguments of its example with a project, other words replaced, and more arguments."""
        words = {PROJECT: project, **replaced}
        arguments = [words.get(word, word.replace(f"={PROJECT}", f"={project}")) for word in self.arguments]
        return [*arguments, *(it for it in more if it not in arguments)]


def rows() -> list[Row]:
    """Return every command."""
    return list(_rows(get_command(app), ()))


def _rows(command: Command, path: tuple[str, ...]) -> Iterator[Row]:
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _rows(inner, (*path, name))
        if not path or not command.invoke_without_command:
            return
    name = " ".join(path)
    found = _EXAMPLE.search(command.epilog or "")
    assert found, f"the help of {name} has no example"
    typed = _INSTEAD.get(name, found[1])
    assert typed.startswith(name), f"the example of {name} is of another command"
    words = itertools.takewhile(lambda word: word not in {">", "|"}, shlex.split(typed))
    yield Row(name, command, (*words, *_QUICKER.get(name, ())))


def write_example_files(folder: Path) -> None:
    """Write the files that examples name."""
    (folder / "events").mkdir()
    (folder / "events" / "event.json").write_bytes(payload())
    (folder / "more.jsonl").write_bytes(payload(changedFields=["Rating"]) + b"\n")
    (folder / "materiality.yaml").write_text("entities:\n  Account:\n    include: [Phone]\n")
    (folder / "schemas").mkdir()
    fields = [{"name": name, "type": "string"} for name in ("ChangeEventHeader", "Phone")]
    schema = {"type": "record", "name": "AccountChangeEvent", "fields": fields}
    (folder / "schemas" / "S1.avsc").write_bytes(orjson.dumps(schema))
    (folder / "outcomes.csv").write_text("account_id,outcome,closed_on\n001000000000001AAA,won,2026-07-01\n")
    (folder / "rescoring.yaml").write_text("batch_size: 40\n")
