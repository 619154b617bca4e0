"""Dead letters, replays and the ledger over HTTP, against the emulators."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.api.background_replays import BackgroundReplays
from pipeline.api.documents import (
    DeadLetterDocument,
    DeadLettersDocument,
    ReconciliationDocument,
    ReplayDocument,
    ReplayPlanDocument,
)
from pipeline.api.rate_limits import RateLimiter, RateLimits
from pipeline.api.services import Services
from pipeline.dead_letters.replay_lease import ReplayLease
from pipeline.resources.names import SCORING_DATASET
from schemas.change_event import SourceMessage
from schemas.failures import ErrorClass
from schemas.tables import CHANGE_OUTCOMES, DEAD_LETTER_REPLAY_LEASE, DEAD_LETTER_REPLAYS
from tests.fixtures.api import EVERYBODY, OPERATOR, READER, ApiClient, bearer, client_of, read_model_services
from tests.fixtures.changes import account_id
from tests.fixtures.dead_letters import dead_letter
from tests.fixtures.fuzzing import fuzz
from tests.fixtures.ledger import ledger_row
from tests.fixtures.read_model import KeptSource
from tests.fixtures.shared_servers import SharedServers
from tests.fixtures.waiting import wait_until
from tests.integration.replay_resources import ReplayTopics, load_accounts, replace_dead_letters, replay_topics_on
from transforms.clients.bigquery import Warehouse

NOW: Final = dt.datetime.now(dt.UTC).replace(microsecond=0)
FAILED: Final = NOW - dt.timedelta(hours=2)
LETTERS: Final = [dead_letter(number, failed_at=FAILED, first_failed_at=FAILED) for number in (1, 2, 3)]
UNDECODABLE: Final = dead_letter(
    4,
    error_class=ErrorClass.UNDECODABLE,
    stage="Parse change events",
    account_id=None,
    prompt_version=None,
    failed_at=FAILED - dt.timedelta(hours=1),
    first_failed_at=FAILED,
    source=SourceMessage(payload=b"\xff\xfe", attributes={"sender": "\x1b[31mred"}),
)
ALL: Final = [*LETTERS, UNDECODABLE]


@pytest.fixture
def topics(servers: SharedServers, environment: pytest.MonkeyPatch, warehouse: Warehouse) -> ReplayTopics:
    """Return topics and subscriptions for this test, with a free lease."""
    environment.setenv("PUBSUB_EMULATOR_HOST", servers.pubsub.host)
    warehouse.replace_rows(SCORING_DATASET, DEAD_LETTER_REPLAY_LEASE, [])
    return replay_topics_on(servers.pubsub, warehouse)


@pytest.fixture
def services(topics: ReplayTopics, warehouse: Warehouse, tmp_path: Path) -> Iterator[Services]:
    """Return services on the emulators, with four dead letters in the table and on the hold subscription."""
    replace_dead_letters(warehouse, ALL, model="gemini-x")
    warehouse.replace_rows(SCORING_DATASET, DEAD_LETTER_REPLAYS, [])
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, [ledger_row("received", "e" * 32, recorded_at=FAILED)])
    load_accounts(warehouse, [account_id(1)])
    topics.hold(ALL)
    replays = BackgroundReplays(topics.resources, quiet_seconds=0.5)
    fields: dict[str, Any] = {
        "resources": topics.resources,
        "replays": replays,
        "rate_limiter": RateLimiter(RateLimits(1_000_000, 1_000_000)),
    }
    with read_model_services(tmp_path, KeptSource(), NOW, **fields) as made:
        yield made
        replays.stop()


@pytest.fixture
def client(services: Services) -> Iterator[ApiClient]:
    """Return a client of an app on the emulators."""
    with client_of(services) as made:
        yield made


def _get(client: ApiClient, path: str) -> Any:
    answer = client.get(path, headers=bearer(OPERATOR))
    assert answer.status_code == 200, answer.text
    return answer.json()


def _replay(client: ApiClient, who: str = OPERATOR, key: str | None = None, **body: Any) -> Any:
    headers = bearer(who) | ({"Idempotency-Key": key} if key else {})
    return client.post("/v1/dead-letters:replay", json=body, headers=headers)


def test_dead_letters_are_listed_and_shown(client: ApiClient) -> None:
    """By class and stage with the remedy, one by one, and one with its payload."""
    listed = _get(client, "/v1/dead-letters?limit=3")
    DeadLettersDocument.model_validate(listed)
    groups = [(it["error_class"], it["letters"]) for it in listed["groups"]]
    assert (groups, listed["letters"], len(listed["each"])) == ([("gemini_timeout", 3), ("undecodable", 1)], 4, 3)
    filtered = _get(
        client, f"/v1/dead-letters?stage=Score+accounts&account={account_id(1)}&until={NOW:%Y-%m-%d}T23:59:59Z"
    )
    assert filtered["letters"] == 1
    (only,) = filtered["each"]
    shown = _get(client, f"/v1/dead-letters/{only['dead_letter_id'][:8]}")
    DeadLetterDocument.model_validate(shown)
    assert shown["payload"]["ChangeEventHeader"]["recordIds"] == [account_id(1)]
    assert [it["decision"] for it in shown["explained"]] == ["rescore"]
    (binary,) = _get(client, "/v1/dead-letters?error_class=undecodable")["each"]
    assert _get(client, f"/v1/dead-letters/{binary['dead_letter_id']}")["payload"] == {"base64": "//4="}
    assert client.get(f"/v1/dead-letters/{'0' * 32}", headers=bearer(OPERATOR)).status_code == 404


def test_a_replay_is_planned_carried_out_and_watched(client: ApiClient, topics: ReplayTopics) -> None:
    """Nothing is published by a plan; a key has it carried out once, by the principal's name."""
    plan = _replay(client, error_classes=["gemini_timeout"]).json()
    ReplayPlanDocument.model_validate(plan)
    assert (plan["to_replay"], plan["executed"], plan["decisions"]) == (
        3,
        False,
        {"rescore": 1, "account_not_found": 2},
    )
    assert _replay(client, error_classes=["gemini_timeout"], execute=True).status_code == 422
    started = _replay(client, key="night-0001", error_classes=["gemini_timeout"], execute=True, reason="it is back")
    assert started.status_code == 202
    path = started.headers["location"]
    wait_until(lambda: _get(client, path)["state"] == "finished")
    done = _get(client, path)
    ReplayDocument.model_validate(done)
    assert (done["replayed"], done["actor"], done["reason"], done["outcomes"]) == (
        3,
        OPERATOR,
        "it is back",
        {"pending": 3},
    )
    assert sorted(it.data for it in topics.taken(topics.changes)) == sorted(it.source.payload for it in LETTERS)
    again = _replay(client, key="night-0001", error_classes=["gemini_timeout"], execute=True, reason="it is back")
    assert (again.json(), again.headers["idempotency-replayed"]) == (started.json(), "true")
    assert _get(client, "/v1/dead-letters?not_replayed=true")["letters"] == 1
    assert topics.taken(topics.changes) == []


def test_one_replay_runs_at_a_time(client: ApiClient, warehouse: Warehouse, topics: ReplayTopics) -> None:
    """Also where the other one is the command's; the ledger and the journal say nothing of the refused one."""
    lease = ReplayLease(warehouse, SCORING_DATASET)
    lease.take("20260101-000000-abcdef")
    refused = _replay(client, execute=True, reason="now")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:problem:account-rescoring:conflict")
    lease.release()
    assert client.get("/v1/replays/20260101-000000-abcdef", headers=bearer(OPERATOR)).status_code == 404
    assert topics.taken(topics.changes) == []


def test_a_replay_ends_with_the_process(client: ApiClient, services: Services) -> None:
    """After its current batch: the journal says that it stopped, and it can be resumed."""
    path = _replay(client, execute=True, reason="now", rate=0.1).headers["location"]
    services.replays.stop()
    assert (_get(client, path)["state"], _get(client, path)["message"]) == ("stopped", "interrupted")


def test_the_ledger_is_reconciled(client: ApiClient) -> None:
    """An event without an outcome is named, and what to type."""
    document = _get(client, "/v1/outcomes:reconcile?since=24h")
    ReconciliationDocument.model_validate(document)
    assert (document["events"], document["unexplained"], document["ok"]) == (1, 1, False)
    assert document["commands"]
    refused = client.get("/v1/outcomes:reconcile?since=1m&grace=2m", headers=bearer(OPERATOR))
    assert refused.status_code == 422


def test_only_operators_see_dead_letters(services: Services) -> None:
    """BigQuery is not asked for anybody else."""
    services.resources = None  # type: ignore[assignment] # nothing can be asked of it
    with client_of(services) as client:
        for path in ("/v1/dead-letters", "/v1/dead-letters/abcdef", "/v1/outcomes:reconcile"):
            assert client.get(path, headers=bearer(READER)).status_code == 403
        assert _replay(client, READER, execute=True, reason="now").status_code == 403


def test_every_answer_on_the_emulators_is_as_described(services: Services) -> None:
    """Of dead letters, plans, and the ledger, too."""
    done = fuzz(services, 150, bearer(EVERYBODY), seed=2)
    assert 503 not in done.statuses
    assert {"GET /v1/dead-letters", "POST /v1/dead-letters:replay", "GET /v1/outcomes:reconcile"} <= set(
        done.operations
    )
