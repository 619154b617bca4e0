"""Run contenders against one stand-in, in turns, and report medians: accounts a second, calls, CPU."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.local.credentials import credentials_environment, write_service_account_file
from pipeline.local.gemini_process import GeminiProcess
from pipeline.local.stack import PROJECT
from tests.benchmarks.ratios import keep
from transforms.prompt.crm_text import prepare_text

ROUNDS: Final = 5

Contender = Callable[[], int]
"""Scores accounts, and returns how many have a valid score."""


@dataclass(frozen=True)
class Run:
    """One run's figures. Seconds are the stand-in's, from the first call's arrival to the last one's end."""

    scored: int
    seconds: float
    whole_seconds: float
    calls: int
    refused: int
    cpu_seconds: float
    prompt_tokens: int
    output_tokens: int

    @property
    def per_second(self) -> float:
        """Valid scores a second."""
        return self.scored / self.seconds if self.seconds else 0.0


@contextmanager
def stand_in(**config: Any) -> Iterator[GeminiProcess]:
    """Run the stand-in as a child process, with the environment variables that lead Google's clients to it."""
    with GeminiProcess(config) as process, tempfile.TemporaryDirectory() as folder:
        key = write_service_account_file(Path(folder) / "key.json", process.token_url, PROJECT)
        wanted = {"GOOGLE_VERTEX_BASE_URL": process.url, **credentials_environment(key)}
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield process
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def measure(gemini: GeminiProcess, contender: Contender) -> Run:
    """Run a contender once."""
    gemini.reset()
    prepare_text.cache_clear()  # each contender prepares its own texts
    cpu, started = time.process_time(), time.monotonic()
    scored = contender()
    whole_seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu
    stats = gemini.stats()
    return Run(
        scored=scored,
        seconds=stats["span_seconds"],
        whole_seconds=whole_seconds,
        calls=stats["calls"],
        refused=stats["by_status"].get("429", 0),
        cpu_seconds=cpu_seconds,
        prompt_tokens=stats["prompt_tokens"],
        output_tokens=stats["output_tokens"],
    )


def in_turns(gemini: GeminiProcess, contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[Run]]:
    """Run every contender once a round, so that a slow minute of the machine affects all of them."""
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            runs[name].append(measure(gemini, contender))
    return runs


def median(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    """Return the median of a figure over runs."""
    return statistics.median(value(run) for run in runs)


def report(title: str, rows: Sequence[Mapping[str, object]], runs: Mapping[str, Sequence[Run]] | None = None) -> None:
    """Print a table, and write it with its runs as JSON under build/."""
    print(f"\n{title}")  # noqa: T201 - a report for people
    for row in rows:
        print("  " + "  ".join(f"{name} {value}" for name, value in row.items()))  # noqa: T201 - a report for people
    measured = {name: [asdict(run) for run in measured] for name, measured in (runs or {}).items()}
    keep(title, {"rows": list(rows), "runs": measured})
