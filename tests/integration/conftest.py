"""What integration tests run against: servers that this process's tests share, as new for each module."""

from collections.abc import Iterator

import pytest

from pipeline.local.gemini import GeminiConfig, GeminiStandIn
from pipeline.local.stack import PROJECT
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from pipeline.resources.tables import create_tables
from schemas.tables import CRM_TABLES, DEAD_LETTER_REPLAY_LEASE, SCORING_TABLES
from tests.fixtures.shared_servers import SharedServers
from tests.integration.pubsub_targets import Target, google_emulator
from tests.integration.replay_resources import ReplayTopics, replace_dead_letters, replay_topics_on
from transforms.clients.bigquery import Warehouse
from transforms.process import forget_shared_objects


@pytest.fixture(scope="module", autouse=True)
def _new_process() -> None:
    """Start each module without connections: they may be to another server."""
    forget_shared_objects()


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    """Return a MonkeyPatch that sets environment variables for a module's tests."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def gemini(servers: SharedServers, environment: pytest.MonkeyPatch) -> GeminiStandIn:
    """Return a Gemini stand-in that Google's clients find, with credentials from its token endpoint."""
    for name, value in servers.gemini_environment.items():
        environment.setenv(name, value)
    return servers.gemini(GeminiConfig())


@pytest.fixture(scope="module")
def warehouse(
    servers: SharedServers,
    environment: pytest.MonkeyPatch,
    gemini: GeminiStandIn,  # brings the credentials
) -> Iterator[Warehouse]:
    """Return a connection to a BigQuery emulator with the service's tables, all empty."""
    environment.setenv("BIGQUERY_EMULATOR_HOST", servers.bigquery.url)
    connection = Warehouse(PROJECT)
    create_tables(connection)
    _empty_tables(connection)
    yield connection
    connection.close()


def _empty_tables(warehouse: Warehouse) -> None:
    tables = {f"{SCORING_DATASET}.{table.name}": (SCORING_DATASET, table) for table in SCORING_TABLES}
    tables |= {f"{CRM_DATASET}.{table.name}": (CRM_DATASET, table) for table in CRM_TABLES}
    counts = (f"SELECT '{name}' AS name, COUNT(*) AS row_count FROM `{warehouse.project}.{name}`" for name in tables)  # noqa: S608 - names of ours
    for row in warehouse.query(" UNION ALL ".join(counts)):
        if row["row_count"]:
            warehouse.replace_rows(*tables[row["name"]], [])


@pytest.fixture(scope="session")
def google_pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Return Google's Pub/Sub emulator; skip the test if it is not installed."""
    with google_emulator(tmp_path_factory.mktemp("pubsub")) as target:
        yield target


@pytest.fixture(scope="module", params=["embedded", "google"])
def target(request: pytest.FixtureRequest, servers: SharedServers) -> Target:
    """Return each Pub/Sub broker in turn, with the topics of other tests."""
    if request.param == "embedded":
        return servers.pubsub
    google: Target = request.getfixturevalue("google_pubsub")
    return google


@pytest.fixture(scope="module")
def broker(target: Target, environment: pytest.MonkeyPatch) -> Target:
    """Return each Pub/Sub broker in turn; Google's clients of this process call it."""
    environment.setenv("PUBSUB_EMULATOR_HOST", target.host)
    return target


@pytest.fixture
def topics(broker: Target, warehouse: Warehouse) -> ReplayTopics:
    """Return topics and subscriptions for this test, with an empty table of dead letters and a free lease."""
    replace_dead_letters(warehouse, [])
    warehouse.replace_rows(SCORING_DATASET, DEAD_LETTER_REPLAY_LEASE, [])
    return replay_topics_on(broker, warehouse)
