"""The smoke test of a deployment, on the local stack: it passes if the pipeline runs, and fails if it does not."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipeline.local.stack import LocalStack, local_stack

WAITING = ("--coalesce_seconds=0.5", "--batch_wait_seconds=0.2")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Return a local stack with an empty mirror."""
    with local_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


def _smoke_test(stack: LocalStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline.smoke_test", "--project", stack.project, *arguments],
        env=os.environ | dict(stack.environment),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_without_a_pipeline_it_says_what_is_missing(stack: LocalStack) -> None:
    """If no pipeline reads the change, the smoke test fails with one line."""
    done = _smoke_test(stack, "--timeout-seconds", "1")
    assert done.returncode == 1, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("smoke test: the change was not scored within 1 s")


def test_a_running_pipeline_passes(stack: LocalStack) -> None:
    """The account is scored, and its deletion removes the score."""
    pipeline = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run", "--project", stack.project, *WAITING],
        env=os.environ | dict(stack.environment),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        done = _smoke_test(stack, "--timeout-seconds", "100")
    finally:
        pipeline.terminate()
        _, log = pipeline.communicate(timeout=30)
    assert done.returncode == 0, done.stderr + log[-2_000:]
    scored, taken_away = done.stdout.strip().splitlines()
    assert "was scored" in scored
    assert "removed the score" in taken_away


def test_a_wrong_name_is_one_line_and_exit_2(stack: LocalStack) -> None:
    """An error that the user can fix is one line."""
    done = _smoke_test(stack, "--dataset", "no_such_dataset")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
