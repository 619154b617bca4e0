"""`rescore demo` without a terminal, as in CI, and the commands that it says to try next."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

ACCOUNTS = 12
MESSAGES = 15
SECONDS = 240
CLIENT = """
import os
from transforms.clients.bigquery import Warehouse
(row,) = Warehouse(os.environ["GOOGLE_CLOUD_PROJECT"]).query(
    "SELECT COUNT(*) AS accounts FROM account_scoring.current_account_scores"
)
print(row["accounts"])
"""


def test_the_demo_tells_ci_how_far_it_is_and_what_to_do_next(tmp_path: Path) -> None:
    """Standard error has a plain line for each stage; the commands in the report work when they are copied."""
    folder = tmp_path / "kept data"
    command = [sys.executable, "-m", "pipeline", "demo", "--accounts", str(ACCOUNTS), "--data-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    stages = [line for line in done.stderr.splitlines() if line.startswith("rescore: ")]
    assert list(dict.fromkeys(line.split(": ")[2] for line in stages)) == [
        "starting the stack and the pipeline",
        "loading the CRM",
        "waiting for the pipeline to start",
        "rescoring",
        "reading the report",
    ]
    assert f"{MESSAGES} messages, received {MESSAGES}, " in stages[-1]
    assert "\x1b" not in done.stderr
    assert "\x1b" not in done.stdout

    explain, local = (shlex.split(line) for line in done.stdout.splitlines() if " -m pipeline " in line)
    explained = subprocess.run(explain, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert explained.stdout.count("rescore: ") >= ACCOUNTS  # a material change of each account
    assert _scores(local) == f"{ACCOUNTS}\n"


def _scores(local: list[str]) -> str:
    """Start the kept stack, and return how many accounts have a score, as a client in another shell sees it."""
    environment = {name: value for name, value in os.environ.items() if name != "PUBSUB_EMULATOR_HOST"}
    with subprocess.Popen(local, stdout=subprocess.PIPE, text=True, env=environment) as stack:
        try:
            assert stack.stdout
            for line in stack.stdout:
                name, _, value = line.removeprefix("export ").strip().partition("=")
                environment[name] = shlex.split(value)[0]
                if name == "GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED":
                    break
            client = [sys.executable, "-c", CLIENT]
            return subprocess.run(client, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
        finally:
            stack.send_signal(signal.SIGTERM)
