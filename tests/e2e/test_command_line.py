"""The command `rescore`, as a user types it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.changes import account_id, payload
from tests.fixtures.planted_secrets import SESSION_ID_IN_PAYLOAD

COMMANDS = ("demo", "local", "publish", "run")
MAX_PULLS = 2_000


def _rescore(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )


def _demo(*arguments: str, expected_exit: int = 0) -> dict[str, Any]:
    done = _rescore("demo", "--json", *arguments)
    assert done.returncode == expected_exit, done.stderr[-3_000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    """Each command's help has an example."""
    done = _rescore(command, "--help")
    assert done.returncode == 0
    assert f"rescore {command}" in done.stdout
    assert "Example" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["run"], "--project is missing"),
        (["run", "--project=my-project", "--modle=x"], "--modle is not an option"),
        (["demo", "--events", "/does/not/exist"], "does not exist"),
        (["demo", "--crm", "/does/not/exist"], "/does/not/exist"),
        (["demo", "--crm", "a", "--events", "b"], "can't be combined"),
        (["publish", "/does/not/exist", "--project", "my-project"], "does not exist"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments: Sequence[str], remedy: str) -> None:
    """A user error is reported in one line, without a traceback."""
    done = _rescore(*arguments)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert remedy in lines[0]


def test_demo_rescores_every_account() -> None:
    """Generated events pass through the whole pipeline; every account is scored, and every event has its outcome."""
    document = _demo("--accounts", "40", "--seed", "7")
    assert document["accounts_scored"] == 40
    assert document["unexplained"] == 0
    finals = ("scored", "tombstoned", "skipped", "coalesced", "dead_lettered", "resync_requested")
    assert document["received"] == sum(document[kind] for kind in finals)
    assert 0 < document["gemini_calls"] < document["scored"]
    assert document["tokens"] > 0
    assert document["latency_seconds"]["p50"] > 0
    assert len(document["highest_scores"]) == 5
    assert all(score["drivers"] for score in document["highest_scores"])


def test_demo_accounts_for_published_events(published_events: Path) -> None:
    """Published events of other projects each end in an outcome."""
    document = _demo("--events", str(published_events), "--accounts", "10")
    assert document["published"] == 13
    assert document["received"] == 14
    assert document["unexplained"] == 0
    assert document["skipped_by_reason"]["unsupported_entity"] == 5
    assert document["dead_lettered_by_class"]["unsupported_event"] == 1


def test_demo_replays_a_crm_extract(crm_extract: Path, tmp_path: Path) -> None:
    """The first deals of a real CRM, with and without an account, rescore each of their accounts.

    The whole extract takes minutes on the local runner: docs/benchmarks.md has the figures.
    """
    for name in ("accounts.csv", "products.csv", "sales_teams.csv"):
        (tmp_path / name).write_bytes((crm_extract / name).read_bytes())
    lines = (crm_extract / "sales_pipeline.csv").read_text().splitlines(keepends=True)[:250]
    (tmp_path / "sales_pipeline.csv").write_text("".join(lines))
    accounts = {deal["account"] for deal in csv.DictReader(lines) if deal["account"]}
    document = _demo("--crm", str(tmp_path))
    assert document["unexplained"] == 0
    assert document["accounts_scored"] == len(accounts)
    assert document["coalesced"] > 0
    assert document["skipped_by_reason"]["unsupported_entity"] > 0


def test_bad_input_reaches_the_dead_letter_topic_byte_for_byte(tmp_path: Path) -> None:
    """Each kind of bad input is dead-lettered with its class and its bytes; the valid event has its outcome.

    The log has no text of the messages.
    """
    xml = f"<soapenv:Envelope><sessionId>{SESSION_ID_IN_PAYLOAD}</sessionId></soapenv:Envelope>".encode()
    bad = {
        b"\xff\xfe\x00": "undecodable",
        b"not json": "undecodable",
        xml: "undecodable",
        # Larger messages can't be pulled from an emulator: Google's client accepts responses of at most 4 MB from one.
        b"x" * 3_900_000: "invalid_event",
        b"[" * 10_000: "undecodable",
        b'{"ChangeEventHeader": {"sequenceNumber": NaN}}': "undecodable",
        b"{}": "invalid_event",
        payload(changeType="SNAPSHOT"): "unsupported_event",
        payload(recordIds=["wrong"]): "invalid_event",
    }
    # One event in each file: the message is then the file, byte for byte.
    for number, content in enumerate([*bad, payload(recordIds=[account_id(404)])]):
        (tmp_path / f"{number}.bin").write_bytes(content)
    log = tmp_path / "pipeline.log"
    letters = _dead_letters_of(tmp_path, log)
    by_payload = {letter.data: letter.attributes for letter in letters}
    for content, error_class in bad.items():
        assert by_payload[content]["error_class"] == error_class
    assert len(letters) == len(bad) + 1
    assert by_payload[payload(recordIds=[account_id(404)])]["error_class"] == "account_not_found"
    assert SESSION_ID_IN_PAYLOAD not in log.read_text()


def _dead_letters_of(events: Path, log: Path) -> list[Any]:
    """Run `rescore local`, `publish` and `run` as separate commands; return the messages of the hold subscription."""
    from google.cloud import pubsub_v1  # noqa: PLC0415 - after the stack has set its addresses

    with log.open("w") as errors:
        local = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "local", "--accounts", "5"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "PUBSUB_EMULATOR_HOST"},
        )
        pipeline = None
        try:
            environment = dict(os.environ)
            assert local.stdout
            for line in local.stdout:
                name, _, value = line.removeprefix("export ").strip().partition("=")
                environment[name] = value
                if name == "GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED":
                    break
            project = environment["GOOGLE_CLOUD_PROJECT"]
            run = [sys.executable, "-m", "pipeline"]
            subprocess.run([*run, "publish", str(events)], env=environment, check=True, stderr=errors, timeout=60)
            pipeline = subprocess.Popen([*run, "run", f"--project={project}"], env=environment, stderr=errors)
            wanted = len(list(events.glob("*.bin")))
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PUBSUB_EMULATOR_HOST", environment["PUBSUB_EMULATOR_HOST"])
                return _pull(pubsub_v1.SubscriberClient(), project, wanted)
        finally:
            for process in (pipeline, local):
                if process:
                    process.send_signal(signal.SIGTERM)
                    process.wait(20)
            if local.stdout:
                local.stdout.close()


def _pull(subscriber: Any, project: str, wanted: int) -> list[Any]:
    """Pull until the expected number of messages has arrived, or no more arrive."""
    name = f"projects/{project}/subscriptions/account-changes-dead-letter-hold"
    messages: dict[str, Any] = {}
    with subscriber:
        for _ in range(MAX_PULLS):
            if len(messages) == wanted:
                break
            received = subscriber.pull(subscription=name, max_messages=1, timeout=30).received_messages
            messages |= {item.message.message_id: item.message for item in received}
            if not received:
                time.sleep(0.05)
            else:
                subscriber.acknowledge(subscription=name, ack_ids=[item.ack_id for item in received])
    return list(messages.values())
