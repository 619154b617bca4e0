"""What the shell is offered after TAB, by the protocol of bash's completion."""

import os
import subprocess
import sys

import pytest


def _offered(line: str) -> list[str]:
    """Return what is offered at the end of a line."""
    words = line.split(" ")
    environment = {"_RESCORE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    command = [sys.executable, "-m", "pipeline"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("rescore run --coal", {"--coalesce_seconds", "--coalesce_max_seconds"}),
        ("rescore run --con", {"--config"}),
        ("rescore run --no-c", {"--no-check"}),
        ("rescore backfill --coal", {"--coalesce_seconds", "--coalesce_max_seconds"}),
        ("rescore doctor --salesforce_log", {"--salesforce_login_url"}),
        ("rescore run --salesforce_au", {"--salesforce_auth", "--salesforce_auth=jwt_bearer"}),
        ("rescore local fail gem", {"gemini"}),
        ("rescore local fail gemini r", {"rate-limit", "retired"}),
        ("rescore local fail bigquery ", {"down"}),
        ("rescore scores --tier ", {"hot", "warm", "cool", "cold"}),
        ("rescore dead-letters list --class gemini_t", {"gemini_timeout"}),
    ],
)
def test_options_and_values_are_offered(line: str, offered: set[str]) -> None:
    """Those of the pipeline too, which `run`, `backfill` and `doctor` pass on."""
    found = _offered(line)
    assert set(found) >= offered
    assert all(it.startswith(line.rpartition(" ")[2]) for it in found)
