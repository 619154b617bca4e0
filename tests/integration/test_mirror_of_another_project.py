"""The CRM mirror may be another project's: it is read there, and queries run in the pipeline's own project."""

import datetime as dt
from collections.abc import Iterator
from typing import Final

import pytest

from pipeline.dead_letters.mirror_accounts import open_mirror
from pipeline.doctor.check import Status, examine
from pipeline.doctor.warehouse import BigQuery
from pipeline.resources.names import SCORING_DATASET
from pipeline.resources.services import check_dataset_answers
from pipeline.resources.tables import create_tables
from pipeline.scores.score_sources import ScoreSources
from schemas.account_context import AccountProfile
from schemas.tables import ACCOUNTS, CRM_TABLES
from transforms.clients.bigquery import Warehouse
from transforms.enrich.account_contexts import ContextBounds, read_account_contexts
from transforms.errors import WarehouseUnavailable

OTHER: Final = "crm-warehouse"
MIRROR: Final = f"{OTHER}.salesforce"
ACCOUNT: Final = "001000000000001AAA"


@pytest.fixture
def mirror(warehouse: Warehouse) -> Iterator[Warehouse]:
    """Return the warehouse of the scores; another project has the mirror, with one account."""
    create_tables(warehouse)
    other = Warehouse(OTHER)
    other.create_dataset("salesforce")
    for table in CRM_TABLES:
        other.create_table("salesforce", table)
    other.replace_rows(
        "salesforce",
        ACCOUNTS,
        [AccountProfile(account_id=ACCOUNT, name="Elsewhere Ltd", modified_at=dt.datetime.now(dt.UTC))],
    )
    yield warehouse
    other.close()


def test_contexts_come_from_the_other_project(mirror: Warehouse) -> None:
    """And not from a dataset of the same name in the pipeline's own."""
    now = dt.datetime.now(dt.UTC)
    since = now - dt.timedelta(days=540)

    def read(dataset: str) -> list[str]:
        return list(read_account_contexts(mirror, dataset, [ACCOUNT], since=since, until=now, bounds=ContextBounds()))

    assert read(MIRROR) == [ACCOUNT]
    assert read("crm") == []


def test_commands_read_it_too(mirror: Warehouse) -> None:
    """Names of accounts, and whether a replay finds them."""
    names = ScoreSources(mirror.project, SCORING_DATASET, MIRROR).mirrored(mirror, [ACCOUNT])
    assert names.name(ACCOUNT) == "Elsewhere Ltd"
    with open_mirror(mirror.project, MIRROR) as accounts:
        assert accounts.missing([ACCOUNT, "001000000000002AAA"]) == {"001000000000002AAA"}


def test_a_mirror_that_is_not_there_is_named_with_its_project(mirror: Warehouse) -> None:
    """As when the other project's dataset has another name."""
    check_dataset_answers(mirror.project, MIRROR, "--crm_dataset")
    with pytest.raises(WarehouseUnavailable, match=f"{OTHER}.nowhere"):
        check_dataset_answers(mirror.project, f"{OTHER}.nowhere", "--crm_dataset")


def test_doctor_checks_the_mirror_where_it_is(mirror: Warehouse) -> None:
    """And tells its owner what to do: Terraform here does not manage it."""
    bigquery = BigQuery(mirror.project, SCORING_DATASET, MIRROR)
    found = {it.name: it.finding for it in examine([*bigquery.table_checks()])}
    bigquery.close()
    assert found[f"dataset {MIRROR}"].status is Status.OK
    assert {it.status for it in found.values()} == {Status.OK}
    nowhere = BigQuery(mirror.project, SCORING_DATASET, f"{OTHER}.nowhere")
    failed = {it.name: it.finding for it in examine([*nowhere.table_checks()]) if it.finding.status is Status.FAILED}
    nowhere.close()
    assert set(failed) >= {f"dataset {OTHER}.nowhere", f"table {OTHER}.nowhere.accounts"}
    assert all(f"owner of {OTHER}" in (finding.remedy or "") for finding in failed.values())
