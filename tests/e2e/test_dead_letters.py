"""`rescore dead-letters` as an operator types it: list, show, and replay after the cause was fixed."""

import datetime as dt
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter
from pipeline.dead_letters.list_dead_letters import list_dead_letters
from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.dead_letters.status import status
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import LocalStack, load_crm, local_stack
from pipeline.resources.names import SCORING_DATASET
from schemas.failures import ErrorClass
from tests.benchmarks.replay_scored import hold_dead_letters, reconciled, score, scores_in_view

COMMANDS = ("list", "show", "replays", "replay", "resume", "status", "cancel")
ACCOUNTS = len(ErrorClass)
DEADLINE_SECONDS = 120


def _start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _document(*arguments: str) -> dict[str, Any]:
    process = _start("dead-letters", *arguments, "--json")
    output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, errors[-2_000:]
    document: dict[str, Any] = json.loads(output)
    return document


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Return a running stack with a dead letter for each account; the classes take turns."""
    with local_stack(tmp_path_factory.mktemp("stack")) as running:
        crm = generate_crm(accounts=ACCOUNTS, seed=6, as_of=dt.datetime.now(dt.UTC))
        load_crm(running.warehouse, crm)
        hold_dead_letters(running, [account.account_id for account in crm.accounts])
        yield running


@pytest.mark.parametrize("command", [*(f"dead-letters {name}" for name in COMMANDS), "recover"])
def test_help_has_an_example(command: str) -> None:
    """Each command's help shows an example."""
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert f"rescore {command}" in done.output
    assert "Example" in done.output


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["dead-letters", "list", "--class", "oops"], "--class is 'oops'"),
        (["dead-letters", "list", "--until", "later"], "--until is 'later'"),
        (["dead-letters", "list", "--class", "gemini-timeuot"], "did you mean 'gemini_timeout'?"),
        (["dead-letters", "replay", "--execute"], "--reason is missing"),
        (["dead-letters", "replay", "--execute", "--reason", " "], "--reason is missing"),
        (["dead-letters", "replays", "--since", "banana"], "--since is 'banana'"),
        (["dead-letters", "replay", "--account", "123"], "--account '123': not a record id: expected 15 or 18"),
        (["dead-letters", "list", "--dataset", "a`b"], "--dataset is 'a`b'"),
        (["recover"], "either --to"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments: Sequence[str], remedy: str) -> None:
    """An error that the user can fix is one line, without a traceback."""
    done = CliRunner().invoke(app, [*arguments, "--project", "my-project"])
    assert done.exit_code == 2
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert remedy in lines[0]


def test_dead_letters_of_every_class_are_replayed_and_scored(stack: LocalStack) -> None:
    """List, plan, replay until Ctrl-C, then to the end; every account is scored, and the ledger reconciles.

    Then the list is empty, and the replays are listed.
    """
    listed = _document("list")
    assert {group["error_class"] for group in listed["groups"]} == set(ErrorClass)
    assert listed["letters"] == ACCOUNTS
    shown = _document("show", listed["groups"][0]["example"]["dead_letter_id"])
    assert [it["decision"] for it in shown["explained"]] == ["rescore"]

    planned = _document("replay")
    assert (planned["to_replay"], planned["to_park"], planned["decisions"]) == (ACCOUNTS, 0, {"rescore": ACCOUNTS})
    resources = ReplayResources(stack.project)
    assert status(resources, None).document()["state"] == "none"  # a dry run leaves no trace

    interrupted = _interrupted(stack)
    assert (interrupted["state"], interrupted["message"]) == ("stopped", "interrupted")
    assert 0 < interrupted["replayed"] < ACCOUNTS
    rest = _document("replay", "--execute", "--quiet", "1", "--rate", "1000", "--reason", "fixed")
    assert (rest["state"], rest["replayed"]) == ("finished", ACCOUNTS - interrupted["replayed"])
    outcomes, _ = score(stack)
    assert outcomes == {"scored": rest["replayed"]}
    assert _document("status")["outcomes"] == outcomes
    assert status(resources, interrupted["replay_id"]).outcomes == {"scored": interrupted["replayed"]}
    assert reconciled(stack)["ok"]
    assert reconciled(stack)["counts"]["scored"] == ACCOUNTS
    assert scores_in_view(stack) == (ACCOUNTS, ACCOUNTS)
    assert list_dead_letters(resources, DeadLetterFilter(is_not_replayed=True)).dead_letters == 0
    left = _document("list")
    assert (left["letters"], left["left_out"]) == (0, ACCOUNTS)
    each = _document("list", "--all", "--each")["each"]
    assert {it["state"] for it in each} == {"scored"}
    assert len({it["dead_letter_id"] for it in each}) == ACCOUNTS
    past = _document("replays")["replays"]
    assert [(it["replay_id"], it["reason"]) for it in past] == [
        (rest["replay_id"], "fixed"),
        (interrupted["replay_id"], "a try"),
    ]
    assert sum(it["replayed"] for it in past) == ACCOUNTS


def _interrupted(stack: LocalStack) -> dict[str, Any]:
    """Replay slowly, press Ctrl-C when the journal has entries, and return the command's document."""
    process = _start("dead-letters", "replay", "--execute", "--reason", "a try", "--rate", "4", "--json")
    journal = ReplayJournal(stack.warehouse, SCORING_DATASET)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not ((progress := journal.progress()) and progress.replayed):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1, errors
    document: dict[str, Any] = json.loads(output)
    return document
