"""The command `rescore`: each command's help, and what it says of arguments that it can't use."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.evaluation.cli import require_evaluation
from tests.fixtures.leak_check import leaked_kinds
from tests.fixtures.planted_secrets import REDIS_PASSWORD, SALESFORCE_CLIENT_SECRET

PROJECT = "--project=my-project"
REFUSED: dict[str, tuple[Sequence[str], str]] = {
    "demo": (["--crm", "a", "--events", "b"], "can't be combined"),
    "local": (["--data-dir", __file__], "which is a file: name a folder"),
    "local changes": ([], "points to no local stack"),
    "local fail": (["gemini"], "name a service and a failure"),
    "local heal": ([], "points to no local stack"),
    "publish": (["/does/not/exist", PROJECT], "does not exist"),
    "run": ([PROJECT, "--modle=x"], "--modle is not an option"),
    "scores": ([PROJECT, "--tier", "hott"], "did you mean 'hot'?"),
    "account": (["123", PROJECT], "is '123': not a record id"),
    "explain": (["missing.json"], "does not exist"),
    "reconcile": ([PROJECT, "--since", "yesterday"], "such as 7d"),
    "recover": ([PROJECT], "either --to"),
    "dead-letters list": ([PROJECT, "--class", "oops"], "--class is 'oops'"),
    "dead-letters show": (["0" * 64, PROJECT, "--dataset", "a`b"], "--dataset is 'a`b'"),
    "dead-letters replays": ([PROJECT, "--since", "banana"], "--since is 'banana'"),
    "dead-letters replay": ([PROJECT, "--account", "123"], "--account '123': not a record id: expected 15 or 18"),
    "dead-letters resume": ([PROJECT, "--dataset", "a`b"], "--dataset is 'a`b'"),
    "dead-letters status": ([PROJECT, "--dataset", "a`b"], "--dataset is 'a`b'"),
    "dead-letters cancel": ([PROJECT, "--dataset", "a`b"], "--dataset is 'a`b'"),
    "backfill": ([PROJECT], "expected exactly one of --all"),
    "evaluate": ([PROJECT, "--labels", "missing.csv"], "missing.csv"),
    "serve": ([PROJECT, "--allow-anonymous", "--host", "host"], "--allow-anonymous is for this machine only"),
    "doctor": (["--project", "My_Project"], "--project is 'My_Project'"),
}
"""For each command, arguments that it refuses, and what it says."""


def _commands(group: TyperGroup) -> Iterator[str]:
    for name, command in group.commands.items():
        if not isinstance(command, TyperGroup) or command.invoke_without_command:
            yield name
        if isinstance(command, TyperGroup):
            yield from (f"{name} {it}" for it in _commands(command))


COMMANDS = sorted(_commands(typer.main.get_group(app)))


@pytest.fixture(autouse=True)
def _no_account_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use neither the project nor the credentials of the user who runs the tests."""
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "no-credentials.json")


def _rescore(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def _only_line(errors: str) -> str:
    (line,) = (line for line in errors.splitlines() if line.strip())
    return line


def test_help_lists_the_commands() -> None:
    """The command without arguments, as a process."""
    done = _rescore("--help")
    assert done.returncode == 0
    assert {command.split()[0] for command in COMMANDS} <= set(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    """Each command's help has an example."""
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert f"rescore {command}" in done.stdout
    assert "Example" in done.stdout


def test_the_help_of_doctor_says_what_it_costs() -> None:
    """The help mentions the call to Gemini, which costs money."""
    assert "5,000 tokens" in CliRunner().invoke(app, ["doctor", "--help"]).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_refuses_in_one_line_with_exit_2(command: str) -> None:
    """As a process: an error that the user can fix is one line, without a traceback, before any service is called."""
    arguments, remedy = REFUSED[command]
    done = _rescore(*command.split(), *arguments)
    assert done.returncode == 2, done.stderr
    assert remedy in _only_line(done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["run"], "--project is missing"),
        (["demo", "--events", "/does/not/exist"], "does not exist"),
        (["demo", "--crm", "/does/not/exist"], "/does/not/exist"),
        (["explain", __file__, "--materiality", "missing.yaml"], "missing.yaml"),
        (["explain", __file__, "--schemas", "missing"], "folder not found"),
        (["reconcile", PROJECT, "--grace", "soon"], "such as 15m"),
        (["reconcile", PROJECT, "--since", "10m"], "--grace is as long"),
        (["reconcile", PROJECT, "--dataset", "a`b"], "--dataset is"),
        (["reconcile", PROJECT], "no-credentials.json"),
        (["backfill", PROJECT, "--where", "industri = 'Energy'"], "--where names an unknown column"),
        (["backfill", PROJECT, "--all", "--modle=x"], "--modle is not an option"),
        (["dead-letters", "list", PROJECT, "--until", "later"], "--until is 'later'"),
        (["dead-letters", "list", PROJECT, "--dataset", "a`b"], "--dataset is 'a`b'"),
        (["dead-letters", "list", PROJECT, "--class", "gemini-timeuot"], "did you mean 'gemini_timeout'?"),
        (["dead-letters", "replay", PROJECT, "--execute"], "--reason is missing"),
        (["dead-letters", "replay", PROJECT, "--execute", "--reason", " "], "--reason is missing"),
        (["serve", PROJECT], "nobody could use it"),
        (["serve", PROJECT, "--allow-anonymous", "--allow-list", "missing.yaml"], "exclude each other"),
        (["serve", PROJECT, "--allow-list", "missing.yaml", "--audience", "https://a"], "--allow-list missing.yaml"),
        (["serve", PROJECT, "--allow-anonymous", "--topic", "goog"], "--topic is 'goog'"),
        (["doctor", PROJECT, "--crm_dataset=a-b"], "--crm_dataset is 'a-b'"),
        (["doctor", PROJECT, "--for", "nobody"], "one of pipeline, replay, both"),
        (["doctor", PROJECT, "--salesforce_login_url=http://host"], "--salesforce_login_url"),
        (["doctor", PROJECT, "--salesforce_auth=x"], "expected client_credentials or jwt_bearer"),
        (["doctor", PROJECT, "--config=nowhere.yaml"], "--config: nowhere.yaml: can't be read"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments: Sequence[str], remedy: str) -> None:
    """Each error that the user can fix is one line."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.output
    assert remedy in _only_line(done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["run", "doctor"])
@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        (f"--redis_url=redis://:{REDIS_PASSWORD}@host/0", "redis_url has a password"),
        (f"--salesforce_secret={SALESFORCE_CLIENT_SECRET}", "expected the name of an environment variable"),
    ],
    ids=["Redis", "Salesforce"],
)
def test_a_secret_in_an_option_is_refused_and_not_repeated(command: str, option: str, remedy: str) -> None:
    """A secret in place of its name is refused with one line that does not quote it."""
    salesforce = ("--salesforce_login_url=https://host", "--salesforce_client_id=id")
    done = CliRunner().invoke(app, [command, PROJECT, *salesforce, option])
    assert done.exit_code == 2
    assert remedy in done.stderr
    assert leaked_kinds(done.output) == set()


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `evaluation`, one line says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"pip install .account-rescoring\[evaluation\]"):
        require_evaluation()


def test_a_port_that_is_taken_is_one_line() -> None:
    """Before any service is called."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(app, ["serve", PROJECT, "--allow-anonymous", "--port", port])
    assert done.exit_code == 2
    expected = f"can't listen on 127.0.0.1:{port}: Address already in use: name another --port or --host"
    assert _only_line(done.stderr) == f"rescore: {expected}"
