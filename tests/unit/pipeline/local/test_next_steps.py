"""What the demo says to look at next."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.local.next_steps import EVENTS_FILE, KEPT_FOLDER, next_steps

FOLDER = Path("my data")


def test_a_demo_that_kept_nothing_says_how_to_keep_it() -> None:
    """The demo's options are repeated, with the folder to keep the data in."""
    first, *_ = next_steps(".venv/bin/rescore", {"--accounts": 50, "--crm": Path("a b")}, None)
    assert first.command == f".venv/bin/rescore demo --accounts 50 --crm 'a b' --data-dir {KEPT_FOLDER}"


def test_a_demo_that_kept_its_data_says_how_to_look_at_it() -> None:
    """The folder is quoted for the shell."""
    assert [step.command for step in next_steps("rescore", {}, FOLDER)] == [
        f"rescore explain 'my data/{EVENTS_FILE}'",
        "rescore local --data-dir 'my data'",
    ]


@pytest.mark.parametrize("data_dir", [None, FOLDER])
def test_there_are_three_steps_at_most(data_dir: Path | None) -> None:
    """More would not be read."""
    assert 1 <= len(next_steps("rescore", {}, data_dir)) <= 3


@pytest.mark.parametrize("data_dir", [None, FOLDER])
def test_each_step_is_a_command_with_options_that_it_has(data_dir: Path | None) -> None:
    """The command line takes what is printed, up to `--help`."""
    for step in next_steps("rescore", {"--accounts": 50, "--seed": 3}, data_dir):
        _, *arguments = shlex.split(step.command)
        done = CliRunner().invoke(app, [*arguments, *([] if arguments == ["--help"] else ["--help"])])
        assert done.exit_code == 0, (step, done.output)
        assert all(option in done.output for option in arguments if option.startswith("--"))
