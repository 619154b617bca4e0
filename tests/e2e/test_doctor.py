"""`rescore doctor`, as a user types it."""

import json
import subprocess
import sys

from google.cloud import pubsub_v1
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.local.stack import LocalStack


def test_a_healthy_stack_exits_0_with_one_document(stack: LocalStack) -> None:
    """Standard output has only the JSON document, and standard error is empty."""
    command = [sys.executable, "-m", "pipeline", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["ok"] is True
    assert document["project"] == stack.project
    assert document["counts"]["failed"] == 0
    assert sum(document["counts"].values()) == len(document["checks"])
    assert set(document["checks"][0]) == {"name", "status", "detail", "remedy", "seconds"}
    assert done.stderr == ""


def test_what_failed_is_named_with_its_remedy_and_exits_1(stack: LocalStack) -> None:
    """A deleted topic is in the JSON document and in the report."""
    with pubsub_v1.PublisherClient() as publisher:
        publisher.delete_topic(topic=f"projects/{stack.project}/topics/account-changes-parking-lot")
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 1, done.stderr
    failed = {
        check["name"]: check["remedy"] for check in json.loads(done.stdout)["checks"] if check["status"] == "failed"
    }
    assert set(failed) == {"topic account-changes-parking-lot", "subscription account-changes-parking-lot-hold"}
    assert "terraform apply" in failed["topic account-changes-parking-lot"]
    report = CliRunner().invoke(app, ["doctor"])
    assert report.exit_code == 1
    assert "→ terraform apply" in report.stdout
    assert "2 failed" in report.stdout
