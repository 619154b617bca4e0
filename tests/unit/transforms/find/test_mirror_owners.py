"""What the mirror says of records' accounts: one query a batch, tables that it lacks, several rows of a record."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from google.api_core.exceptions import NotFound
from structlog.testing import capture_logs

from tests.fixtures.changes import COMMITTED_AT, account_id
from tests.fixtures.related_records import CONTACT, OPPORTUNITY, TASK
from transforms.clients.query_guard import guard_query, guard_rules
from transforms.errors import WarehouseUnavailable
from transforms.find.mirror_owners import MIRROR_TABLES, OLDEST_RECORD, MirrorOwners, accounts_of_rows, owners_query


def _row(record_id: str, account: str | None, second: int = 0) -> dict[str, Any]:
    modified_at = COMMITTED_AT + dt.timedelta(seconds=second)
    return {"record_id": record_id, "account_id": account, "modified_at": modified_at}


class _Warehouse:
    """A mirror with rows, which may lack tables or not answer."""

    project = "my-project"

    def __init__(self, *rows: dict[str, Any], lacks: tuple[str, ...] = (), is_down: bool = False) -> None:
        self.rows, self.lacks, self.is_down = rows, lacks, is_down
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def look_up(self, sql: str, parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        self.asked.append((sql, parameters))
        if self.is_down:
            raise WarehouseUnavailable("BigQuery: query: ServiceUnavailable 503")
        if any(f"crm.{name}`" in sql for name in self.lacks):
            raise WarehouseUnavailable("BigQuery: query: NotFound 404") from NotFound("no such table")  # type: ignore[no-untyped-call]
        ids = {it for values in parameters.values() if isinstance(values, list) for it in values}
        return [row for row in self.rows if row["record_id"] in ids]


def test_records_of_several_tables_are_one_query() -> None:
    """With the ids as parameters, and a bound on the partitions."""
    warehouse = _Warehouse(_row(OPPORTUNITY, account_id(1)), _row(CONTACT, None))
    found = MirrorOwners(warehouse, "crm").find([CONTACT, OPPORTUNITY, TASK])
    assert found == ({OPPORTUNITY: account_id(1), CONTACT: None}, 1)
    ((sql, parameters),) = warehouse.asked
    expected = {"opportunity_ids": [OPPORTUNITY], "contact_ids": [CONTACT], "since": OLDEST_RECORD}
    assert parameters == expected
    assert "modified_at >= @since" in sql


def test_records_without_a_table_cost_no_query() -> None:
    """The mirror has no tasks."""
    warehouse = _Warehouse()
    assert MirrorOwners(warehouse, "crm").find([TASK]) == ({}, 0)
    assert warehouse.asked == []


def test_a_missing_table_does_not_hide_the_others() -> None:
    """Its records are not found, with one warning, and it is not asked for again."""
    warehouse = _Warehouse(_row(OPPORTUNITY, account_id(1)), lacks=("contacts",))
    mirror = MirrorOwners(warehouse, "crm")
    with capture_logs() as logs:
        assert mirror.find([CONTACT, OPPORTUNITY]) == ({OPPORTUNITY: account_id(1)}, 3)
        assert mirror.find([CONTACT, OPPORTUNITY]) == ({OPPORTUNITY: account_id(1)}, 1)
        assert mirror.find([CONTACT]) == ({}, 0)
    assert [(log["log_level"], log["table"]) for log in logs] == [("warning", "contacts")]


def test_an_outage_is_an_error() -> None:
    """It is not taken for a missing table or record."""
    with pytest.raises(WarehouseUnavailable):
        MirrorOwners(_Warehouse(is_down=True), "crm").find([CONTACT])


def test_the_newest_row_of_a_record_counts() -> None:
    """Mirrors that append have several; ids come in 15 characters, too, and other texts are no accounts."""
    rows = [_row("a", account_id(1), 1), _row("a", account_id(2), 3), _row("a", account_id(3), 2)]
    rows += [_row("b", account_id(1)[:15]), _row("c", "nonsense"), _row("d", "")]
    expected = {"a": account_id(2), "b": account_id(1), "c": None, "d": None}
    assert accounts_of_rows(rows) == expected
    assert accounts_of_rows(reversed(rows)) == expected


def test_each_query_passes_the_query_guard() -> None:
    """It reads tables of the mirror only, and bounds their partitions."""
    rules = guard_rules("my-project", "account_scoring", "crm")
    for table in MIRROR_TABLES:
        guard_query(owners_query("my-project.crm", [table]), rules)
