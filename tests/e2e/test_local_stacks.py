"""Local stacks beside each other, and events of one's own about accounts that a stack has or is told of."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from google.cloud import pubsub_v1

from pipeline.resources.names import SUBSCRIPTION, resource_path
from schemas.clock import utc_now
from tests.fixtures.changes import account_id, payload
from tests.fixtures.commands import local_command, rescore, running, wait_until
from transforms.clients.bigquery import Warehouse

ADDRESSES = ("PUBSUB_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "GOOGLE_VERTEX_BASE_URL")
OUTCOMES = (
    "SELECT account_id, outcome FROM `{project}.account_scoring.change_outcomes` "
    "WHERE recorded_at >= @since AND outcome != 'received'"
)
FAST = ("--coalesce_seconds=1", "--coalesce_max_seconds=2", "--batch_shards=1", "--batch_wait_seconds=0.5")


def _waiting_messages(exports: Mapping[str, str], patch: pytest.MonkeyPatch) -> int:
    patch.setenv("PUBSUB_EMULATOR_HOST", exports["PUBSUB_EMULATOR_HOST"])
    name = resource_path(exports["GOOGLE_CLOUD_PROJECT"], "subscriptions", SUBSCRIPTION)
    with pubsub_v1.SubscriberClient() as subscriber:
        return len(subscriber.pull(subscription=name, max_messages=100, timeout=30).received_messages)


def test_a_stack_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a shell with a stack's exports, `demo` and a second `local` use nothing of that stack, and say so."""
    with local_command(tmp_path / "first", "--accounts", "3") as first:
        done = rescore("demo", "--accounts", "4", "--json", environment=first)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["accounts_scored"] == 4
        assert "this shell has the exports of a local stack" in done.stderr
        assert first["PUBSUB_EMULATOR_HOST"] in done.stderr
        with local_command(tmp_path / "second", "--accounts", "3", environment=first) as second:
            assert all(first[name] != second[name] for name in ADDRESSES)
        assert "this shell has the exports of a local stack" in (tmp_path / "second" / "local.log").read_text()
        assert _waiting_messages(first, monkeypatch) == 0


def test_a_folder_is_one_stacks(tmp_path: Path) -> None:
    """A second stack in the folder of a running one is refused in one line, and leaves the first one's files alone."""
    data = tmp_path / "data"
    with local_command(tmp_path, "--accounts", "3", "--data-dir", str(data)) as exports:
        key = Path(exports["GOOGLE_APPLICATION_CREDENTIALS"]).read_bytes()
        done = rescore("local", "--data-dir", str(data))
        assert done.returncode == 2
        assert done.stderr.splitlines() == [
            f"rescore: {data} is used by a local stack that runs: end that one, or name another --data-dir"
        ]
        assert Path(exports["GOOGLE_APPLICATION_CREDENTIALS"]).read_bytes() == key


def test_a_file_of_exports_is_one_stacks(tmp_path: Path) -> None:
    """A second stack is refused the file of a running one in one line, and leaves it as it is."""
    with local_command(tmp_path, "--accounts", "3"):
        file = tmp_path / "stack.env"
        exports = file.read_bytes()
        done = rescore("local", "--accounts", "3", "--write-env", str(file))
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"rescore: --write-env: {file} points to a local stack that runs")
        assert file.read_bytes() == exports


def test_own_events_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that is made now, about an account of an earlier demo or one that --events names, becomes a score."""
    data, events, log = tmp_path / "data", tmp_path / "events.jsonl", tmp_path / "run.log"
    demo = rescore("demo", "--accounts", "4", "--seed", "5", "--data-dir", str(data), "--json")
    assert demo.returncode == 0, demo.stderr
    scored = min(score["account_id"] for score in json.loads(demo.stdout)["highest_scores"])
    now = utc_now().replace(microsecond=0)
    events.write_bytes(b"\n".join(_changed_now(account, now) for account in (scored, account_id(1))))
    with (
        local_command(tmp_path, "--data-dir", str(data), "--events", str(events)) as exports,
        _connection(exports, monkeypatch) as warehouse,
        running("run", *FAST, log=log, environment=exports) as pipeline,
    ):
        assert "1 account that the events name was added to the mirror" in (tmp_path / "local.log").read_text()
        published = rescore("publish", str(events), environment=exports)
        assert published.stderr.splitlines()[-1] == "published 2 events to account-changes"

        def outcomes() -> dict[str, str]:
            rows = warehouse.query(OUTCOMES.format(project=warehouse.project), {"since": now})
            return {row["account_id"]: row["outcome"] for row in rows}

        wait_until(lambda: len(outcomes()) == 2, pipeline, "two outcomes", log)
        assert outcomes() == {scored: "scored", account_id(1): "scored"}


@contextmanager
def _connection(exports: Mapping[str, str], patch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    for name, value in exports.items():
        patch.setenv(name, value)
    warehouse = Warehouse(exports["GOOGLE_CLOUD_PROJECT"])
    yield warehouse
    warehouse.close()


def _changed_now(account: str, now: dt.datetime) -> bytes:
    values = {"Rating": "Hot", "NumberOfEmployees": 4_321}
    return payload(values, recordIds=[account], commitTimestamp=int(now.timestamp() * 1000), changedFields=list(values))
