"""`rescore doctor`, as a user types it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from google.cloud import pubsub_v1

from pipeline.local.stack import LocalStack, local_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Return a local stack with an empty mirror."""
    with local_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


def _doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "doctor", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_has_an_example_and_says_what_it_costs() -> None:
    """The help mentions the call to Gemini, which costs money."""
    done = _doctor("--help")
    assert done.returncode == 0
    assert "Example: rescore doctor" in done.stdout
    assert "5,000 tokens" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["--project", "My_Project"], "--project is 'My_Project'"),
        (["--project=my-project", "--crm_dataset=a-b"], "--crm_dataset is 'a-b'"),
        (["--project", "my-project", "--for", "nobody"], "one of pipeline, replay, both"),
        (["--project", "my-project", "--redis_url=redis://:PLANTED@host/0"], "--redis_url has a password"),
        (["--project", "my-project", "--salesforce_login_url=http://host"], "--salesforce_login_url"),
        (["--project", "my-project", "--salesforce_auth=x"], "expected client_credentials or jwt_bearer"),
        (["--config=nowhere.yaml", "--project=my-project"], "--config: nowhere.yaml: can't be read"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments: list[str], remedy: str) -> None:
    """No service is called, and no password is shown."""
    done = _doctor(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert remedy in done.stderr
    assert "PLANTED" not in done.stderr


def test_a_healthy_stack_exits_0_with_one_document(stack: LocalStack) -> None:
    """Standard output has only the JSON document, and standard error is empty."""
    done = _doctor("--json", **stack.environment)
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
    done = _doctor("--json", **stack.environment)
    assert done.returncode == 1, done.stderr
    failed = {
        check["name"]: check["remedy"] for check in json.loads(done.stdout)["checks"] if check["status"] == "failed"
    }
    assert set(failed) == {"topic account-changes-parking-lot", "subscription account-changes-parking-lot-hold"}
    assert "terraform apply" in failed["topic account-changes-parking-lot"]
    report = _doctor(**stack.environment)
    assert report.returncode == 1
    assert "→ terraform apply" in report.stdout
    assert "2 failed" in report.stdout
