"""The services of a stack fail on purpose and work again: the Gemini stand-in, and BigQuery with its data."""

from pathlib import Path

import pytest
import requests

from pipeline.local.bigquery_emulator import BigQueryEmulator
from pipeline.local.failing.failing_services import BigQuerySwitch, GeminiSwitch
from pipeline.local.failing.failures import find_failure
from pipeline.local.gemini_process import GeminiProcess
from pipeline.resources.names import CRM_DATASET
from schemas.account_context import AccountProfile
from schemas.tables import ACCOUNTS
from tests.fixtures.changes import COMMITTED_AT, account_id
from transforms.clients.bigquery import Warehouse


def test_gemini_has_the_fault_until_it_is_healed() -> None:
    """Calls whose prompt has a text, if one is given."""
    with GeminiProcess() as gemini:
        switch = GeminiSwitch(gemini)
        switch.fail(find_failure("gemini", "503"), "Acme")
        (fault,) = gemini.configuration()["faults"]
        assert (fault["kind"], fault["match"], fault["rate"]) == ("http_503", "Acme", 1.0)
        switch.fail(find_failure("gemini", "garbage"), None)
        assert [(it["kind"], it["match"]) for it in gemini.configuration()["faults"]] == [("prose", None)]
        switch.heal()
        assert gemini.configuration()["faults"] == []


def test_bigquery_comes_back_with_its_data(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    warehouse: Warehouse,  # brings the credentials
) -> None:
    """At the same address; meanwhile connections are refused."""
    with BigQueryEmulator(tmp_path) as emulator:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", emulator.url)
        own = Warehouse(warehouse.project)
        own.create_dataset(CRM_DATASET)
        own.create_table(CRM_DATASET, ACCOUNTS)
        own.append_rows(
            CRM_DATASET, ACCOUNTS, [AccountProfile(account_id=account_id(), name="Acme", modified_at=COMMITTED_AT)]
        )
        switch, address = BigQuerySwitch(emulator), emulator.url
        switch.fail(find_failure("bigquery", "down"), None)
        with pytest.raises(requests.ConnectionError):
            requests.get(address, timeout=30)
        switch.heal()
        assert emulator.url == address
        rows = own.query(f"SELECT name FROM `{own.project}.{CRM_DATASET}.accounts`")  # noqa: S608 - names of ours
        assert [row["name"] for row in rows] == ["Acme"]
        own.close()
