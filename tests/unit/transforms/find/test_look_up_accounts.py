"""Looking accounts up: one query a batch, none for what is cached, and no change lost when BigQuery fails."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from apache_beam.pvalue import TaggedOutput

from schemas.change_event import AccountChange
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from schemas.outcome import Outcome
from schemas.record import to_json
from tests.fixtures.changes import ACCOUNT_FIELDS, COMMITTED_AT, account_id
from tests.fixtures.related_records import CONTACT, OPPORTUNITY, TASK, unnamed
from transforms.clients.outage import OutageGate, OutageSettings, ThrottledSeconds
from transforms.errors import WarehouseUnavailable
from transforms.find.account_cache import AccountCache
from transforms.find.found_accounts import STAGE
from transforms.find.look_up_accounts import LookUpAccounts, LookUpSettings, _LookUp
from transforms.find.mirror_owners import MirrorOwners
from transforms.find.sightings import Wanted

T = TypeVar("T")


class _Warehouse:
    """A mirror with the accounts of records, whose first queries fail."""

    project = "my-project"

    def __init__(self, accounts: Mapping[str, str | None], failures: int = 0) -> None:
        self.accounts, self.failures, self.asked = accounts, failures, list[list[str]]()

    def look_up(self, _sql: str, parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        ids = sorted(it for values in parameters.values() if isinstance(values, list) for it in values)
        self.asked.append(ids)
        if len(self.asked) <= self.failures:
            raise WarehouseUnavailable("BigQuery: query: ServiceUnavailable 503")
        return [
            {"record_id": it, "account_id": self.accounts[it], "modified_at": COMMITTED_AT}
            for it in ids
            if it in self.accounts
        ]


def _wanted(number: int, record_id: str) -> Wanted:
    return Wanted(change=unnamed(number, record_id), record_ids=(record_id,))


class _Step:
    """The step over a mirror, with a cache of its own and a short outage."""

    def __init__(self, warehouse: _Warehouse, *, deadline_seconds: float = 60) -> None:
        self.warehouse = warehouse
        self.step = _LookUp(LookUpAccounts(LookUpSettings("my-project", "crm", ACCOUNT_FIELDS), "1"))
        self.step.mirror = MirrorOwners(warehouse, "crm")
        self.step.outage_gate = OutageGate(
            "test", OutageSettings(deadline_seconds=deadline_seconds, probe_seconds=0.01)
        )
        self.step.salesforce = None
        self.step.cache = AccountCache()
        self.step.throttled = ThrottledSeconds("test")

    def __call__(self, *batch: Wanted) -> tuple[list[AccountChange], list[Outcome], list[DeadLetter]]:
        outputs = [_value(it) for it in self.step.process(map(to_json, batch))]
        return _of(AccountChange, outputs), _of(Outcome, outputs), _of(DeadLetter, outputs)


def _value(output: Any) -> Any:
    return output.value if isinstance(output, TaggedOutput) else output


def _of(kind: type[T], outputs: Iterable[Any]) -> list[T]:
    return [it for it in outputs if isinstance(it, kind)]


def test_a_batch_is_one_query() -> None:
    """However many events a record has; each change goes on with its account, and is received with it."""
    step = _Step(_Warehouse({OPPORTUNITY: account_id(1), CONTACT: account_id(2)}))
    changes, outcomes, _ = step(_wanted(1, OPPORTUNITY), _wanted(2, CONTACT), _wanted(3, OPPORTUNITY))
    assert [it.account_id for it in changes] == [account_id(1), account_id(2), account_id(1)]
    assert [(it.account_id, it.stage) for it in outcomes] == [(it.account_id, f"{STAGE}: mirror") for it in changes]
    assert step.warehouse.asked == [sorted([OPPORTUNITY, CONTACT])]


def test_a_record_is_looked_up_once() -> None:
    """What was found is kept for a while; what was not, or has no account, is asked for again."""
    step = _Step(_Warehouse({OPPORTUNITY: account_id(1), CONTACT: None}))
    for number in range(3):
        step(_wanted(number, OPPORTUNITY), _wanted(number, CONTACT))
    assert step.warehouse.asked == [sorted([OPPORTUNITY, CONTACT]), [CONTACT], [CONTACT]]


def test_what_is_not_found_is_dead_lettered_with_its_message() -> None:
    """Under this stage, byte for byte; the other changes of the batch go on."""
    step = _Step(_Warehouse({OPPORTUNITY: account_id(1)}))
    changes, _, (dead_letter,) = step(_wanted(1, OPPORTUNITY), _wanted(2, TASK))
    assert [it.account_id for it in changes] == [account_id(1)]
    assert (dead_letter.error_class, dead_letter.stage) == (ErrorClass.ACCOUNT_NOT_NAMED, STAGE)
    assert (dead_letter.record_id, dead_letter.account_id) == (TASK, None)
    assert dead_letter.source == unnamed(2, TASK).source


def test_a_hiccup_is_held() -> None:
    """The batch waits inside its bundle until BigQuery answers."""
    step = _Step(_Warehouse({OPPORTUNITY: account_id(1)}, failures=2))
    changes, _, dead_letters = step(_wanted(1, OPPORTUNITY))
    assert [it.account_id for it in changes] == [account_id(1)]
    assert dead_letters == []


def test_an_outage_beyond_the_deadline_is_retryable() -> None:
    """The dead letter says that BigQuery did not answer, not that nobody knows the account."""
    step = _Step(_Warehouse({OPPORTUNITY: account_id(1)}, failures=10**6), deadline_seconds=0.05)
    changes, _, (dead_letter,) = step(_wanted(1, OPPORTUNITY))
    assert changes == []
    assert dead_letter.error_class is ErrorClass.BIGQUERY_UNAVAILABLE
