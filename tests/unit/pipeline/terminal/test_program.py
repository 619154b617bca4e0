"""How printed commands call `rescore`."""

import shlex
from pathlib import Path

import pytest

from pipeline.terminal.program import program


def _executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_what_the_shell_finds_is_called_by_its_name(tmp_path: Path) -> None:
    """The name suffices for a command on PATH."""
    assert program(str(_executable(tmp_path / "bin/rescore"))) == "rescore"


def test_a_command_in_a_folder_below_is_called_by_its_relative_path(tmp_path: Path) -> None:
    """As in a checkout, where make sets up .venv."""
    installed = _executable(tmp_path / "project/.venv/bin/rescore")
    assert program(str(installed)) == ".venv/bin/rescore"
    assert program(".venv/bin/rescore") == ".venv/bin/rescore"


def test_another_rescore_on_the_path_is_not_called(tmp_path: Path) -> None:
    """The commands call the installation that printed them."""
    _executable(tmp_path / "bin/rescore")
    installed = _executable(tmp_path / "else where/rescore")
    assert program(str(installed)) == shlex.quote(str(installed))


def test_a_module_is_called_with_its_interpreter(tmp_path: Path) -> None:
    """`python -m pipeline` has no command; a link to an interpreter stays the link, which has the packages."""
    python = _executable(tmp_path / "usr/python3")
    link = tmp_path / "project/.venv/bin/python"
    link.parent.mkdir(parents=True)
    link.symlink_to(python)
    assert program("pipeline/__main__.py", python=str(link)) == ".venv/bin/python -m pipeline"
    assert program("pipeline/__main__.py", python=str(_executable(tmp_path / "bin/python3"))) == "python3 -m pipeline"
