"""Errors of usage: one line with the way out."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from pipeline.terminal.command_group import SETTINGS, CommandGroup, with_manners

PROJECT = "GOOGLE_CLOUD_PROJECT"
ONE_OF = "expected one of dark_red, blue"


class Colour(StrEnum):
    """A choice with an underscore."""

    DARK_RED = "dark_red"
    BLUE = "blue"


def _app() -> typer.Typer:
    app = typer.Typer(cls=CommandGroup, context_settings=SETTINGS, no_args_is_help=True)
    group = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Paint.")

    @app.command(help="Draw.")
    def draw(
        path: Annotated[Path, typer.Argument(metavar="FILE", help="What to draw.")],
        *,
        project: Annotated[str, typer.Option(help="Project.")],
        pen_width: Annotated[int, typer.Option(min=1, max=9)] = 3,
        scale: float = 1.0,
        colours: Annotated[list[Colour] | None, typer.Option("--colour")] = None,
        framed: Annotated[bool, typer.Option("--framed")] = False,
    ) -> None:
        typer.echo(f"{path} {project} {pen_width} {scale} {colours} {framed}")

    @app.command(help="Mix.")
    def mix(table: Annotated[Path, typer.Argument(metavar="FILE", help="CSV of colours.")]) -> None:
        typer.echo(table)

    @group.command("a-wall", help="Paint a wall.")
    def wall() -> None:
        typer.echo("painted")

    app.add_typer(group, name="paint-it")
    with_manners(app)
    return app


def _run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(_app(), list(arguments), prog_name="rescore")
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("drw", "there is no command drw: did you mean draw?"),
        ("zzz", "there is no command zzz: see rescore --help"),
        ("paint-it a_wal", "paint-it has no command a_wal: did you mean a-wall?"),
        ("paint-it a-wall more", "paint-it a-wall takes no argument more: see rescore paint-it a-wall --help"),
        ("--helq", "there is no option --helq: did you mean --help?"),
        ("draw x --pen-widht 4", "draw has no option --pen-widht: did you mean --pen-width?"),
        ("draw x --zzz", "draw has no option --zzz: see rescore draw --help"),
        ("draw x -z", "draw has no option -z: see rescore draw --help"),
        ("draw x --project", "--project needs a value, such as --project=VALUE"),
        ("draw --project p", "FILE is missing (What to draw): see rescore draw --help"),
        ("mix", "FILE is missing (CSV of colours): see rescore mix --help"),
        (
            "draw x",
            f"--project is missing: name the Google Cloud project, such as --project my-project, or set {PROJECT}",
        ),
        ("draw x --project p --pen-width big", "--pen-width is 'big': expected a whole number"),
        ("draw x --project p --pen-width 0", "--pen-width is '0': expected 1 or more"),
        ("draw x --project p --pen-width 10", "--pen-width is '10': expected 9 or less"),
        ("draw x --project p --scale big", "--scale is 'big': expected a number"),
        (
            "draw x --project p --colour bleu",
            f"--colour is 'bleu': {ONE_OF}; did you mean 'blue'?",
        ),
        (
            "draw x --project p --colour dark-rde",
            f"--colour is 'dark-rde': {ONE_OF}; did you mean 'dark_red'?",
        ),
        ("draw x --project p --colour xyz", "--colour is 'xyz': expected one of dark_red, blue"),
        ("draw x --project p --colour " + "z" * 99, f"--colour is '{'z' * 60}': expected one of dark_red, blue"),
    ],
)
def test_an_error_is_one_line_with_the_way_out(line: str, told: str) -> None:
    """On standard error, with exit code 2."""
    assert _run(*line.split()) == (2, "", f"rescore: {told}\n")


@pytest.mark.parametrize(
    "line",
    [
        "draw x --project p --pen-width 4 --colour dark_red",
        "draw x --project p --pen_width 4 --colour dark-red",
        "draw x --project=p --pen_width=4 --colour=dark_red",
    ],
)
def test_hyphens_and_underscores_are_alike(line: str) -> None:
    """In names of options and in values of choices."""
    code, output, _ = _run(*line.split())
    assert (code, output.split(" [")[0]) == (0, "x p 4 1.0")
    assert Colour.DARK_RED.value in output


def test_names_of_commands_may_be_spelled_with_underscores() -> None:
    """Groups and commands."""
    assert _run("paint_it", "a_wall") == (0, "painted\n", "")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_types_plainly(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NUMBER, with its range, instead of <int range> [x>=1]; a flag has no type."""
    monkeypatch.setenv("COLUMNS", "120")
    code, output, _ = _run("draw", flag)
    lines = {line.split()[1]: line for line in output.splitlines() if "--" in line}
    assert code == 0
    assert "NUMBER, 1 to 9" in lines["--pen-width"]
    assert "NUMBER " in lines["--scale"]
    assert "dark_red|blue" in lines["--colour"]
    assert "TEXT" in output
    assert "<" not in output


def test_help_of_a_group_is_its_answer_to_nothing() -> None:
    """On standard output; there was no command, so the exit code is 2."""
    code, output, errors = _run("paint-it")
    assert (code, errors) == (2, "")
    assert "Paint a wall." in output
