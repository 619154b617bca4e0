"""The timeline of an account."""

import datetime as dt
from typing import Any

from pipeline.scores.account_timeline import AccountTimeline, render
from tests.fixtures.changes import NOW, account_id
from tests.unit.pipeline.terminal.test_tables import shown

EVENT, LETTER = "e" * 32, "d" * 32
MINUTE = dt.timedelta(minutes=1)


def entry(kind: str, what: str, minute: int = 0, **fields: Any) -> dict[str, Any]:
    """Return a row of the query."""
    names = ("dead_letter_id", "replay_id", "why", "stage", "entity_name", "change_type", "committed_at", "score")
    defaults = {"event_id": EVENT, "replay_count": 0, "happened_at": NOW + minute * MINUTE, "tier": None}
    return dict.fromkeys(names) | defaults | {"kind": kind, "what": what} | fields


RECEIVED = entry("event", "received", entity_name="Account", change_type="UPDATE")
FAILED = [
    entry("outcome", "dead_lettered", 1, why="gemini_timeout"),
    entry("dead_letter", "gemini_timeout", 1, dead_letter_id=LETTER, stage="Score accounts", why="no answer"),
]
REPLAYED = [
    entry("replay", "replayed", 2, dead_letter_id=LETTER, replay_id="r1", why="latency is back", replay_count=1),
    RECEIVED | {"replay_count": 1, "happened_at": NOW + 3 * MINUTE},
]
SCORED = [
    entry("outcome", "scored", 4, replay_count=1),
    entry("score", "scored", 4, score=95, tier="hot", why="unchanged_context", replay_count=None),
]


def timeline(*entries: dict[str, Any], **fields: Any) -> AccountTimeline:
    """Return a timeline of account 1."""
    defaults: dict[str, Any] = {
        "account_id": account_id(1),
        "name": "Company 1",
        "mirrored_at": NOW - 60 * MINUTE,
        "mirror_missing": None,
        "read_at": NOW,
        "since": NOW - 60 * MINUTE,
        "current": None,
        "all_entries": len(entries),
        "entries": entries,
    }
    return AccountTimeline(**defaults | fields)


def test_entries_stand_in_their_order_with_the_ids_to_copy() -> None:
    """Of a dead letter it is its own, of a replay the replay's, of everything else the event's."""
    of = timeline(RECEIVED, *FAILED, *REPLAYED, *SCORED, current={"score": 95, "tier": "hot", "scored_at": NOW})
    lines = shown(render(of), None)
    assert lines[:5] == [
        f"Company 1  {account_id(1)}",
        "score             95 hot, just now",
        "mirror            modified 2026-03-02 08:31:00 UTC, 1 hour ago",
        "",
        "7 entries since 2026-03-02 08:31:00 UTC",
    ]
    assert [[cell.strip() for cell in line.split("  ") if cell] for line in lines[5:]] == [
        ["time (UTC)", "what", "id"],
        ["2026-03-02 09:31:00", "received Account UPDATE", EVENT],
        ["2026-03-02 09:32:00", "dead lettered: gemini_timeout", EVENT],
        ["2026-03-02 09:32:00", "dead letter: gemini_timeout at Score accounts: no answer", LETTER],
        ["2026-03-02 09:33:00", "replayed: latency is back, replay 1", "r1"],
        ["2026-03-02 09:34:00", "received Account UPDATE, replay 1", EVENT],
        ["2026-03-02 09:35:00", "scored, replay 1", EVENT],
        ["2026-03-02 09:35:00", "score 95 hot, unchanged_context", EVENT],
    ]


def test_what_waits_for_a_person_is_said() -> None:
    """Dead letters that no replay took, and events without an outcome."""
    waits = timeline(RECEIVED, *FAILED, RECEIVED | {"event_id": "f" * 32})
    assert (waits.waiting, waits.without_outcome) == ([LETTER], ["f" * 32])
    lines = shown(render(waits), 132)
    assert lines[-2:] == [
        f"a dead letter waits: `rescore dead-letters show {LETTER}`",
        "an event has no outcome yet: `rescore reconcile` says whether that is an error",
    ]
    assert waits.document()["dead_letters_waiting"] == [LETTER]
    replayed = timeline(RECEIVED, *FAILED, *REPLAYED)
    assert (replayed.waiting, replayed.without_outcome) == ([], [EVENT])


def test_a_duplicate_is_no_outcome_of_the_event() -> None:
    """It is that of a second delivery."""
    of = timeline(RECEIVED, entry("outcome", "skipped", 1, why="duplicate"))
    assert of.without_outcome == [EVENT]


def test_the_mirror_can_be_missing() -> None:
    """The report says whether it lacks the account or could not be read."""
    lacks = shown(render(timeline(name=None, mirrored_at=None)), 80)
    assert lacks[:3] == [
        f"account  {account_id(1)}",
        "score             none",
        "mirror            has no such account",
    ]
    unread = shown(render(timeline(name=None, mirrored_at=None, mirror_missing="403")), 80)
    assert unread[2] == "mirror            could not be read: 403"


def test_coalesced_changes_name_the_event_they_went_into() -> None:
    """And a limit is said."""
    of = timeline(entry("outcome", "coalesced", why="a" * 32), all_entries=900)
    lines = shown(render(of), 132)
    assert "the newest 1 of 900 entries" in lines[4]
    assert f"coalesced into {'a' * 32}" in lines[6]
