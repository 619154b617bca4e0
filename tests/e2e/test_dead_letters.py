"""`rescore dead-letters` as an operator types it: list, show, and replay after the cause was fixed."""

import json
import signal
import subprocess
import sys
import time
from typing import Any

from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter
from pipeline.dead_letters.list_dead_letters import list_dead_letters
from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.dead_letters.status import status
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import LocalStack, load_crm
from pipeline.resources.names import SCORING_DATASET
from schemas.clock import utc_now
from schemas.failures import ErrorClass
from tests.benchmarks.replay_scored import hold_dead_letters, reconciled, score, scores_in_view

ACCOUNTS = len(ErrorClass)
DEADLINE_SECONDS = 240


def _start(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _document(*arguments: str) -> dict[str, Any]:
    """Return the document that a command prints in this process."""
    done = CliRunner().invoke(app, ["dead-letters", *arguments, "--json"])
    assert done.exit_code == 0, done.stderr[-2_000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_dead_letters_of_every_class_are_replayed_and_scored(stack: LocalStack) -> None:
    """List, plan, replay until Ctrl-C, then to the end; every account is scored, and the ledger reconciles.

    Then the list is empty, and the replays are listed.
    """
    crm = generate_crm(accounts=ACCOUNTS, seed=6, as_of=utc_now())
    load_crm(stack.warehouse, crm)
    hold_dead_letters(stack, [account.account_id for account in crm.accounts])  # the classes take turns
    listed = _document("list")
    assert {group["error_class"] for group in listed["groups"]} == set(ErrorClass)
    assert listed["letters"] == ACCOUNTS
    shown = _document("show", listed["groups"][0]["example"]["dead_letter_id"])
    assert [it["decision"] for it in shown["explained"]] == ["rescore"]

    planned = _document("replay")
    assert (planned["to_replay"], planned["to_park"], planned["decisions"]) == (ACCOUNTS, 0, {"rescore": ACCOUNTS})
    resources = ReplayResources(stack.project)
    assert status(resources, None).document()["state"] == "none"  # a plan leaves no trace

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
    process = _start("dead-letters", "replay", "--execute", "--reason", "a try", "--rate", "1", "--json")
    journal = ReplayJournal(stack.warehouse, SCORING_DATASET)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not ((progress := journal.progress()) and progress.replayed):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130, errors
    document: dict[str, Any] = json.loads(output)
    return document
