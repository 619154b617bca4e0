"""Dead letters in the warehouse: list, show, plan; and the lease that lets one replay run at a time."""

import dataclasses
import datetime as dt
import io
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter, ReplayRequest
from pipeline.dead_letters.list_dead_letters import list_dead_letters
from pipeline.dead_letters.list_dead_letters import render as render_listing
from pipeline.dead_letters.replay import journal_entry
from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.dead_letters.replay_lease import LeaseState, LeaseTaken, ReplayLease
from pipeline.dead_letters.replay_plan import plan
from pipeline.dead_letters.replay_plan import render as render_plan
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.dead_letters.show_dead_letter import render as render_dead_letter
from pipeline.dead_letters.show_dead_letter import show_dead_letter
from pipeline.dead_letters.status import cancel, status
from pipeline.dead_letters.status import render as render_status
from pipeline.resources.names import SCORING_DATASET
from pipeline.resources.rule_files import RuleFiles
from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter, dead_letter_row
from schemas.failures import ErrorClass
from schemas.replay import DeadLetterReplay, JournalEntry
from schemas.score import Score, ScoreStatus
from schemas.tables import ACCOUNT_SCORES, CHANGE_OUTCOMES
from tests.fixtures.changes import NOW, account_id, payload
from tests.fixtures.dead_letters import dead_letter, held
from tests.fixtures.ledger import ledger_row
from tests.integration.replay_resources import load_accounts, replace_dead_letters
from transforms.clients.bigquery import Warehouse
from transforms.errors import WarehouseUnavailable

HOUR = dt.timedelta(hours=1)
UNDECODABLE = dead_letter(
    7,
    error_class=ErrorClass.UNDECODABLE,
    stage="Parse change events",
    account_id=None,
    prompt_version=None,
    pipeline_version="0.9.0",
    failed_at=NOW - HOUR,
    source=SourceMessage(payload=b"\xff\xfe", attributes={"sender": "\x1b[31mred"}),
)
TIMEOUTS = [dead_letter(number) for number in range(3)]


@pytest.fixture
def resources(warehouse: Warehouse) -> ReplayResources:
    """Return the resources of a table with one undecodable dead letter and three timeouts, one of them replayed."""
    replace_dead_letters(warehouse, [UNDECODABLE, *TIMEOUTS], model="gemini-x")
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [])
    _journal(warehouse, "r1", TIMEOUTS[0])
    return ReplayResources(warehouse.project)


def _journal(warehouse: Warehouse, replay_id: str, *dead_letters: DeadLetter) -> DeadLetterReplay:
    start = DeadLetterReplay(
        entry_id="-",
        replay_id=replay_id,
        entry=JournalEntry.STARTED,
        recorded_at=NOW,
        actor="night@shift",
        reason="latency is back",
        letter_filter="{}",
        rate=1.0,
    )
    journal = ReplayJournal(warehouse, SCORING_DATASET)
    journal.write(start, JournalEntry.STARTED)
    journal.write(start, JournalEntry.LETTERS, [journal_entry(held(it), "p1", None) for it in dead_letters])
    return start


def _counts(resources: ReplayResources, **fields: Any) -> dict[str, tuple[int, int]]:
    document = list_dead_letters(resources, DeadLetterFilter(**fields)).document()
    assert document["letters"] == sum(group["letters"] for group in document["groups"])
    return {group["error_class"]: (group["letters"], group["replayed"]) for group in document["groups"]}


def test_dead_letters_are_listed_by_class_and_stage(resources: ReplayResources) -> None:
    """Each group has its count, times, an example and the remedy; the largest group comes first."""
    (timeouts, undecodable) = list_dead_letters(resources, DeadLetterFilter()).document()["groups"]
    assert (timeouts["error_class"], timeouts["stage"]) == ("gemini_timeout", "Score accounts")
    assert (timeouts["letters"], timeouts["accounts"], timeouts["replayed"], timeouts["retryable"]) == (3, 3, 1, True)
    assert timeouts["first_failed_at"] == timeouts["last_failed_at"] == NOW
    assert timeouts["example"]["dead_letter_id"] in {dead_letter_row(it).dead_letter_id for it in TIMEOUTS}
    assert timeouts["remedy"] == ErrorClass.GEMINI_TIMEOUT.remedy
    assert (undecodable["letters"], undecodable["accounts"], undecodable["retryable"]) == (1, 0, False)


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"error_classes": ("undecodable",)}, {"undecodable": (1, 0)}),
        ({"stages": ("Score accounts",)}, {"gemini_timeout": (3, 1)}),
        ({"accounts": (account_id(2),)}, {"gemini_timeout": (1, 0)}),
        ({"since": NOW}, {"gemini_timeout": (3, 1)}),
        ({"until": NOW}, {"undecodable": (1, 0)}),
        ({"models": ("gemini-x",)}, {"gemini_timeout": (3, 1)}),
        ({"models": ("gemini-y",)}, {}),
        ({"pipeline_versions": ("0.9.0",)}, {"undecodable": (1, 0)}),
        ({"is_not_replayed": True}, {"gemini_timeout": (2, 0), "undecodable": (1, 0)}),
        ({"is_not_replayed": True, "accounts": (account_id(0),)}, {}),
    ],
)
def test_each_filter_narrows_the_list(
    resources: ReplayResources, fields: dict[str, Any], counts: dict[str, tuple[int, int]]
) -> None:
    """Each filter gives the same dead letters in SQL and for messages."""
    assert _counts(resources, **fields) == counts
    journalled = {dead_letter_row(TIMEOUTS[0]).dead_letter_id}
    messages = [held(of, model="gemini-x") for of in (UNDECODABLE, *TIMEOUTS)]
    matching = Counter(
        it.attributes["error_class"] for it in messages if DeadLetterFilter(**fields).matches(it, journalled)
    )
    assert matching == {name: dead_letters for name, (dead_letters, _) in counts.items()}


def test_a_dead_letter_is_shown_whole(resources: ReplayResources, warehouse: Warehouse) -> None:
    """Show has the payload, decoded and original, the current disposition, the replays and the ledger rows."""
    of = TIMEOUTS[0]
    row = dead_letter_row(of)
    rows = [
        ledger_row("received", of.event_id, account_id=of.account_id),
        ledger_row("dead_lettered:gemini_timeout", of.event_id, account_id=of.account_id),
        ledger_row("scored", of.event_id, account_id=of.account_id, replay_count=1),
    ]
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, rows)
    shown = show_dead_letter(resources, row.dead_letter_id[:8], RuleFiles())
    document = json.loads(json.dumps(shown.document(), default=str))
    assert document["dead_letter_id"] == row.dead_letter_id
    assert document["payload"] == json.loads(of.source.payload)
    assert document["payload_sha256"] == row.payload_sha256
    assert document["attributes"] == {"origin": "bridge"}
    assert [it["decision"] for it in document["explained"]] == ["rescore"]
    assert {(it["replay_id"], it["actor"]) for it in document["replays"]} == {("r1", "night@shift")}
    assert [it["outcome"] for it in document["outcomes"]][-1] == "scored"
    assert _text(render_dead_letter(shown)).count(row.dead_letter_id) == 1


def test_what_a_look_up_would_refuse_is_said(resources: ReplayResources, warehouse: Warehouse) -> None:
    """An account that the mirror lacks is named beside the decision; without a mirror all else is shown."""
    dead_letter_id = dead_letter_row(TIMEOUTS[0]).dead_letter_id

    def shown(crm_dataset: str = "crm") -> tuple[Any, str]:
        of = dataclasses.replace(resources, crm_dataset=crm_dataset)
        found = show_dead_letter(of, dead_letter_id, RuleFiles())
        return found.document()["missing_accounts"], _text(render_dead_letter(found))

    load_accounts(warehouse, [])
    missing, text = shown()
    assert missing == [account_id(0)]
    assert "but the CRM mirror lacks the account: it would fail as account_not_found" in text
    load_accounts(warehouse, [account_id(0)])
    missing, text = shown()
    assert missing == []
    assert "mirror" not in text
    missing, text = shown("no_mirror")
    assert missing is None
    assert "the CRM mirror can't be read" in text


def test_bytes_that_are_not_text_are_shown_safely(resources: ReplayResources) -> None:
    """Bytes that are not text are shown as base64; a publisher's control characters are not printed."""
    shown = show_dead_letter(resources, dead_letter_row(UNDECODABLE).dead_letter_id, RuleFiles())
    assert shown.document()["payload"] == {"base64": "//4="}
    assert [it.reason for it in shown.explanations] == ["undecodable"]
    assert "\x1b[31m" not in _text(render_dead_letter(shown))


@pytest.mark.parametrize(
    ("dead_letter_id", "remedy"), [("abcdef", "no dead letter has"), ("xyz", "is not a dead letter's id")]
)
def test_an_id_that_names_no_dead_letter_is_refused(
    resources: ReplayResources, dead_letter_id: str, remedy: str
) -> None:
    """The message says what an id looks like."""
    with pytest.raises(ValueError, match=remedy):
        show_dead_letter(resources, dead_letter_id, RuleFiles())


def _request(**fields: Any) -> ReplayRequest:
    asked: dict[str, Any] = {"max_dead_letters": None, "rate": 50.0, "is_forced": False, "reason": "-"}
    return ReplayRequest(dead_letter_filter=DeadLetterFilter(), **asked | fields)


def test_a_plan_says_how_many_of_which_and_what_they_may_cost(resources: ReplayResources, warehouse: Warehouse) -> None:
    """Only dead letters that would be scored cost tokens; those replayed before are not counted.

    Carried-over scores and shadow scores are left out of the average.
    """
    scores = [_score(number, tokens) for number, tokens in enumerate((800, 1_200))]
    free = [replace(_score(3, 0), flags=("unchanged_context",)), replace(_score(4, 9_000), shadow=True)]
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, [*scores, *free])
    load_accounts(warehouse, [account_id(number) for number in range(3)])
    document = plan(resources, _request(), RuleFiles()).document()
    assert (document["letters"], document["to_replay"], document["to_park"]) == (3, 3, 0)
    assert document["decisions"] == {"rescore": 2, "dead_letter": 1}
    assert document["cost"] == {
        "scores": 2,
        "tokens": 2_200,
        "dollars": 0.004,
        "tokens_a_score": 1_100,
        "averaged_scores": 2,
    }
    assert not document["executed"]
    limited = plan(resources, _request(max_dead_letters=1), RuleFiles())
    assert limited.document()["to_replay"] == 1
    text = _text(render_plan(limited))
    assert "up to 1,100 tokens, $0.002 (1,100 tokens a score: the average of 2 scores" in text
    assert "if more than 20% of what was replayed fails again, from the first batch on" in text


def test_a_plan_asks_the_mirror_for_accounts_that_were_not_found(
    resources: ReplayResources, warehouse: Warehouse
) -> None:
    """It says which are there by now; the others stay, and their scores cost nothing, unless the replay is forced."""
    not_found = [dead_letter(number, error_class=ErrorClass.ACCOUNT_NOT_FOUND) for number in range(10, 15)]
    timeout = dead_letter(19)
    replace_dead_letters(warehouse, [*not_found, timeout])
    load_accounts(warehouse, [account_id(10), account_id(11)])
    found = plan(resources, _request(), RuleFiles())
    assert (found.to_replay, found.account_found, found.account_missing) == (3, 2, 3)
    # The look-up refuses the account of the time-out too.
    assert found.decisions == {"rescore": 2, "account_not_found": 1}
    assert found.cost.scores == 2
    text = " ".join(_text(render_plan(found)).split())
    assert "the CRM mirror has the account of 2 by now, and lacks that of 3: they stay; --force replays" in text
    assert f"there by now {account_id(10)}, {account_id(11)} explained" in text
    document = found.document()
    assert document["accounts_found"] == [account_id(10), account_id(11)]
    assert document["accounts_missing"] == [account_id(12), account_id(13), account_id(14)]
    forced = plan(resources, _request(is_forced=True), RuleFiles())
    assert (forced.to_replay, forced.decisions) == (6, {"account_not_found": 4, "rescore": 2})


def test_a_plan_parks_none_that_waits_for_its_account(resources: ReplayResources, warehouse: Warehouse) -> None:
    """As the replay does: it asks the mirror first, also for those that failed again in the same way."""
    attributes = {"replay_count": "1", "replayed_after": "account_not_found@1.0.0"}
    source = SourceMessage(payload=payload(), attributes=attributes)
    again = [
        dead_letter(number, error_class=ErrorClass.ACCOUNT_NOT_FOUND, replay_count=1, source=source)
        for number in range(10, 18)
    ]
    replace_dead_letters(warehouse, again)
    load_accounts(warehouse, [])
    found = plan(resources, _request(), RuleFiles())
    assert (found.to_replay, found.to_park, found.account_missing, found.question) == (0, 0, 8, None)
    assert [group["to_park"] for group in found.document()["groups"]] == [0]
    assert "lacks that of 8: they stay" in " ".join(_text(render_plan(found)).split())
    load_accounts(warehouse, [account_id(number) for number in range(10, 17)])
    found = plan(resources, _request(), RuleFiles())
    assert (found.to_replay, found.to_park, found.account_found, found.account_missing) == (0, 7, 7, 1)
    assert f"{account_id(14)} and 2 more, see --json" in " ".join(_text(render_plan(found)).split())
    assert [group["to_park"] for group in found.document()["groups"]] == [7]
    forced = plan(resources, _request(is_forced=True), RuleFiles())
    assert (forced.to_replay, forced.to_park) == (8, 0)


def test_a_mirror_that_is_not_there_is_named(resources: ReplayResources, warehouse: Warehouse) -> None:
    """Not the dataset of the dead letters."""
    other = dataclasses.replace(resources, crm_dataset="no_mirror")
    with pytest.raises(WarehouseUnavailable, match=r"is [\w-]+\.no_mirror the dataset"):
        plan(other, _request(), RuleFiles())


def test_a_plan_says_what_would_be_parked(resources: ReplayResources, warehouse: Warehouse) -> None:
    """The plan parks dead letters by the replay's own rule, unless it is forced."""
    often = dead_letter(20, replay_count=3)
    attributes = {"replay_count": "1", "replayed_after": "gemini_timeout@1.0.0"}
    same = dead_letter(21, replay_count=1, source=SourceMessage(payload=payload(), attributes=attributes))
    replace_dead_letters(warehouse, [often, same, dead_letter(22)])
    found = plan(resources, _request(), RuleFiles())
    assert (found.to_replay, found.to_park) == (1, 2)
    assert "assumed, since there are no recent scores" in _text(render_plan(found))
    forced = plan(resources, _request(is_forced=True), RuleFiles())
    assert (forced.to_replay, forced.to_park, forced.sampled) == (3, 0, 3)


def test_one_of_many_processes_gets_the_lease(warehouse: Warehouse) -> None:
    """Of many that try at once one gets the lease; the others learn who holds it, and it is free afterwards."""
    leases = [ReplayLease(warehouse, SCORING_DATASET) for _ in range(6)]

    def take(number: int) -> str:
        try:
            leases[number].take(f"replay-{number}")
        except LeaseTaken as taken:
            return str(taken)
        return ""

    with ThreadPoolExecutor(len(leases)) as pool:
        answers = list(pool.map(take, range(len(leases))))
    (winner,) = (number for number, answer in enumerate(answers) if not answer)
    assert all(f"replay replay-{winner} has the lease until" in answer for answer in answers if answer)
    assert leases[winner].renew() is LeaseState.HELD
    assert {lease.renew() for number, lease in enumerate(leases) if number != winner} == {LeaseState.LOST}
    leases[winner].release()
    other = ReplayLease(warehouse, SCORING_DATASET)
    other.take("next")
    other.release()


def test_a_lease_expires_or_is_taken_over(warehouse: Warehouse) -> None:
    """A dead process does not block replays forever; one that continues later has lost the lease."""
    gone = ReplayLease(warehouse, SCORING_DATASET, seconds=-1)
    gone.take("gone")
    heir = ReplayLease(warehouse, SCORING_DATASET)
    heir.take("heir")
    assert gone.renew() is LeaseState.LOST
    gone.release()
    assert heir.renew() is LeaseState.HELD
    robber = ReplayLease(warehouse, SCORING_DATASET)
    robber.take("robber", take_over=True)
    assert heir.renew() is LeaseState.LOST
    robber.release()


def test_a_replay_that_runs_is_cancelled(resources: ReplayResources, warehouse: Warehouse) -> None:
    """The holder sees the cancellation when it renews the lease; without a running replay nothing is cancelled."""
    assert cancel(resources).document() == {"replay_id": None, "cancelled": False}
    lease = ReplayLease(warehouse, SCORING_DATASET)
    lease.take("r1")
    assert status(resources, "r1").document()["state"] == "running"
    assert cancel(resources).replay_id == "r1"
    assert lease.renew() is LeaseState.CANCELLED
    lease.release()
    found = status(resources, "r1")
    assert found.document()["state"] == "broken off"
    assert "latency is back" in _text(render_status(found))


def test_status_has_the_outcomes_of_dead_letters_that_could_not_be_read(
    resources: ReplayResources, warehouse: Warehouse
) -> None:
    """When they can be read, their events get other ids, so they are found by the published message."""
    start = _journal(warehouse, "r2", UNDECODABLE)
    rows = [
        ledger_row("received", "f" * 32, replay_count=1, message_id="p1"),
        ledger_row("scored", "f" * 32, replay_count=1, message_id="p1"),
    ]
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, rows)
    assert ReplayJournal(warehouse, SCORING_DATASET).outcomes(start) == {"scored": 1}


def test_the_listing_is_readable(resources: ReplayResources) -> None:
    """Class, remedy and total are printed at any width."""
    text = _text(render_listing(list_dead_letters(resources, DeadLetterFilter())))
    assert "gemini_timeout" in text
    assert "4 dead letters" in text


def _text(renderable: Any) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(renderable, crop=False)
    return console.export_text()


def _score(number: int, prompt_tokens: int) -> Score:
    return Score(
        account_id=account_id(number),
        score_id=str(number),
        event_ids=("e",),
        change_committed_at=NOW,
        change_sequence=1,
        scored_at=dt.datetime.now(dt.UTC),
        status=ScoreStatus.SCORED,
        score=50,
        prompt_tokens=prompt_tokens,
        output_tokens=100,
        cost_usd=0.002,
        trace_id="t",
        pipeline_version="1",
    )
