"""Options that take a time, over all commands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup, TyperOption
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.terminal.parameters import DAY, DURATION, TIME
from tests.fixtures.changes import account_id

EXPECTED = {
    TIME: "expected a duration such as 7d, or a time such as|expected a time such as",
    DURATION: "expected a number and s, m, h, d or w, such as 15m or 24h",
    DAY: "expected a day such as 2026-03-02",
}


def _commands(command: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(command, TyperGroup):
        for part, under in command.commands.items():
            yield from _commands(under, (*name, part))
    else:
        yield name, command


COMMANDS = dict(_commands(typer.main.get_command(app)))
OPTIONS = [
    (name, option) for name, command in COMMANDS.items() for option in command.params if isinstance(option, TyperOption)
]
TIMES = [(name, option) for name, option in OPTIONS if option.metavar in EXPECTED]


def _required(command: Any) -> list[str]:
    """Return what a command can't be called without, except its project."""
    given = []
    for parameter in command.params:
        if parameter.required and parameter.name != "project":
            given += [parameter.opts[-1], "x"] if isinstance(parameter, TyperOption) else [account_id()]
    return given


@pytest.mark.parametrize(
    ("name", "option"), TIMES, ids=lambda it: " ".join(it) if isinstance(it, tuple) else it.opts[0]
)
def test_what_is_no_time_is_refused_by_the_name_of_its_option(name: tuple[str, ...], option: TyperOption) -> None:
    """Before any service is called; the message says what to write instead."""
    arguments = [*name, *_required(COMMANDS[name]), f"{option.opts[0]}=banana"]
    done = CliRunner().invoke(app, arguments, env={"GOOGLE_CLOUD_PROJECT": "my-project"})
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rescore: {option.opts[0]} is 'banana': ")
    assert re.search(EXPECTED[str(option.metavar)], line)


TO_COME = {TIME: "which is not in the past", DAY: "which is in the future"}
PAST = [
    (name, option)
    for name, option in TIMES
    if option.metavar in TO_COME and option.opts[0] != "--until"  # an end may be to come: until then everything counts
]


@pytest.mark.parametrize(("name", "option"), PAST, ids=lambda it: " ".join(it) if isinstance(it, tuple) else it.opts[0])
@pytest.mark.parametrize("more", [(), ("--execute", "--reason=why")], ids=["plan", "execute"])
def test_a_time_to_come_is_refused(name: tuple[str, ...], option: TyperOption, more: tuple[str, ...]) -> None:
    """Before any service is called, in a plan and when it is carried out."""
    known = {flag for param in COMMANDS[name].params for flag in param.opts}
    given = [word for word in more if word.partition("=")[0] in known]
    arguments = [*name, *_required(COMMANDS[name]), f"{option.opts[0]}=2099-01-01", *given]
    done = CliRunner().invoke(app, arguments, env={"GOOGLE_CLOUD_PROJECT": "my-project"})
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rescore: {option.opts[0]} is '2099-01-01', {TO_COME[str(option.metavar)]}")


NAMES = {
    "--project": "expected 6 to 30 lower-case letters",
    "--dataset": "expected letters, digits and _",
    "--crm-dataset": "expected a dataset such as crm, or with its project",
    "--topic": "expected a name such as account-changes",
    "--parking-lot": "expected a name such as account-changes",
    "--hold": "expected a name such as account-changes",
    "--subscription": "expected a name such as account-changes",
    "--to-snapshot": "expected a name such as account-changes",
}
NAMED = [(name, option) for name, option in OPTIONS if option.opts[0] in NAMES]


@pytest.mark.parametrize(
    ("name", "option"), NAMED, ids=lambda it: " ".join(it) if isinstance(it, tuple) else it.opts[0]
)
def test_what_is_no_name_is_refused_by_its_option(name: tuple[str, ...], option: TyperOption, tmp_path: Path) -> None:
    """Before any service is called, which would say INVALID_ARGUMENT and no more."""
    flag, labels = option.opts[0], tmp_path / "labels.csv"
    labels.write_text(f"account_id,outcome,closed_on\n{account_id()},won,2026-03-02\n")
    required = [str(labels) if it == "x" else it for it in _required(COMMANDS[name])]
    whole = ["--to=1h"] if name == ("recover",) and flag != "--to-snapshot" else []
    arguments = [*name, *required, *whole, f"{flag}=a b"]
    done = CliRunner().invoke(app, arguments, env={"GOOGLE_CLOUD_PROJECT": "my-project"})
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rescore: {flag} is 'a b': {NAMES[flag]}")


def test_every_option_that_takes_a_time_is_called_so() -> None:
    """An option with a duration as its default, or whose help speaks of time zones, has one of the metavars."""
    timed = {
        (name, option.opts[0])
        for name, option in OPTIONS
        if re.fullmatch(r"[0-9]+[smhdw]", str(option.default)) or "ISO" in (option.help or "")
    }
    assert timed
    assert timed <= {(name, option.opts[0]) for name, option in TIMES}
