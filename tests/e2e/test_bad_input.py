"""Bad input through `rescore local`, `publish` and `run`, each as a user starts it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.pipeline_process import SHORT_WAITS
from tests.fixtures.changes import account_id, payload
from tests.fixtures.planted_secrets import SESSION_ID_IN_PAYLOAD

MAX_PULLS = 2_000


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
            subprocess.run([*run, "publish", str(events)], env=environment, check=True, stderr=errors, timeout=240)
            pipeline = subprocess.Popen(
                [*run, "run", f"--project={project}", *SHORT_WAITS], env=environment, stderr=errors
            )
            wanted = len(list(events.glob("*.bin")))
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PUBSUB_EMULATOR_HOST", environment["PUBSUB_EMULATOR_HOST"])
                return _pull(pubsub_v1.SubscriberClient(), project, wanted)
        finally:
            for process in (pipeline, local):
                if process:
                    process.send_signal(signal.SIGTERM)
                    process.wait(60)
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
