"""`python -m tests.benchmarks.idle [--seconds N] [--runners NAME,…]`: what an idle `rescore run` costs.

The pipeline runs on the local stack. After it has written the outcome of a message, its CPU time is measured while
nothing is published. Linux only.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from pipeline.ledger.ledger_report import LedgerReport
from pipeline.local.stack import RUNNER, LocalStack, local_stack
from pipeline.publish.publishing import publish_events
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET, TOPIC
from schemas.clock import utc_now
from tests.benchmarks.demo import LOCAL

GOAL_PERCENT: Final = 5.0
_START_SECONDS: Final = 120.0


def run(seconds: float, runners: list[str]) -> None:
    """Print the share of a core that an idle pipeline takes, by runner."""
    with tempfile.TemporaryDirectory() as folder, local_stack(Path(folder)) as stack:
        for runner in runners:
            load = os.getloadavg()[0]
            percent = 100 * _idle_cpu(stack, RUNNER if runner == LOCAL else runner, seconds) / seconds
            verdict = f", goal {GOAL_PERCENT:.0f} %" if runner == LOCAL else ""
            print(f"{runner}: {percent:.1f} % of a core over {seconds:.0f} s{verdict}; load average {load:.1f}")  # noqa: T201 - a report


def _idle_cpu(stack: LocalStack, runner: str, seconds: float) -> float:
    command = [sys.executable, "-m", "pipeline", "run", f"--project={stack.project}", f"--runner={runner}"]
    report = LedgerReport(stack.warehouse, SCORING_DATASET, CRM_DATASET, since=utc_now())
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as pipeline:
        try:
            published = sum(1 for _ in publish_events(f"projects/{stack.project}/topics/{TOPIC}", [b"no event"]))
            deadline = time.monotonic() + _START_SECONDS
            while not report.progress().is_done(published):
                if pipeline.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{runner} did not start")
                time.sleep(0.5)
            before = _cpu_seconds(pipeline.pid)
            time.sleep(seconds)
            return _cpu_seconds(pipeline.pid) - before
        finally:
            pipeline.send_signal(signal.SIGTERM)


def _cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.idle", description="Measure an idle pipeline")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--runners", default=LOCAL)
    arguments = parser.parse_args()
    run(arguments.seconds, arguments.runners.split(","))
