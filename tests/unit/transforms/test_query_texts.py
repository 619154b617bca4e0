# ruff: noqa: E501, S608 - the strings are hostile on purpose; no query is run
"""No external text becomes part of a query: thousands of hostile strings in every identifier and value."""

import datetime as dt
import random
from collections.abc import Mapping
from typing import Any, Final

import pytest
import sqlglot

from pipeline.ledger.ledger_groups import Window, read_ledger
from schemas.identifiers import CheckedAccountId, DatasetId, EmailAddress, ProjectId, checked
from tests.fixtures.changes import NOW
from tests.fixtures.examples import of_this_run
from transforms.clients.bigquery import Warehouse
from transforms.clients.query_guard import guard_rules
from transforms.enrich.account_contexts import ContextBounds, account_contexts_query, read_account_contexts
from transforms.errors import WarehouseUnavailable
from transforms.find.mirror_owners import MIRROR_TABLES, MirrorOwners, owners_query

COUNT: Final = of_this_run(ordinary=2_000, slow=20_000)
_FRAGMENTS: Final = (
    "'", '"', "`", "\\", "\\'", "''", "--", "#", "/*", "*/", ";", " ", "\n", "\r", "\t", "\x00", "{", "}", "{crm}",
    "{dataset}", "%s", "%(x)s", "@since", "@@x", "?", "$1", "OR 1=1", "UNION ALL SELECT", "DROP TABLE crm.accounts",
    "EXECUTE IMMEDIATE", "r'", "b'", "'''", '"""', "\u2019", "\uff07", "\u02bc", "\u200b", "\u202e", "\ud800", "é", "用",
    "a", "crm", "crm.accounts", "my-project", "001000000000001AAA", "x@y.z", "0", "-", "_", ".", "..", ":", "NULL",
)  # fmt: skip
PLAIN: Final = "plain_name"
PROJECT: Final = "my-project"


@pytest.fixture(scope="module")
def hostile(run_seed: int) -> list[str]:
    """Return strings that end quotes, comments and statements, contain placeholders, or are almost valid."""
    dice = random.Random(run_seed)
    return ["".join(dice.choices(_FRAGMENTS, k=dice.randint(1, 6))) for _ in range(COUNT)]


class _Client:
    """Records the text and the parameters of each query, and returns no rows."""

    def __init__(self) -> None:
        self.texts: set[str] = set()
        self.values: list[Any] = []

    def query_and_wait(self, sql: str, *, job_config: Any, **_: Any) -> Any:
        self.texts.add(sql)
        self.values += [getattr(it, "values", None) or it.value for it in job_config.query_parameters]
        return _NoRows()


class _NoRows(list[Mapping[str, Any]]):
    schema = ("x",)
    total_bytes_processed = 0


def _warehouse(client: _Client) -> Warehouse:
    warehouse = Warehouse.__new__(Warehouse)
    warehouse.project = PROJECT
    warehouse._client = client  # type: ignore[assignment] # what is asked of it
    return warehouse


def test_values_are_bound_and_change_no_text(hostile: list[str]) -> None:
    """For all ids and values the text is the same, and the values are passed as parameters, unchanged."""
    client = _Client()
    warehouse = _warehouse(client)
    for text in hostile:
        read_account_contexts(
            warehouse, "crm", [text], since=NOW, until=NOW, bounds=ContextBounds(lookback=dt.timedelta(1))
        )
        list(warehouse.query("SELECT @x", {"x": text}))
    assert client.texts == {account_contexts_query("my-project.crm", ContextBounds()), "SELECT @x"}
    assert [value for value in client.values if isinstance(value, str)] == hostile
    assert [value for value in client.values if isinstance(value, list)] == [[text] for text in hostile]


def test_ids_of_related_records_are_bound(hostile: list[str]) -> None:
    """Whatever follows the key prefix by which their table is chosen."""
    client = _Client()
    mirror = MirrorOwners(_warehouse(client), "crm")
    for text in hostile:
        mirror.find([f"006{text}", f"003{text}"])
    assert client.texts == {owners_query("my-project.crm", MIRROR_TABLES)}
    assert [value for value in client.values if isinstance(value, list)] == [
        [f"{prefix}{text}"] for text in hostile for prefix in ("006", "003")
    ]


def test_values_of_guarded_queries_change_no_text(hostile: list[str]) -> None:
    """The guard reads only the statement. A tenth of the strings, because the guard parses each time."""
    client = _Client()
    warehouse, rules = _warehouse(client), guard_rules("my-project", "account_scoring", "crm")
    for text in hostile[::10]:
        warehouse.guarded_query("SELECT @x", {"x": text}, rules=rules)
    assert client.texts == {"SELECT @x LIMIT 1000"}
    assert client.values == [text for text in hostile[::10] for _ in ("estimate", "query")]


def _words(sql: str) -> list[str]:
    return [token.text for token in sqlglot.tokenize(sql, read="bigquery")]


def test_identifiers_are_refused_or_are_one_name(hostile: list[str]) -> None:
    """A text that is accepted as a project or dataset gives a query with the same tokens, except for that name."""
    passed = 0
    for kind in (ProjectId, DatasetId):
        expected = _words(f"SELECT * FROM `{PLAIN}` WHERE x")
        for text in hostile:
            try:
                name = checked(kind, text, "x")
            except ValueError:
                continue
            passed += 1
            found = _words(f"SELECT * FROM `{name}` WHERE x")
            assert [name if word == PLAIN else word for word in expected] == found, text
    assert passed > 0


def test_account_ids_and_addresses_are_refused_or_plain(hostile: list[str]) -> None:
    """Only account ids are accepted as such; no accepted address has a blank, a quote or a control character."""
    for text in hostile:
        for kind, allowed in ((CheckedAccountId, str.isalnum), (EmailAddress, lambda it: not set(it) & set(' "\\\n;'))):
            try:
                taken = checked(kind, text, "x")
            except ValueError:
                continue
            assert allowed(taken), text


def test_a_datasets_name_can_not_alter_the_ledgers_query(hostile: list[str]) -> None:
    """A hostile `--dataset` is refused before a query is sent, or the query is the same as for any other name."""
    (plain,) = _ledger_query(PLAIN)
    taken = 0
    for text in hostile:
        queries = _ledger_query(text)
        taken += len(queries)
        # A name may be that of another project's dataset.
        path = text if "." in text else f"{PROJECT}.{text}"
        assert queries <= {plain.replace(f"{PROJECT}.{PLAIN}.", f"{path}.")}, text
    assert 0 < taken < COUNT


def _ledger_query(dataset: str) -> set[str]:
    """Return the text of the query that is sent; None if the name is refused."""
    client = _Client()
    window = Window(since=NOW - dt.timedelta(days=1), until=NOW, grace=dt.timedelta(minutes=1))
    try:
        read_ledger(_warehouse(client), dataset, window, limit=1)
    except (ValueError, WarehouseUnavailable):  # refused, or sent with a result without rows
        return client.texts
    return pytest.fail("there was an answer")
