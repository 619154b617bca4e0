"""What became of dead letters, as `dead-letters list` says it; past replays; values that no dead letter has."""

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter
from pipeline.dead_letters.list_dead_letters import SHORT_ID, known_filter, list_dead_letters, render
from pipeline.dead_letters.list_replays import list_replays
from pipeline.dead_letters.list_replays import render as render_replays
from pipeline.dead_letters.replay import journal_entry
from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.dead_letters.replay_lease import ReplayLease
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.dead_letters.status import status
from pipeline.resources.names import SCORING_DATASET
from schemas.dead_letter import DeadLetter, dead_letter_row
from schemas.failures import ErrorClass
from schemas.outcome import Outcome
from schemas.replay import DeadLetterReplay, JournalEntry
from schemas.tables import CHANGE_OUTCOMES, DEAD_LETTER_REPLAYS, DEAD_LETTERS
from tests.fixtures.changes import NOW, account_id
from tests.fixtures.dead_letters import dead_letter, held
from tests.fixtures.ledger import ledger_row
from tests.integration.replay_resources import replace_dead_letters
from tests.unit.pipeline.terminal.test_tables import shown
from transforms.clients.bigquery import Warehouse

HOUR = dt.timedelta(hours=1)
WAITING, PENDING, AGAIN, SCORED, LATER, COALESCED, PARKED = (dead_letter(number) for number in range(7))
UNREADABLE = dead_letter(
    7, error_class=ErrorClass.UNDECODABLE, stage="Parse change events", account_id=None, prompt_version=None
)
AGAIN_AS = dead_letter(2, failed_at=NOW + 3 * HOUR, replay_count=1)
REPLAYED = (PENDING, AGAIN, SCORED, LATER, COALESCED, UNREADABLE)


@pytest.fixture(scope="module")
def resources(warehouse: Warehouse) -> ReplayResources:
    """Return tables with a dead letter in each state, each row twice; two replays took them."""
    everything = [WAITING, *REPLAYED, PARKED, AGAIN_AS]
    replace_dead_letters(warehouse, [*everything, *everything], model="gemini-x")
    _journal(warehouse, "r1", NOW + HOUR, REPLAYED, end=JournalEntry.FINISHED)
    _journal(warehouse, "r2", NOW + 2 * HOUR, [PARKED], parked="replayed 3 times")
    ledger = [
        _outcome(PENDING, "received"),
        _outcome(AGAIN, "dead_lettered:gemini_timeout"),
        _outcome(SCORED, "scored"),
        _outcome(LATER, "dead_lettered:gemini_timeout"),
        _outcome(LATER, "scored", replay_count=2),
        # It was published before the journal was written.
        _outcome(COALESCED, "coalesced", recorded_at=NOW + HOUR - dt.timedelta(seconds=9)),
        # In the first delivery it was no JSON: now it is, and has another event id.
        ledger_row("scored", "f" * 32, replay_count=1, message_id="p7", recorded_at=NOW + 2 * HOUR),
        # A second delivery of a pending change, and the outcome before the replay of another.
        _outcome(PENDING, "skipped:duplicate"),
        _outcome(WAITING, "dead_lettered:gemini_timeout", replay_count=0),
    ]
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, [*ledger, *ledger])
    return ReplayResources(warehouse.project)


def _outcome(of: DeadLetter, outcome: str, **fields: Any) -> Outcome:
    of_replay = {"account_id": of.account_id, "replay_count": 1, "recorded_at": NOW + 2 * HOUR}
    return ledger_row(outcome, of.event_id, **of_replay | fields)


def _journal(
    warehouse: Warehouse,
    replay_id: str,
    at: dt.datetime,
    taken: Sequence[DeadLetter],
    *,
    end: JournalEntry | None = None,
    parked: str | None = None,
) -> None:
    start = DeadLetterReplay(
        entry_id="-",
        replay_id=replay_id,
        entry=JournalEntry.STARTED,
        recorded_at=at,
        actor="night@shift",
        reason="latency \x1b[31mis back",
        letter_filter="{}",
        rate=1.0,
    )
    times = iter(at + dt.timedelta(seconds=number) for number in range(9))
    journal = ReplayJournal(warehouse, SCORING_DATASET, now=lambda: next(times))
    journal.write(start, JournalEntry.STARTED)
    entries = [journal_entry(held(it), f"p{int(it.event_id, 16) % 100}", parked) for it in taken]
    journal.write(start, JournalEntry.LETTERS, entries, came_back=1)
    if end:
        journal.write(start, end, came_back=1, message="no dead letter is left")


def _id(of: DeadLetter) -> str:
    return dead_letter_row(of).dead_letter_id


STATES = {
    _id(WAITING): "waiting",
    _id(PENDING): "pending",
    _id(AGAIN): "failed_again",
    _id(AGAIN_AS): "waiting",
    _id(PARKED): "parked",
}
ENDED = {_id(SCORED): "scored", _id(LATER): "scored", _id(COALESCED): "coalesced", _id(UNREADABLE): "scored"}


def test_each_dead_letter_has_its_state(resources: ReplayResources) -> None:
    """By its change in that replay or a later one, or by the published message; the newest is first."""
    found = list_dead_letters(resources, DeadLetterFilter(), with_ended=True, each=100).document()
    assert {it["dead_letter_id"]: it["state"] for it in found["each"]} == STATES | ENDED
    assert found["letters"] == len(found["each"]) == len(STATES | ENDED)
    newest = found["each"][0]
    assert (newest["dead_letter_id"], newest["account_id"], newest["replay_count"]) == (_id(AGAIN_AS), account_id(2), 1)
    (scored,) = (it for it in found["each"] if it["dead_letter_id"] == _id(SCORED))
    assert (scored["replay_id"], scored["replayed_at"]) == ("r1", NOW + HOUR + dt.timedelta(seconds=1))
    (parked,) = (it for it in found["each"] if it["dead_letter_id"] == _id(PARKED))
    assert parked["parked_because"] == "replayed 3 times"


def test_what_was_replayed_and_scored_leaves_the_list(resources: ReplayResources) -> None:
    """The list counts what it leaves out; the counts by state add up to the group's."""
    found = list_dead_letters(resources, DeadLetterFilter(), each=100).document()
    assert {it["dead_letter_id"]: it["state"] for it in found["each"]} == STATES
    (group,) = found["groups"]
    assert (found["letters"], found["left_out"], group["replayed"], group["accounts"]) == (5, 4, 3, 4)
    assert {state: count for state, count in group["states"].items() if count} == {
        "waiting": 2,
        "parked": 1,
        "pending": 1,
        "failed_again": 1,
    }
    assert sum(group["states"].values()) == group["letters"]
    assert group["last_failed_at"] == AGAIN_AS.failed_at
    everything = list_dead_letters(resources, DeadLetterFilter(), with_ended=True)
    assert [sum(group.states.values()) for group in everything.groups] == [8, 1]
    assert (everything.dead_letters, everything.left_out) == (9, 0)


def test_a_filter_and_a_limit_apply_to_each(resources: ReplayResources) -> None:
    """A group of which all is left out is not listed; --not-replayed leaves out what any replay took."""
    waiting = list_dead_letters(resources, DeadLetterFilter(is_not_replayed=True), each=1)
    assert (waiting.dead_letters, waiting.left_out) == (2, 0)
    assert waiting.each is not None
    assert [it["dead_letter_id"] for it in waiting.each] == [_id(AGAIN_AS)]
    undecodable = list_dead_letters(resources, DeadLetterFilter(error_classes=("undecodable",)))
    assert (undecodable.groups, undecodable.left_out) == ((), 1)
    late = list_dead_letters(resources, DeadLetterFilter(since=NOW + HOUR), with_ended=True, each=9)
    assert (late.dead_letters, late.document()["each"][0]["dead_letter_id"]) == (1, _id(AGAIN_AS))


def test_without_replays_everything_waits(resources: ReplayResources, warehouse: Warehouse) -> None:
    """No outcome is looked up then."""
    journal = warehouse.query(f"SELECT * FROM `{warehouse.project}.{SCORING_DATASET}.dead_letter_replays`")  # noqa: S608 - our own names
    warehouse.replace_rows(SCORING_DATASET, DEAD_LETTER_REPLAYS, [])
    try:
        found = list_dead_letters(resources, DeadLetterFilter(), each=100).document()
    finally:
        kept = [json.loads(json.dumps(dict(row), default=str)) for row in journal]
        warehouse.insert_rows(SCORING_DATASET, DEAD_LETTER_REPLAYS, {row["entry_id"]: row for row in kept})
    assert {it["state"] for it in found["each"]} == {"waiting"}
    assert (found["letters"], found["left_out"]) == (9, 0)


@pytest.mark.parametrize("width", [40, 60, 80, None])
def test_the_lists_are_readable_at_any_width(resources: ReplayResources, width: int | None) -> None:
    """Ids, classes and accounts are whole; what was left out is said; no control character is printed."""
    found = list_dead_letters(resources, DeadLetterFilter(), each=100)
    each = shown(render(found), width)
    for id_ in STATES:
        assert any(id_[:SHORT_ID] in line for line in each)
    text = " ".join(line.strip() for line in each)
    for said in ("gemini_timeout", account_id(1), "parked: replayed 3 times", "failed again", "5 dead letters"):
        assert said in text
    groups = " ".join(shown(render(list_dead_letters(resources, DeadLetterFilter())), width))
    assert ErrorClass.GEMINI_TIMEOUT.remedy.split()[0] in groups
    assert "`--all` lists them" in groups
    replays = "\n".join(shown(render_replays(list_replays(resources, NOW, 20)), width))
    assert "r1" in replays
    assert "\x1b" not in replays


def test_past_replays_are_listed(resources: ReplayResources, warehouse: Warehouse) -> None:
    """Who, when, why, the counts and the state; the last one is first, and one that runs says so."""
    lease = ReplayLease(warehouse, SCORING_DATASET)
    lease.take("r2")
    try:
        document = list_replays(resources, NOW, 20).document()
    finally:
        lease.release()
    keys = ("replay_id", "state", "actor", "started_at", "replayed", "parked", "came_back")
    assert [tuple(it[name] for name in keys) for it in document["replays"]] == [
        ("r2", "running", "night@shift", NOW + 2 * HOUR, 0, 1, 1),
        ("r1", "finished", "night@shift", NOW + HOUR, 6, 0, 1),
    ]
    assert list_replays(resources, NOW, 20).document()["replays"][0]["state"] == "broken off"
    cut = list_replays(resources, NOW, 1)
    assert (len(cut.replays), cut.all_replays) == (1, 2)
    none = list_replays(resources, NOW + 9 * HOUR, 20)
    assert none.document()["replays"] == []
    assert shown(render_replays(none), 80) == ["no replay since 2026-03-02 18:31:00 UTC"]


def test_an_unknown_replay_is_refused(resources: ReplayResources) -> None:
    """It is not the same as none."""
    with pytest.raises(ValueError, match="no replay 'nope': `rescore dead-letters replays` lists them"):
        status(resources, "nope")
    assert status(resources, "r1").document()["state"] == "finished"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stages": ("Score acounts",)}, "--stage is 'Score acounts': expected one of Parse .*mean 'Score accounts'"),
        ({"models": ("gemini-z",)}, "--model is 'gemini-z': no dead letter has it, they have gemini-x; did you mean"),
        ({"pipeline_versions": ("7",)}, "--pipeline-version is '7': no dead letter has it, they have 1.0.0"),
    ],
)
def test_values_that_no_dead_letter_has_are_refused(
    resources: ReplayResources, fields: dict[str, tuple[str, ...]], message: str
) -> None:
    """A typing error must not look like an empty list; the message has the values there are."""
    with pytest.raises(ValueError, match=message):
        known_filter(resources, DeadLetterFilter(**fields))  # type: ignore[arg-type] # of different fields


def test_known_values_are_taken(resources: ReplayResources, warehouse: Warehouse) -> None:
    """Also a step's label of which there is no dead letter, and any model if there are no dead letters at all."""
    asked = DeadLetterFilter(stages=("score accounts", "Write scores"), models=("gemini-x",))
    known = known_filter(resources, asked)
    assert (known.stages, known.models) == (("Score accounts", "Write scores"), ("gemini-x",))
    rows = warehouse.query(f"SELECT * FROM `{warehouse.project}.{SCORING_DATASET}.dead_letters`")  # noqa: S608 - our own names
    warehouse.replace_rows(SCORING_DATASET, DEAD_LETTERS, [])
    try:
        assert known_filter(resources, DeadLetterFilter(models=("gemini-z",))).models == ("gemini-z",)
    finally:
        kept = [json.loads(json.dumps(dict(row), default=str)) for row in rows]
        warehouse.insert_rows(SCORING_DATASET, DEAD_LETTERS, {str(number): row for number, row in enumerate(kept)})
