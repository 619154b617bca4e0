"""The smoke test of a deployment, on the local stack: it passes if the pipeline runs, and fails if it does not."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from pipeline import smoke_test
from pipeline.local.stack import LocalStack
from tests.e2e.pipeline_process import SHORT_WAITS, pipeline_process


def _smoke_test(stack: LocalStack, *arguments: str) -> Result:
    """Run the smoke test in this process."""
    command = typer.Typer()
    command.command()(smoke_test.main)
    return CliRunner().invoke(command, ["--project", stack.project, *arguments])


def test_without_a_pipeline_it_says_what_is_missing(stack: LocalStack) -> None:
    """If no pipeline reads the change, the smoke test fails with one line."""
    command = [sys.executable, "-m", "pipeline.smoke_test", "--project", stack.project, "--timeout-seconds", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("smoke test: the change was not scored within 0 s")


def test_a_running_pipeline_passes(stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account is scored, and its deletion removes the score."""
    monkeypatch.setattr(smoke_test, "POLL_SECONDS", 0.2)
    with pipeline_process(stack, *SHORT_WAITS, log=tmp_path / "pipeline.log"):
        done = _smoke_test(stack, "--timeout-seconds", "240")
    assert done.exit_code == 0, done.output + (tmp_path / "pipeline.log").read_text()[-2_000:]
    scored, taken_away = done.stdout.strip().splitlines()
    assert "was scored" in scored
    assert "removed the score" in taken_away


def test_a_wrong_name_is_one_line_and_exit_2(stack: LocalStack) -> None:
    """An error that the user can fix is one line."""
    done = _smoke_test(stack, "--dataset", "no_such_dataset")
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
