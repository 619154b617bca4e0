"""docs/tour-of-failures.md, run word by word: each command does what the page says, and each failure heals."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from pipeline.local.failing.failures import FAILURES
from tests.fixtures.commands import PATIENCE_SECONDS, Process, running_shell, wait_until, without_exports

PAGE: Final = (Path(__file__).parents[2] / "docs" / "tour-of-failures.md").read_text(encoding="utf-8")
POINT_TO_STACK: Final = ". ./stack.env"
_STEP: Final = re.compile(r"^(?:    (?P<command>\S.*)|> `(?P<sight>.+)`)$", re.MULTILINE)
_READS: Final = ("rescore dead-letters list", "rescore reconcile")
"""Commands that a reader repeats until they say what the page says."""


@dataclass(frozen=True)
class Step:
    """A line of the page: a command to paste, or a text that then is seen in the log or in what a command printed."""

    text: str
    is_command: bool


def _sections() -> dict[str, list[Step]]:
    """Return the steps of each section, in their order."""
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)[1:]
    return {
        title: [
            Step(match["command"] or match["sight"], is_command=match["command"] is not None)
            for match in _STEP.finditer(text)
        ]
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }


SECTIONS: Final = _sections()
TOUR: Final = {title: steps for title, steps in SECTIONS.items() if steps and title != "Start"}


@dataclass
class Reader:
    """Somebody who pastes the page's commands into the third shell, and watches the log of the second."""

    folder: Path
    log: Path
    pipeline: Process
    printed: list[str] = field(default_factory=list)
    last_command: str = ""
    log_begins: int = 0

    def begin_section(self) -> None:
        """Forget what was seen before."""
        self.printed, self.log_begins = [], len(self.log.read_bytes())

    def paste(self, command: str) -> None:
        """Run a command; it must succeed, unless it reports what is not finished yet."""
        done = self._run(command)
        assert done.returncode == 0 or command.startswith(_READS), f"{command}\n{done.stderr}"
        self.printed.append(done.stdout + done.stderr)
        self.last_command = command

    def see(self, text: str) -> None:
        """Wait until a text is in the log or was printed; repeat a report meanwhile."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while _plain(text) not in _plain(self._log() + "".join(self.printed)):
            assert self.pipeline.poll() is None, f"the pipeline ended before {text!r}:\n{self._log()[-3_000:]}"
            assert time.monotonic() < ends_at, f"not seen: {text!r}\n{self.printed[-1]}\n{self._log()[-3_000:]}"
            time.sleep(0.5)
            if self.last_command.startswith(_READS):
                done = self._run(self.last_command)
                self.printed[-1] = done.stdout + done.stderr

    def _log(self) -> str:
        return self.log.read_bytes()[self.log_begins :].decode()

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", f"{POINT_TO_STACK}\n{command}"],
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )


def _plain(text: str) -> str:
    return " ".join(text.split())


def _environment() -> dict[str, str]:
    """Return the environment of a shell that finds `rescore`, as after `make shell`."""
    return without_exports() | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def _only(steps: Sequence[Step], beginning: str) -> str:
    (command,) = {step.text for step in steps if step.text.startswith(beginning)}
    return command


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Start the first two shells as the page says."""
    folder = tmp_path_factory.mktemp("tour")
    steps, exports, log = SECTIONS["Start"], folder / "stack.env", folder / "run.log"
    local, run = _only(steps, "rescore local"), _only(steps, "rescore run")
    assert [step.text for step in steps] == [local, POINT_TO_STACK, run, POINT_TO_STACK]
    with running_shell(local, folder, _environment(), log=folder / "local.log") as stack:
        wait_until(exports.exists, stack, "the exports", folder / "local.log")
        script = f"{POINT_TO_STACK}\nexec {run}"
        with running_shell(script, folder, _environment(), log=log) as pipeline:
            yield Reader(folder, log, pipeline)


LONG = {"BigQuery is down", "Gemini answers with garbage"}


@pytest.mark.parametrize("title", [pytest.param(it, marks=pytest.mark.slow) if it in LONG else it for it in TOUR])
def test_the_page_is_true(reader: Reader, title: str) -> None:
    """Each command of a section runs, and what the page shows is seen after it."""
    reader.begin_section()
    for step in TOUR[title]:
        (reader.paste if step.is_command else reader.see)(step.text)


def test_the_page_has_every_failure() -> None:
    """A failure is in a section or in the table; sections show something besides commands."""
    assert [it.name for it in FAILURES if f"{it.service} {it.name}" not in PAGE] == []
    assert len(TOUR) >= 5
    for steps in TOUR.values():
        assert any(not step.is_command for step in steps)
