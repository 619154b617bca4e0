"""`rescore scores` and `rescore account` over a warehouse: what is read, whatever the order of arrival."""

import datetime as dt
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.dead_letters.replay import journal_entry
from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from pipeline.scores.account_score import AccountScore, read_account_score
from pipeline.scores.account_timeline import AccountTimeline, read_account_timeline
from pipeline.scores.score_list import ScoreRequest, list_scores
from pipeline.scores.score_sources import ScoreSources
from schemas.account_context import AccountProfile
from schemas.dead_letter import dead_letter_row
from schemas.outcome import Outcome
from schemas.replay import DeadLetterReplay, JournalEntry
from schemas.score import Score, Tier
from schemas.tables import ACCOUNT_SCORES, ACCOUNTS, CHANGE_OUTCOMES, DEAD_LETTERS
from tests.fixtures.changes import account_id
from tests.fixtures.dead_letters import dead_letter, held
from tests.fixtures.examples import examples
from tests.fixtures.ledger import ledger_row
from tests.fixtures.scores import score_row
from transforms.clients.bigquery import Warehouse
from transforms.errors import WarehouseUnavailable

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
WEEK_AGO = NOW - 7 * DAY
TABLE_ROWS = 500


@pytest.fixture(scope="module")
def sources(warehouse: Warehouse) -> ScoreSources:
    """Return the datasets of a warehouse whose mirror has the accounts 1 to 5."""
    names = [AccountProfile(account_id=account_id(it), name=f"Company {it}", modified_at=NOW) for it in range(1, 6)]
    warehouse.replace_rows(CRM_DATASET, ACCOUNTS, names)
    return ScoreSources(warehouse.project, SCORING_DATASET, CRM_DATASET)


def _store(warehouse: Warehouse, *rows: Score) -> None:
    warehouse.replace_rows(SCORING_DATASET, ACCOUNT_SCORES, rows)


def _list(sources: ScoreSources, limit: int = 20, **request: Any) -> dict[str, Any]:
    return list_scores(sources, ScoreRequest(limit, **request), now=lambda: NOW).document()


def test_the_highest_current_scores_are_listed(warehouse: Warehouse, sources: ScoreSources) -> None:
    """With the names of the mirror; a limit leaves the rest out, and says how many there are."""
    _store(
        warehouse,
        score_row(1, 95, NOW - 2 * DAY),
        score_row(1, 30, NOW - DAY),
        *(score_row(2, 80, NOW - DAY) for _ in range(2)),
        score_row(3, 60, NOW - DAY),
        score_row(4, 99, NOW - DAY, shadow=True),
        score_row(5, 90, NOW - 2 * DAY),
        score_row(5, None, NOW - DAY),
        score_row(9, 55, NOW - DAY),
    )
    document = _list(sources)
    assert [(it["account_id"], it["score"], it["name"]) for it in document["scores"]] == [
        (account_id(2), 80, "Company 2"),
        (account_id(3), 60, "Company 3"),
        (account_id(9), 55, None),
        (account_id(1), 30, "Company 1"),
    ]
    assert (document["accounts"], document["names_missing"]) == (4, None)
    assert [it["factor"] for it in document["scores"][0]["drivers"]] == ["Favourable tone", "Silence"]
    cut = _list(sources, limit=1)
    assert (cut["accounts"], len(cut["scores"])) == (4, 1)
    warm = _list(sources, tiers=(Tier.WARM, Tier.COLD))
    assert [it["account_id"] for it in warm["scores"]] == [account_id(3), account_id(9)]
    assert _list(sources, tiers=(Tier.COLD,))["accounts"] == 0


def test_without_the_mirror_names_are_missing_and_scores_are_not(warehouse: Warehouse, sources: ScoreSources) -> None:
    """Whoever reads scores need not be allowed to read the mirror; the reason is given."""
    _store(warehouse, score_row(1, 80, NOW - DAY))
    document = _list(replace_mirror(sources))
    assert [(it["score"], it["name"]) for it in document["scores"]] == [(80, None)]
    assert "no_such_mirror.accounts" in document["names_missing"]


def replace_mirror(sources: ScoreSources) -> ScoreSources:
    """Return sources whose mirror does not exist."""
    return ScoreSources(sources.project, sources.dataset, "no_such_mirror")


def test_a_dataset_without_scores_is_an_error(sources: ScoreSources) -> None:
    """It is not an empty list; the message names the dataset."""
    with pytest.raises(WarehouseUnavailable, match="no_such_scores the dataset"):
        _list(ScoreSources(sources.project, "no_such_scores", "crm"))


def test_scores_that_moved_are_listed_by_the_size_of_the_movement(warehouse: Warehouse, sources: ScoreSources) -> None:
    """Compared with what was current then: first scores, deleted accounts and scores that came back are left out."""
    _store(
        warehouse,
        score_row(1, 40, NOW - 9 * DAY),
        score_row(1, 50, NOW - 3 * DAY),
        score_row(1, 55, NOW - 2 * DAY, changed_fields=("Industry",)),
        score_row(2, 90, NOW - 9 * DAY),
        score_row(2, 20, NOW - DAY, prompt_version="v3"),
        score_row(3, 70, NOW - 9 * DAY),
        score_row(3, 20, NOW - 2 * DAY),
        score_row(3, 70, NOW - DAY),
        score_row(4, 99, NOW - DAY),
        score_row(5, 90, NOW - 9 * DAY),
        score_row(5, None, NOW - DAY),
    )
    document = _list(sources, moved_since=WEEK_AGO)
    assert [(it["name"], it["previous_score"], it["score"], it["difference"]) for it in document["scores"]] == [
        ("Company 2", 90, 20, -70),
        ("Company 1", 40, 55, 15),
    ]
    assert [(it["cause"], it["previous_tier"]) for it in document["scores"]] == [("prompt", "hot"), ("facts", "cool")]
    assert document["scores"][1]["moved_by_fields"] == ["Industry"]
    assert document["scores"][1]["moved_at"] == NOW - 2 * DAY
    assert document["first_scored_since"] == 1
    hot = _list(sources, moved_since=WEEK_AGO, tiers=(Tier.COLD,))
    assert [it["name"] for it in hot["scores"]] == ["Company 2"]


_ROWS = st.lists(
    st.tuples(
        st.integers(0, 5),  # day of the change
        st.integers(0, 3),  # days until it was scored
        st.sampled_from([None, 10, 20, 30]),
    ),
    max_size=5,
    unique_by=lambda row: row[0],
)


@examples(HealthCheck.function_scoped_fixture, ordinary=5, slow=50)
@given(histories=st.lists(_ROWS, min_size=40, max_size=40), seed=st.integers(0, 2**32))
def test_movements_do_not_depend_on_arrival(
    warehouse: Warehouse, sources: ScoreSources, histories: list[list[tuple[int, int, int | None]]], seed: int
) -> None:
    """For random histories, late and repeated rows: the current score now and then, by the plain rule."""
    rows = [[_scored(number, *row) for row in history] for number, history in enumerate(histories, start=10)]
    arrived = [row for history in rows for row in history]
    arrived += random.Random(seed).choices(arrived, k=len(arrived) // 3) if arrived else []
    random.Random(seed).shuffle(arrived)
    _store(warehouse, *arrived)
    expected = {}
    for history in rows:
        before, now = _current([row for row in history if row.scored_at < WEEK_AGO]), _current(history)
        if before is not None and now is not None and before != now:
            expected[history[0].account_id] = (before, now)
    document = _list(sources, limit=TABLE_ROWS, moved_since=WEEK_AGO)
    assert {it["account_id"]: (it["previous_score"], it["score"]) for it in document["scores"]} == expected


def _scored(number: int, day: int, delay: int, score: int | None) -> Score:
    changed = NOW - 10 * DAY + day * DAY
    row = score_row(number, score, changed + delay * DAY + dt.timedelta(hours=1))
    return replace(row, score_id=f"{number}-{day}", change_committed_at=changed)


def _current(rows: Sequence[Score]) -> int | None:
    newest = max(rows, key=lambda row: row.change_committed_at, default=None)
    return newest.score if newest else None


def _account(sources: ScoreSources, number: int, limit: int = 20) -> AccountScore:
    return read_account_score(sources, account_id(number), limit, now=lambda: NOW)


def test_an_account_has_its_score_and_its_history(warehouse: Warehouse, sources: ScoreSources) -> None:
    """The newest change is first, also if it was scored earlier; a limit says how many there are."""
    late = score_row(1, 10, NOW - DAY, change_committed_at=NOW - 8 * DAY, score_id="late")
    _store(warehouse, late, score_row(1, 40, NOW - 9 * DAY), score_row(1, 70, NOW - 2 * DAY), score_row(2, 5, NOW))
    document = _account(sources, 1).document()
    assert (document["name"], document["current"]["score"], document["movements"]) == ("Company 1", 70, 3)
    assert [(it["score"], it["previous_score"], it["cause"]) for it in document["history"]] == [
        (70, 10, "facts"),
        (10, 40, "facts"),
        (40, None, "first_score"),
    ]
    assert document["current"]["recommended_action"] == "Call the decision maker"
    assert len(_account(sources, 1, limit=1).history) == 1


def test_a_deleted_account_has_no_score(warehouse: Warehouse, sources: ScoreSources) -> None:
    """And a history."""
    _store(warehouse, score_row(1, 40, NOW - 2 * DAY), score_row(1, None, NOW - DAY))
    document = _account(sources, 1).document()
    assert document["current"] is None
    assert [it["cause"] for it in document["history"]] == ["deleted", "first_score"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(1, "is in the mirror and has no score"), (9, "the mirror has no such account: is the id right")],
)
def test_an_account_without_a_score_is_refused(
    warehouse: Warehouse, sources: ScoreSources, number: int, remedy: str
) -> None:
    """The message says whether the mirror has it, and what to do."""
    _store(warehouse, score_row(2, 40, NOW - DAY))
    with pytest.raises(ValueError, match=remedy):
        _account(sources, number)
    with pytest.raises(ValueError, match="has no score of the last 400 days: is the id right"):
        read_account_score(replace_mirror(sources), account_id(number), 5)


LETTER = dead_letter(1, failed_at=NOW - 3 * DAY, first_failed_at=NOW - 3 * DAY)
EVENT = LETTER.event_id


@pytest.fixture
def timeline_rows(warehouse: Warehouse) -> None:
    """Store an event of account 1 that failed, was replayed and scored; every row twice, and rows of others."""
    _store(warehouse, *(score_row(1, 70, NOW - DAY, event_ids=(EVENT,)) for _ in range(2)), score_row(2, 5, NOW))
    ledger = [
        _outcome("received", 4, entity_name="Account", change_type="UPDATE"),
        _outcome("dead_lettered:gemini_timeout", 3),
        _outcome("received", 1.5, replay_count=1),
        _outcome("scored", 1, replay_count=1),
        _outcome("received", 40, message_id="an older message"),
        ledger_row("received", "f" * 32, account_id=account_id(2), recorded_at=NOW),
    ]
    warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, [*ledger, *ledger])
    other = dead_letter(2, failed_at=NOW - DAY)
    rows = [dead_letter_row(it) for it in (LETTER, LETTER, other)]
    warehouse.replace_rows(SCORING_DATASET, DEAD_LETTERS, rows)
    start = DeadLetterReplay(
        entry_id="-",
        replay_id="r1",
        entry=JournalEntry.STARTED,
        recorded_at=NOW,
        actor="night@shift",
        reason="latency is back",
        letter_filter="{}",
        rate=1.0,
    )
    journal = ReplayJournal(warehouse, SCORING_DATASET, now=lambda: NOW - 2 * DAY)
    journal.write(start, JournalEntry.LETTERS, [journal_entry(held(it), "p1", None) for it in (LETTER, other)])


def _outcome(outcome: str, days: float, **fields: Any) -> Outcome:
    return ledger_row(outcome, EVENT, recorded_at=NOW - days * DAY, **fields)


def _timeline(sources: ScoreSources, number: int, days: int, limit: int = 200) -> AccountTimeline:
    return read_account_timeline(sources, account_id(number), NOW - days * DAY, limit, now=lambda: NOW)


@pytest.mark.usefixtures("timeline_rows")
def test_an_account_has_its_entries_by_time(sources: ScoreSources) -> None:
    """Each once, within the period, of this account only; the ids lead to the dead letter and the replay."""
    document = _timeline(sources, 1, 30).document()
    assert [(it["kind"], it["what"], it["why"], it["replay_count"]) for it in document["entries"]] == [
        ("event", "received", None, 0),
        ("outcome", "dead_lettered", "gemini_timeout", 0),
        ("dead_letter", "gemini_timeout", LETTER.error_message, 0),
        ("replay", "replayed", "latency is back", 1),
        ("event", "received", None, 1),
        ("outcome", "scored", None, 1),
        ("score", "scored", "", None),
    ]
    ids = {it["dead_letter_id"] for it in document["entries"] if it["dead_letter_id"]}
    assert ids == {dead_letter_row(LETTER).dead_letter_id}
    assert [it["replay_id"] for it in document["entries"] if it["replay_id"]] == ["r1"]
    assert (document["score"], document["dead_letters_waiting"], document["events_without_outcome"]) == (70, [], [])
    assert (document["all_entries"], document["name"]) == (7, "Company 1")
    assert _timeline(sources, 1, 50).all_entries == 8
    newest = _timeline(sources, 1, 30, limit=2).document()
    assert [it["kind"] for it in newest["entries"]] == ["outcome", "score"]
    assert newest["all_entries"] == 7


@pytest.mark.usefixtures("timeline_rows")
def test_an_account_of_which_nothing_is_known_is_refused(sources: ScoreSources) -> None:
    """One that is in the mirror has an empty timeline."""
    with pytest.raises(ValueError, match=f"nothing is known of account {account_id(9)}.*is the id right"):
        _timeline(sources, 9, 30)
    assert _timeline(sources, 3, 30).document()["entries"] == []
