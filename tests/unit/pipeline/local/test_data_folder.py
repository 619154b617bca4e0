"""A data folder has one stack at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.local.data_folder import own_folder, remove_abandoned


def test_a_folder_is_used_once(tmp_path: Path) -> None:
    """A second stack is told which folder is used, and by what to replace it; afterwards the folder is free."""
    folder = tmp_path / "new" / "folder"
    with own_folder(folder), pytest.raises(ValueError, match=r"folder is used .* --data-dir"), own_folder(folder):
        pytest.fail("two stacks have one folder")
    with own_folder(folder):
        pass


def test_a_killed_stack_frees_its_folder(tmp_path: Path) -> None:
    """A crash leaves no lock behind."""
    script = (
        "import sys, pathlib; from pipeline.local.data_folder import own_folder\n"
        "with own_folder(pathlib.Path(sys.argv[1])): print('owned', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "owned\n"
        with pytest.raises(ValueError, match="is used"), own_folder(tmp_path):
            pytest.fail("two stacks have one folder")
        process.kill()
    with own_folder(tmp_path):
        pass


def test_what_a_killed_stack_left_is_removed(tmp_path: Path) -> None:
    """Not what is in use or was begun just now, nor what is no stack's."""
    for name in ("rescore-used", "rescore-left", "rescore-new", "other-left"):
        with own_folder(tmp_path / name):
            (tmp_path / name / "data").touch()
    (tmp_path / "rescore-notes").mkdir()
    (tmp_path / "rescore-link").symlink_to(tmp_path / "other-left")
    with own_folder(tmp_path / "rescore-used"):
        for name in ("rescore-used", "rescore-left", "other-left"):
            os.utime(tmp_path / name / "in-use", (0, 0))
        remove_abandoned(tmp_path, "rescore-")
    left = {"rescore-used", "rescore-new", "other-left", "rescore-notes", "rescore-link"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """The message says what to name instead."""
    (tmp_path / "own.json").touch()
    with (
        pytest.raises(ValueError, match=r"own.json', which is a file: name a folder"),
        own_folder(tmp_path / "own.json"),
    ):
        pytest.fail("a stack has a file as its folder")
