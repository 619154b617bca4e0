"""`python -m tests.benchmarks.demo [--rounds N] [--accounts N] [--runners NAME,…] [--crm DIR]`: the demo, timed.

Each round runs the command `rescore demo --json` once with each runner, in turns. The medians are printed: seconds and
CPU seconds of the whole command, seconds from publishing to the first score, and from event to row.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.local.stack import RUNNER
from tests.benchmarks.ratios import keep

LOCAL: Final = RUNNER.rpartition(".")[2]
GOALS: Final = {"whole_command_seconds": 15, "first_score_seconds": 6, "event_to_row_p50_seconds": 5}
EXTRACT_GOALS: Final = {"whole_command_seconds": 120}

Figures = dict[str, float]


def run(rounds: int, runners: Sequence[str], options: Sequence[str]) -> None:
    """Print the medians of each runner, and keep them in build/benchmarks.json."""
    goals = EXTRACT_GOALS if "--crm" in options else GOALS
    print(f"rescore demo {' '.join(options)}: {rounds} rounds")  # noqa: T201 - a report
    measured: dict[str, list[Figures]] = {runner: [] for runner in runners}
    for number in range(1, rounds + 1):
        for runner, of_runner in measured.items():
            load = os.getloadavg()[0]
            of_runner.append(_figures(runner, options))
            print(f"  round {number}, load average before it {load:.1f}: {runner} {of_runner[-1]}")  # noqa: T201
    for runner, of_runner in measured.items():
        medians = {name: round(statistics.median(each[name] for each in of_runner), 2) for name in of_runner[0]}
        print(runner)  # noqa: T201
        for name, median in medians.items():
            print(f"  {name:26} {median:>7}{_verdict(median, goals.get(name)) if runner == LOCAL else ''}")  # noqa: T201
        keep(" ".join(["demo", *options, runner]), medians)


def _verdict(median: float, goal: float | None) -> str:
    if goal is None:
        return ""
    return f"  goal {goal:g}: {'reached' if median <= goal else 'missed'}"


def _figures(runner: str, options: Sequence[str]) -> Figures:
    command = [sys.executable, "-m", "pipeline", "demo", "--json", *options]
    environment = {**os.environ, "RESCORE_RUNNER": RUNNER if runner == LOCAL else runner}
    before, started = _child_cpu(), time.monotonic()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    elapsed = time.monotonic() - started
    document: Mapping[str, Any] = json.loads(done.stdout)
    return {
        "whole_command_seconds": round(elapsed, 2),
        "cpu_seconds": round(_child_cpu() - before, 2),
        "first_score_seconds": document["first_score_seconds"],
        "event_to_row_p50_seconds": document["latency_seconds"]["p50"],
        "event_to_row_p95_seconds": document["latency_seconds"]["p95"],
        "unexplained": document["unexplained"],
    }


def _child_cpu() -> float:
    """Return the CPU seconds of the commands that ended, and of all that they started and waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.demo", description="Time the demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runners", default=LOCAL, help=f"comma-separated, such as {LOCAL},DirectRunner")
    arguments, demo_options = parser.parse_known_args()  # the rest goes to the demo
    run(arguments.rounds, arguments.runners.split(","), demo_options)
