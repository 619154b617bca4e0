"""Which combinations of ledger rows count as one outcome: for any deliveries of an event, and for each rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.failures import ErrorClass
from schemas.outcome import OutcomeKind, SkipReason
from schemas.standing_outcome import (
    DUPLICATE,
    ROW_REJECTED,
    STANDING_KINDS,
    STANDING_ORDER,
    WITH_SCORE_ROW,
    final_outcomes,
    is_contradictory,
    recorded_as,
    standing_outcome,
)
from tests.fixtures.ledger import ledger_row

_FINALS = st.sampled_from([*STANDING_ORDER, "skipped:of_a_later_version", "dead_lettered:of_a_later_version"])
_DELIVERY = st.one_of(
    st.just(frozenset[str]()),  # lost, or still in the pipeline
    st.just(frozenset({DUPLICATE})),
    st.builds(lambda final: frozenset({final}), _FINALS),
    # Beam repeated a bundle: the score's row was inserted once and refused once.
    st.builds(lambda scored: frozenset({scored, ROW_REJECTED}), st.sampled_from(sorted(WITH_SCORE_ROW))),
)
_DELIVERIES = st.lists(_DELIVERY, min_size=1, max_size=6)
"""What each delivery of one event left in the ledger, besides `received`."""


def _recorded(deliveries: list[frozenset[str]]) -> frozenset[str]:
    return frozenset({"received"}).union(*deliveries)


@given(_DELIVERIES)
def test_deliveries_that_leave_one_outcome_each_never_contradict(deliveries: list[frozenset[str]]) -> None:
    """Whatever became of the event each time: after a seek, a new job may decide otherwise."""
    assert not is_contradictory(_recorded(deliveries), len(deliveries))


@given(_DELIVERIES)
def test_one_of_the_outcomes_stands(deliveries: list[frozenset[str]]) -> None:
    """An event has no standing outcome only if each delivery was lost, pending, or dropped as a duplicate."""
    recorded = _recorded(deliveries)
    standing = standing_outcome(recorded)
    assert (standing is None) == (recorded <= {"received", DUPLICATE})
    assert standing is None or standing in recorded


@given(_DELIVERIES, _DELIVERY)
def test_another_delivery_never_makes_an_event_wrong(deliveries: list[frozenset[str]], another: frozenset[str]) -> None:
    """It neither takes the outcome away nor contradicts it; what stands can only move up in the order."""
    before, after = _recorded(deliveries), _recorded([*deliveries, another])
    assert not is_contradictory(after, len(deliveries) + 1)
    if standing := standing_outcome(before):
        now = standing_outcome(after)
        assert now is not None
        if {standing, now} <= set(STANDING_ORDER):
            assert STANDING_ORDER.index(now) <= STANDING_ORDER.index(standing)


@given(st.sets(_FINALS, min_size=2))
def test_two_outcomes_of_one_delivery_contradict_each_other(finals: set[str]) -> None:
    """Unless one is a refused row and the others come with rows of scores."""
    if ROW_REJECTED in finals:
        finals -= WITH_SCORE_ROW
    assert is_contradictory(finals, 1) == (len(finals) > 1)
    assert is_contradictory(finals, 0) == (len(finals) > 1)
    assert is_contradictory(finals, len(finals) - 1) == (len(finals) > 1)
    assert not is_contradictory(finals, len(finals))


@pytest.mark.parametrize(
    ("recorded", "standing"),
    [
        ({"scored", "skipped:unchanged_context"}, "scored"),
        ({"scored", "skipped:stale"}, "scored"),
        ({"scored", "coalesced"}, "scored"),
        ({"scored", DUPLICATE}, "scored"),
        ({"scored", "skipped:immaterial"}, "scored"),
        ({"scored", "dead_lettered:gemini_unavailable"}, "scored"),
        ({"tombstoned", "dead_lettered:bigquery_unavailable"}, "tombstoned"),
        ({"coalesced", "skipped:unchanged_context"}, "skipped:unchanged_context"),
        ({"skipped:stale", "dead_lettered:gemini_timeout"}, "skipped:stale"),
        ({"dead_lettered:gemini_timeout", "dead_lettered:invalid_score"}, "dead_lettered:gemini_timeout"),
        ({"scored", ROW_REJECTED}, ROW_REJECTED),
        ({DUPLICATE}, None),
        (set(), None),
    ],
)
def test_after_a_second_delivery_the_better_outcome_stands(recorded: set[str], standing: str | None) -> None:
    """A change that has its score was scored, whatever happened when it was delivered again."""
    assert standing_outcome(recorded) == standing
    assert not is_contradictory(recorded, 2)


def test_the_order_has_every_outcome_once() -> None:
    """Each kind, with each reason that it can have; the order is total."""
    kinds = [str(it) for it in OutcomeKind if it not in {"received", "skipped", "dead_lettered"}]
    skipped = [f"skipped:{it}" for it in SkipReason if it is not SkipReason.DUPLICATE]
    dead_lettered = [f"dead_lettered:{it}" for it in ErrorClass]
    assert sorted(STANDING_ORDER) == sorted([*kinds, *skipped, *dead_lettered])
    assert sorted(STANDING_KINDS) == sorted(str(it) for it in OutcomeKind if it is not OutcomeKind.RECEIVED)
    assert (STANDING_KINDS[0], STANDING_KINDS[-1]) == ("scored", "dead_lettered")


def test_an_outcome_has_its_reason_in_its_text() -> None:
    """As the query writes it."""
    for text in ("scored", "skipped:stale", "dead_lettered:gemini_timeout"):
        assert recorded_as(ledger_row(text, "e")) == text
    assert final_outcomes(["received", "scored", "scored"]) == {"scored"}
