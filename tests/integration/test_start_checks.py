"""What `rescore run` checks before it starts: whether the services answer, not whether it may see into them."""

import pytest

from pipeline.local.gemini import GeminiStandIn
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from pipeline.resources.services import (
    GeminiUnreachable,
    check_dataset_answers,
    check_gemini,
    check_token,
)
from tests.fixtures.shared_servers import SharedServers
from tests.fixtures.silent_server import NOBODY
from tests.integration.bigquery_proxy import BigQueryProxy, Fault
from transforms.clients.bigquery import Warehouse
from transforms.clients.gemini_api import GeminiSettings
from transforms.errors import WarehouseUnavailable


def test_a_stack_that_runs_passes(warehouse: Warehouse, gemini: GeminiStandIn) -> None:
    """And no model is called, which would cost money."""
    calls = gemini.stats().calls
    check_token()
    check_dataset_answers(warehouse.project, SCORING_DATASET)
    check_dataset_answers(warehouse.project, CRM_DATASET, "--crm_dataset")
    check_gemini(GeminiSettings(warehouse.project))
    assert gemini.stats().calls == calls


def test_a_dataset_that_is_not_there_is_named(warehouse: Warehouse) -> None:
    """The pipeline would hold its work, or dead-letter it."""
    with pytest.raises(WarehouseUnavailable, match=r"is [\w-]+\.no_mirror the dataset"):
        check_dataset_answers(warehouse.project, "no_mirror", "--crm_dataset")


@pytest.mark.usefixtures("gemini")
def test_who_may_not_look_may_start(
    warehouse: Warehouse, servers: SharedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who writes rows need not be allowed to see datasets; another refusal is one."""
    with BigQueryProxy(servers.bigquery.url) as proxy:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", proxy.url)
        proxy.faults = [Fault("status", status=403, reason="accessDenied")]
        check_dataset_answers(warehouse.project, SCORING_DATASET)
        proxy.faults = [Fault("status", status=503)]
        with pytest.raises(WarehouseUnavailable):
            check_dataset_answers(warehouse.project, SCORING_DATASET)


@pytest.mark.usefixtures("gemini")
def test_a_gemini_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its address and the remedy."""
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"http://{NOBODY}")
    with pytest.raises(GeminiUnreachable, match=rf"Gemini at http://{NOBODY} does not answer .*: check that this"):
        check_gemini(GeminiSettings("my-project"))
