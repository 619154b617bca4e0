"""What a command imports before it does anything: a command starts fast if it imports only what it needs.

`python -m tests.benchmarks.start_up` measures the times.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from pipeline.cli import app
from tests.fixtures.changes import payload

HEAVY: Final = frozenset(
    {
        "aiohttp",
        "apache_beam",
        "cryptography",
        "duckdb",
        "fastapi",
        "google.api_core",
        "google.auth",
        "google.protobuf",
        "grpc",
        "matplotlib",
        "numpy",
        "opentelemetry",
        "pandas",
        "pyarrow",
        "redis",
        "requests",
        "simple_salesforce",
        "sklearn",
        "sqlglot",
        "uvicorn",
    }
)
"""Packages that take 0.05 s to 2 s to import."""

_BIGQUERY_ONLY: Final = frozenset({"apache_beam", "google.cloud.pubsub_v1", "redis", "sqlglot"})
_PUBSUB_ONLY: Final = frozenset({"apache_beam", "google.cloud.bigquery", "pyarrow", "redis", "sqlglot"})
UNUSED: Final[Mapping[str, frozenset[str]]] = {
    "pipeline.api.serving": frozenset({"apache_beam", "duckdb", "matplotlib", "redis", "rich.markdown", "sqlglot"}),
    "pipeline.dead_letters.list_dead_letters": _BIGQUERY_ONLY,
    "pipeline.dead_letters.recover": _PUBSUB_ONLY,
    "pipeline.dead_letters.recovery_plan": _BIGQUERY_ONLY & _PUBSUB_ONLY,
    "pipeline.dead_letters.replay_plan": _BIGQUERY_ONLY,
    "pipeline.dead_letters.show_dead_letter": _BIGQUERY_ONLY,
    "pipeline.dead_letters.status": _BIGQUERY_ONLY,
    "pipeline.evaluation.evaluate": _BIGQUERY_ONLY | {"google.cloud.aiplatform", "matplotlib"},
    "pipeline.ledger.reconcile": _BIGQUERY_ONLY,
    "pipeline.local.demo": frozenset({"apache_beam", "redis", "sqlglot"}),
    "pipeline.local.failing.control_client": HEAVY,
    "pipeline.local.mirror": _BIGQUERY_ONLY,
    "pipeline.publish.publishing": _PUBSUB_ONLY,
    "pipeline.scores.account_score": _BIGQUERY_ONLY,
    "pipeline.scores.account_timeline": _BIGQUERY_ONLY,
    "pipeline.run": frozenset({"google.cloud.aiplatform", "matplotlib", "simple_salesforce", "sqlglot"}),
}
"""By the module of a command: packages that it does not use, or only with some options."""

_HELPS: Final = """\
import contextlib, io, json, sys

from typer.main import get_command

from pipeline.cli import app

command = get_command(app)
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        command([*arguments, "--help"], prog_name="rescore")
    print(json.dumps([arguments, sorted(sys.modules)]))
"""


def _commands() -> Iterator[list[str]]:
    """Yield `rescore`, and each of its groups and commands, as typed behind it."""
    waiting: list[tuple[list[str], Any]] = [([], get_command(app))]
    while waiting:
        typed, command = waiting.pop()
        yield typed
        waiting += [([*typed, name], inner) for name, inner in getattr(command, "commands", {}).items()]


COMMANDS: Final = sorted(_commands())


def _heavy(modules: Sequence[str], packages: frozenset[str] = HEAVY) -> set[str]:
    return {package for package in packages for name in modules if f"{name}.".startswith(f"{package}.")}


def _output(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return done


def _imported(*arguments: str) -> list[str]:
    """Return the modules that an interpreter imports from its start to its end."""
    return [
        line.rpartition("|")[2].strip()
        for line in _output("-X", "importtime", *arguments).stderr.splitlines()
        if line.startswith("import time:")
    ]


@pytest.fixture(scope="module")
def helps() -> Mapping[str, list[str]]:
    """Return the modules that are loaded after a command's help, by command; one process prints them all."""
    lines = _output("-c", _HELPS, json.dumps(COMMANDS)).stdout.splitlines()
    return {" ".join(typed): modules for typed, modules in map(json.loads, lines)}


@pytest.mark.parametrize("command", [" ".join(typed) for typed in COMMANDS])
def test_help_imports_no_command(helps: Mapping[str, list[str]], command: str) -> None:
    """A command's help needs neither its implementation nor any client."""
    assert "rich" in helps[command]
    assert not _heavy(helps[command])


def test_explain_imports_neither_beam_nor_clients(tmp_path: Path) -> None:
    """Events in files are explained by the pure functions of the pipeline."""
    file = tmp_path / "event.json"
    file.write_bytes(payload({"Rating": "Hot"}))
    imported = _imported("-m", "pipeline", "explain", str(file))
    assert "transforms.parse.message_parsing" in imported
    assert not _heavy(imported)


def test_options_are_listed_without_beam() -> None:
    """The list of this pipeline's options needs their settings only."""
    imported = _imported("-m", "pipeline", "run", "--list-options")
    assert "pipeline.config.settings" in imported
    assert not _heavy(imported)


@pytest.mark.parametrize("module", UNUSED)
def test_a_command_imports_no_client_that_it_does_not_use(module: str) -> None:
    """What only some calls of a command need is imported by those calls."""
    imported = _imported("-c", f"import {module}")
    assert module in imported
    assert not _heavy(imported, UNUSED[module])
