"""A replay with fakes: what it publishes, acknowledges, nacks and parks, where it may be killed, and its rate."""

import threading
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter
from pipeline.dead_letters.held_dead_letter import REPLAYED_OFTEN, SAME_AGAIN, HeldDeadLetter, replayed_message
from pipeline.dead_letters.replay import Memory, Replay, Totals, batch_size
from pipeline.dead_letters.replay_lease import LeaseState
from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from schemas.replay import Disposition, JournalEntry
from tests.fixtures.changes import account_id
from tests.fixtures.dead_letters import (
    RESOURCES,
    Fakes,
    Killed,
    dead_letter,
    failed_again,
    held,
    replay_with,
)
from transforms.clients.messages import Message


def test_every_dead_letter_is_published_once_and_acknowledged() -> None:
    """With its payload; nothing is left on the subscription, and the journal has them all."""
    dead_letters = [dead_letter(number) for number in range(120)]
    fakes = Fakes(held(it) for it in dead_letters)
    ending = replay_with(fakes).run()
    assert ending.entry is JournalEntry.FINISHED
    assert sorted(fakes.publisher.payloads().elements()) == sorted(it.source.payload for it in dead_letters)
    assert fakes.hold.is_empty
    assert sorted(it.event_id for it in fakes.journal.replayed) == sorted(it.event_id for it in dead_letters)


def test_publish_then_journal_then_acknowledge() -> None:
    """In this order, batch by batch: killed anywhere, a dead letter is published twice and never lost."""
    fakes = Fakes(held(it) for it in (dead_letter(1), dead_letter(2)))
    replay_with(fakes, max_batch=1).run()
    assert fakes.calls.made == ["publish", "journal", "acknowledge"] * 2 + ["journal"]


@pytest.mark.parametrize("kill_after", [False, True])
@pytest.mark.parametrize("kill_at", range(1, 14))
def test_a_replay_killed_at_any_call_loses_nothing(kill_at: int, kill_after: bool) -> None:  # noqa: FBT001
    """Before and after each call that changes something; resumed, all are published, and none more than twice."""
    dead_letters = [dead_letter(number, error_class=ErrorClass.MISSING_SCORE) for number in range(8)]
    dead_letters += [failed_again(_replayed(it), it) for it in (dead_letter(50), dead_letter(51))]
    fakes = Fakes(held(it) for it in dead_letters)
    fakes.calls.kill_at, fakes.calls.kill_after = kill_at, kill_after
    with pytest.raises(Killed):
        replay_with(fakes, max_batch=3).run()
    fakes.calls.kill_at = None
    fakes.hold.expire()
    ending = _resumed(fakes).run()
    assert ending.entry is JournalEntry.FINISHED
    assert fakes.hold.is_empty
    published = fakes.publisher.payloads() + fakes.publisher.payloads(RESOURCES.parking_lot_path)
    assert set(published) == {it.source.payload for it in dead_letters}
    assert max(published.values()) <= 2
    assert sum(count - 1 for count in published.values()) <= 3


def test_dead_letters_that_don_t_match_are_nacked_and_delay_no_others() -> None:
    """Although the subscription delivers them first again and again, those behind them that match are replayed."""
    others = [held(dead_letter(number, error_class=ErrorClass.UNDECODABLE)) for number in range(40)]
    matching = [held(dead_letter(number)) for number in range(100, 110)]
    fakes = Fakes([*others, *matching])
    replay = replay_with(fakes, DeadLetterFilter(error_classes=("gemini_timeout",)), max_batch=5)
    assert replay.run().entry is JournalEntry.FINISHED
    assert replay.totals.replayed == len(matching)
    assert replay.totals.nacked == len(others)
    assert {it.message_id for it in fakes.hold.waiting} == {it.message_id for it in others}
    assert not fakes.hold.leased
    assert not fakes.hold.extended


def test_a_limit_is_kept() -> None:
    """The rest stays on the subscription."""
    fakes = Fakes(held(dead_letter(number)) for number in range(30))
    replay = replay_with(fakes, max_letters=7)
    assert replay.run().message == "the limit of 7 dead letters is reached"
    assert replay.totals.replayed == 7
    assert len(fakes.hold.waiting) == 23


def test_poison_is_parked_and_delays_no_others() -> None:
    """What failed again in the same way, or was replayed too often, goes to the parking lot with the reason."""
    often = dead_letter(2, source=SourceMessage(payload=b"often", attributes={"replay_count": "3"}), replay_count=3)
    same = failed_again(_replayed(dead_letter(1)), dead_letter(1))
    fine = dead_letter(3)
    fakes = Fakes([held(same), held(often), held(fine)])
    replay = replay_with(fakes)
    replay.run()
    assert (replay.totals.replayed, replay.totals.parked) == (1, 2)
    assert list(fakes.publisher.payloads()) == [fine.source.payload]
    parked = fakes.publisher.published[RESOURCES.parking_lot_path]
    assert {message.attributes["parked_because"] for message in parked} == {SAME_AGAIN, REPLAYED_OFTEN}
    assert fakes.hold.is_empty


def test_force_parks_nothing() -> None:
    """Everything goes back to its topic."""
    fakes = Fakes([held(failed_again(_replayed(dead_letter(1)), dead_letter(1)))])
    replay_with(fakes, is_forced=True).run()
    assert list(fakes.publisher.published) == [RESOURCES.topic_path]
    assert fakes.publisher.published[RESOURCES.topic_path][0].attributes["replay_count"] == "2"


def test_what_comes_back_is_not_replayed_twice_in_one_replay() -> None:
    """It is counted, and stays for the next replay."""
    first = dead_letter(1)
    fakes = Fakes([held(first), held(failed_again(_replayed(first), first, pipeline_version="1.0.1"))])
    replay = replay_with(fakes, max_batch=1)
    replay.run()
    assert replay.totals.replayed == 1
    assert replay.totals.came_back == 1
    assert len(fakes.hold.waiting) == 1


def test_a_replay_stops_when_much_comes_back() -> None:
    """The table counts failures before the subscription delivers them; the rest stays on the subscription."""
    fakes = Fakes(held(dead_letter(number)) for number in range(60))
    replay = replay_with(fakes, max_batch=30)
    fakes.journal.failed_again = 20
    _check_after_each_batch(replay)
    ending = replay.run()
    assert ending.entry is JournalEntry.STOPPED
    assert ending.message == (
        "20 of 30 replayed dead letters failed again, 67%: their cause still exists (a replay stops above 20%)"
    )
    assert len(fakes.hold.waiting) == 30


def test_the_first_batch_is_judged() -> None:
    """A slow replay of a few dead letters that all fail again stops after its first batch."""
    fakes = Fakes(held(dead_letter(number)) for number in range(8))
    replay = replay_with(fakes, max_batch=2)
    fakes.journal.failed_again = 2
    _check_after_each_batch(replay)
    assert replay.run().entry is JournalEntry.STOPPED
    assert (replay.totals.replayed, len(fakes.hold.waiting)) == (2, 6)


def test_dead_letters_whose_account_is_still_missing_stay() -> None:
    """They would fail again, and in the end be parked; the others are replayed."""
    not_found = [dead_letter(number, error_class=ErrorClass.ACCOUNT_NOT_FOUND) for number in range(6)]
    other = dead_letter(7)
    here = {account_id(number) for number in range(4)}
    asked: list[str] = []

    def missing_accounts(account_ids: Collection[str]) -> frozenset[str]:
        asked.extend(account_ids)
        return frozenset(account_ids) - here

    fakes = Fakes(held(it) for it in [*not_found, other])
    replay = replay_with(fakes, missing_accounts=missing_accounts)
    ending = replay.run()
    assert ending.entry is JournalEntry.FINISHED
    assert ending.message == ("no dead letter is left that matches; 2 wait until the CRM mirror has their accounts")
    assert (replay.totals.replayed, replay.totals.account_missing) == (5, 2)
    assert len(fakes.hold.waiting) == 2
    assert not fakes.hold.leased
    assert account_id(7) not in asked
    forced = replay_with(fakes, missing_accounts=missing_accounts, is_forced=True)
    forced.run()
    assert (forced.totals.replayed, forced.totals.account_missing) == (2, 0)


@pytest.mark.parametrize(
    ("state", "entry"), [(LeaseState.CANCELLED, JournalEntry.CANCELLED), (LeaseState.LOST, JournalEntry.STOPPED)]
)
def test_a_replay_that_is_cancelled_or_lost_its_lease_stops(state: LeaseState, entry: JournalEntry) -> None:
    """Between two batches, with no message leased."""
    fakes = Fakes(held(dead_letter(number)) for number in range(60))
    fakes.lease.states = [state]
    replay = replay_with(fakes, max_batch=30)
    _check_after_each_batch(replay)
    assert replay.run().entry is entry
    assert len(fakes.hold.waiting) == 30
    assert not fakes.hold.leased


def test_ctrl_c_ends_after_the_batch() -> None:
    """What was published is acknowledged, and the rest stays on the subscription."""
    fakes = Fakes(held(dead_letter(number)) for number in range(60))
    replay = replay_with(fakes, max_batch=30)
    replay.on_progress = lambda _: replay.interrupted.set()
    assert replay.run().entry is JournalEntry.STOPPED
    assert fakes.publisher.payloads().total() == 30
    assert len(fakes.hold.waiting) == 30
    assert not fakes.hold.leased


def test_a_dead_letter_that_was_written_twice_is_published_once() -> None:
    """A bundle of the pipeline that ran twice published its dead letters twice."""
    once = held(dead_letter(1))
    twice = HeldDeadLetter("ack-2", "other-message", once.payload, once.attributes)
    late = HeldDeadLetter("ack-3", "late-message", once.payload, once.attributes)
    fakes = Fakes([once, twice, held(dead_letter(2)), late])
    replay = replay_with(fakes, max_batch=3)
    replay.run()
    assert replay.totals.replayed == 2
    assert replay.totals.already_done == 1
    assert fakes.hold.is_empty


def test_other_messages_stay_where_they_are() -> None:
    """A message without a dead letter's envelope is nacked."""
    other = HeldDeadLetter("ack", "other", b"\xff", {"error_class": "gemini_timeout"})
    fakes = Fakes([other, held(dead_letter(1))])
    replay = replay_with(fakes)
    replay.run()
    assert replay.totals.replayed == 1
    assert [it.message_id for it in fakes.hold.waiting] == ["other"]


class _Clock(threading.Event):
    """A clock, and an interruption that is never set: a wait moves the clock."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return False


@given(st.floats(0.1, 1_000), st.integers(1, 500), st.integers(1, 60))
def test_a_rate_is_kept(rate: float, max_batch: int, count: int) -> None:
    """At no time has a replay published more than rate and time allow, and it doesn't wait for longer than that."""
    clock = _Clock()
    fakes = Fakes(held(dead_letter(number)) for number in range(count))
    replay = replay_with(fakes, rate=rate, max_batch=max_batch, clock=clock, interrupted=clock)
    published: list[tuple[float, int]] = []
    replay.on_progress = lambda totals: published.append((clock.now, totals.replayed))
    replay.run()
    assert all(replayed <= rate * now + 1e-6 for now, replayed in published)
    last = next(now for now, replayed in published if replayed == count)
    assert last * rate <= count + batch_size(rate, max_batch)


def test_idle_time_is_saved_up_to_two_batches() -> None:
    """After a long pause two batches go at once, and the next one waits for its second."""
    clock = _Clock()
    fakes = Fakes(held(dead_letter(number)) for number in range(60))
    replay = replay_with(fakes, rate=10, clock=clock, interrupted=clock)
    published: list[float] = []

    def on_progress(_totals: Totals) -> None:
        if not published:
            clock.now += 1_000
        published.append(clock.now)

    replay.on_progress = on_progress
    replay.run()
    assert published[:5] == pytest.approx([1_001, 1_001, 1_001, 1_002, 1_003])


def _check_after_each_batch(replay: Replay) -> None:
    """Have the lease renewed, and the failures counted, before each batch but the first."""
    replay.on_progress = lambda _: setattr(replay, "_next_check", 0.0)


def _replayed(of: DeadLetter) -> Message:
    return replayed_message(held(of))


def _resumed(fakes: Fakes) -> Replay:
    """Return a replay with the memory of the journal, as `resume` makes it."""
    memory = Memory()
    for it in fakes.journal.replayed:
        memory.done.add(it.dead_letter_id)
        if it.fate is Disposition.REPLAYED:
            memory.replayed[it.event_id, it.account_id or ""] = it.replay_count
    return replay_with(fakes, memory=memory)
