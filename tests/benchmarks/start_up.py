"""How long commands take until they could begin their work: wall and CPU time, medians of five rounds.

python -m tests.benchmarks.start_up [CHECKOUT ...]

Each command runs in a new process, in turns, with the interpreter of this one; several checkouts are compared side by
side. Commands that talk to a service are measured by the import of their modules. Bytecode is written first: where
PYTHONDONTWRITEBYTECODE is set and none was ever written, each time is two to three times as long.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.benchmarks.ratios import ROUNDS, keep
from tests.fixtures.changes import payload

_IMPORTS: Final[Mapping[str, str]] = {
    "publish": "pipeline.publish.publishing",
    "reconcile": "pipeline.ledger.reconcile",
    "dead-letters list": "pipeline.dead_letters.list_dead_letters",
    "dead-letters show": "pipeline.dead_letters.show_dead_letter",
    "dead-letters replay": "pipeline.dead_letters.replay_plan, pipeline.dead_letters.replay_session",
    "scores": "pipeline.scores.account_score, pipeline.scores.score_list",
    "account": "pipeline.scores.account_timeline",
    "recover": "pipeline.dead_letters.recover",
    "evaluate": "pipeline.evaluation.evaluate",
    "doctor": "pipeline.doctor.diagnosis",
    "demo": "pipeline.local.demo",
    "local": "pipeline.local.serve",
    "backfill": "pipeline.backfill.runs",
}
_NOT_SET: Final = frozenset({"PYTHONDONTWRITEBYTECODE", "GOOGLE_CLOUD_PROJECT", "RESCORE_PROJECT"})
_BAD_USAGE: Final = 2

_PEERS: Final = ("apache_beam", "google.cloud.bigquery", "google.cloud.pubsub_v1")
"""What the commands can't do without, alone."""


def commands(event: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield what to measure, with the arguments of the interpreter."""
    for name in ("", "run ", "explain ", "dead-letters list "):
        yield f"{name}--help", ["-m", "pipeline", *name.split(), "--help"]
    yield "explain FILE", ["-m", "pipeline", "explain", str(event)]
    yield "run --list-options", ["-m", "pipeline", "run", "--list-options"]
    yield "run, until it misses --project", ["-m", "pipeline", "run"]
    for name, modules in _IMPORTS.items():
        yield f"imports of {name}", ["-c", f"import {modules}"]
    for module in _PEERS:
        yield f"{module} alone", ["-c", f"import {module}"]


def seconds(arguments: list[str], checkout: Path) -> tuple[float, float]:
    """Return the wall time and the CPU time of a process.

    Raises:
        CalledProcessError: It failed.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_SET}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=checkout, env=environment, capture_output=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != _BAD_USAGE or b"--project is missing" not in done.stderr:
        done.check_returncode()
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(checkouts: list[Path]) -> None:
    """Measure and print a row for each command, with wall and CPU time of each checkout."""
    times: dict[tuple[str, Path], list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        event = Path(folder) / "event.json"
        event.write_bytes(payload({"Rating": "Hot"}))
        measured = list(commands(event))
        for number in range(ROUNDS + 1):
            for name, arguments in measured:
                for checkout in checkouts:
                    taken = seconds(arguments, checkout)
                    if number:  # the first round writes bytecode
                        times[name, checkout].append(taken)
    rows = [(name, [_medians(times[name, checkout]) for checkout in checkouts]) for name, _ in measured]
    print("seconds, wall (CPU): " + ", ".join(map(str, checkouts)))  # noqa: T201 - a report for people
    for name, medians in rows:
        print(f"  {name:32}" + "".join(f"{wall:>8.2f} ({cpu:.2f})" for wall, cpu in medians))  # noqa: T201
    keep("start-up", rows)


def _medians(taken: list[tuple[float, float]]) -> tuple[float, float]:
    walls, cpus = zip(*taken, strict=True)
    return round(statistics.median(walls), 3), round(statistics.median(cpus), 3)


if __name__ == "__main__":
    run([Path(argument) for argument in sys.argv[1:]] or [Path(__file__).parents[2]])
