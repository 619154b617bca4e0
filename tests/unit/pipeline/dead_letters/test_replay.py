"""A replay against fakes: what is published, acknowledged, handed back, parked; and where it may be cut off."""

from collections import Counter, deque
from collections.abc import Iterable

import pytest

from pipeline.dead_letters.held_letter import HeldLetter, replayed_message
from pipeline.dead_letters.letter_filter import LetterFilter
from pipeline.dead_letters.replay import Memory, Replay
from pipeline.dead_letters.replay_lease import LeaseState
from pipeline.dead_letters.rules import REPLAYED_OFTEN, SAME_AGAIN
from schemas.change_event import SourceMessage
from schemas.dead_letter import DeadLetter
from schemas.failures import ErrorClass
from schemas.replay import JournalEntry, LetterFate
from tests.fixtures.letters import TOPICS, FakePubSub, Killed, failed_again, held, letter, replay_of
from transforms.clients.pubsub import Message


def _pubsub(letters: Iterable[HeldLetter]) -> FakePubSub:
    return FakePubSub(letters=deque(letters))


def _event_ids(pubsub: FakePubSub, topic: str = TOPICS.changes) -> Counter[bytes]:
    return Counter(message.payload for message in pubsub.published.get(topic, []))


def _is_empty(pubsub: FakePubSub) -> bool:
    return not pubsub.letters and not pubsub.leased and not pubsub.aside


def test_every_letter_is_published_once_and_acknowledged() -> None:
    """Payloads are those of the letters; nothing is left on the subscription; the journal has them all."""
    letters = [letter(number) for number in range(120)]
    pubsub = _pubsub(held(it) for it in letters)
    ending = replay_of(pubsub).run()
    assert ending.entry is JournalEntry.FINISHED
    assert _event_ids(pubsub) == Counter(it.source.payload for it in letters)
    assert _is_empty(pubsub)
    journalled = [entry.event_id for _, entries in pubsub.journal for entry in entries]
    assert sorted(journalled) == sorted(it.event_id for it in letters)


def test_publish_then_journal_then_acknowledge() -> None:
    """In this order, batch by batch: cut off anywhere, a letter comes twice and is never lost."""
    pubsub = _pubsub(held(number) for number in (letter(1), letter(2)))
    replay_of(pubsub, max_batch=1).run()
    assert pubsub.calls == ["publish", "journal", "acknowledge"] * 2 + ["journal"]


@pytest.mark.parametrize("kill_after", [False, True])
@pytest.mark.parametrize("kill_at", range(1, 14))
def test_a_replay_killed_at_any_call_loses_nothing(kill_at: int, kill_after: bool) -> None:  # noqa: FBT001
    """Before and after each call that does something; resumed, all letters are published, and none more than twice."""
    letters = [letter(number, error_class=ErrorClass.MISSING_SCORE) for number in range(8)]
    letters += [failed_again(_replayed(it), it) for it in (letter(50), letter(51))]
    pubsub = _pubsub(held(it) for it in letters)
    pubsub.kill_at, pubsub.kill_after = kill_at, kill_after
    with pytest.raises(Killed):
        replay_of(pubsub, max_batch=3).run()
    pubsub.crash()
    ending = _resumed(pubsub).run()
    assert ending.entry is JournalEntry.FINISHED
    assert _is_empty(pubsub)
    published = _event_ids(pubsub) + _event_ids(pubsub, TOPICS.parking_lot)
    assert set(published) == {it.source.payload for it in letters}
    assert max(published.values()) <= 2
    twice = sum(count - 1 for count in published.values())
    assert twice <= 3


def test_letters_that_don_t_match_are_handed_back_and_hold_up_nobody() -> None:
    """Though they are all that comes first, again and again, those that match behind them are replayed."""
    others = [held(letter(number, error_class=ErrorClass.UNDECODABLE)) for number in range(40)]
    wanted = [held(letter(number)) for number in range(100, 110)]
    pubsub = _pubsub([*others, *wanted])
    replay = replay_of(pubsub, LetterFilter(error_classes=("gemini_timeout",)), max_batch=5)
    assert replay.run().entry is JournalEntry.FINISHED
    assert replay.totals.replayed == len(wanted)
    assert replay.totals.handed_back == len(others)
    assert {it.message_id for it in pubsub.letters} == {it.message_id for it in others}
    assert not pubsub.leased
    assert not pubsub.aside


def test_a_limit_is_kept() -> None:
    """What is over it stays on the subscription."""
    pubsub = _pubsub(held(letter(number)) for number in range(30))
    replay = replay_of(pubsub, max_letters=7)
    assert replay.run().message == "the limit of 7 letters is reached"
    assert replay.totals.replayed == 7
    assert len(pubsub.letters) == 23


def test_poison_is_parked_and_blocks_nobody() -> None:
    """What failed again in the same way, or often enough, goes to the parking lot with the reason; others go on."""
    often = letter(2, source=SourceMessage(payload=b"often", attributes={"replay_count": "3"}), replay_count=3)
    same = failed_again(_replayed(letter(1)), letter(1))
    fine = letter(3)
    pubsub = _pubsub([held(same), held(often), held(fine)])
    replay = replay_of(pubsub)
    replay.run()
    assert (replay.totals.replayed, replay.totals.parked) == (1, 2)
    assert [message.payload for message in pubsub.published[TOPICS.changes]] == [fine.source.payload]
    reasons = {message.attributes["parked_because"] for message in pubsub.published[TOPICS.parking_lot]}
    assert reasons == {SAME_AGAIN, REPLAYED_OFTEN}
    assert _is_empty(pubsub)


def test_force_parks_nothing() -> None:
    """All goes back to its topic."""
    pubsub = _pubsub([held(failed_again(_replayed(letter(1)), letter(1)))])
    replay_of(pubsub, is_forced=True).run()
    assert TOPICS.parking_lot not in pubsub.published
    assert pubsub.published[TOPICS.changes][0].attributes["replay_count"] == "2"


def test_what_comes_back_is_not_replayed_twice_in_one_replay() -> None:
    """It is counted, and stays for the next one."""
    first = letter(1)
    pubsub = _pubsub([held(first)])
    pubsub.letters.append(held(failed_again(_replayed(first), first, pipeline_version="1.0.1")))
    replay = replay_of(pubsub, max_batch=1)
    replay.run()
    assert replay.totals.replayed == 1
    assert replay.totals.came_back == 1
    assert len(pubsub.letters) == 1


def test_a_replay_stops_when_much_comes_back() -> None:
    """What the subscription has of it comes last; the table tells it earlier, and the rest is left where it is."""
    pubsub = _pubsub(held(letter(number)) for number in range(60))
    replay = replay_of(pubsub, max_batch=30)
    pubsub.failing_again = 20
    replay._next_check = 0.0
    replay.on_progress = lambda _: setattr(replay, "_next_check", 0.0)
    ending = replay.run()
    assert ending.entry is JournalEntry.STOPPED
    assert ending.message == "20 of 30 replayed letters failed again: their cause stands"
    assert len(pubsub.letters) == 30


@pytest.mark.parametrize(
    ("state", "entry"), [(LeaseState.CANCELLED, JournalEntry.CANCELLED), (LeaseState.LOST, JournalEntry.STOPPED)]
)
def test_a_replay_that_is_cancelled_or_lost_its_lease_stops(state: LeaseState, entry: JournalEntry) -> None:
    """Between two batches, with nothing half done."""
    pubsub = _pubsub(held(letter(number)) for number in range(60))
    pubsub.states = [state]
    replay = replay_of(pubsub, max_batch=30)
    replay.on_progress = lambda _: setattr(replay, "_next_check", 0.0)
    assert replay.run().entry is entry
    assert len(pubsub.letters) == 30
    assert not pubsub.leased


def test_ctrl_c_ends_after_the_batch() -> None:
    """What was published is acknowledged, and the rest is where it was."""
    pubsub = _pubsub(held(letter(number)) for number in range(60))
    replay = replay_of(pubsub, max_batch=30)
    replay.on_progress = lambda _: replay.interrupted.set()
    assert replay.run().entry is JournalEntry.STOPPED
    assert len(pubsub.published[TOPICS.changes]) == 30
    assert len(pubsub.letters) == 30
    assert not pubsub.leased


def test_a_letter_that_was_written_twice_is_published_once() -> None:
    """A bundle of the pipeline that ran twice published its letters twice."""
    once = held(letter(1))
    twice = HeldLetter("ack-2", "other-message", once.payload, once.attributes)
    late = HeldLetter("ack-3", "late-message", once.payload, once.attributes)
    pubsub = _pubsub([once, twice, held(letter(2)), late])
    replay = replay_of(pubsub, max_batch=3)
    replay.run()
    assert replay.totals.replayed == 2
    assert replay.totals.already_done == 1
    assert _is_empty(pubsub)


def test_messages_of_strangers_stay_where_they_are() -> None:
    """What is no letter is handed back, and crashes nothing."""
    stranger = HeldLetter("ack", "stranger", b"\xff", {"error_class": "gemini_timeout"})
    pubsub = _pubsub([stranger, held(letter(1))])
    replay = replay_of(pubsub)
    replay.run()
    assert replay.totals.replayed == 1
    assert [it.message_id for it in pubsub.letters] == ["stranger"]


def _replayed(of: DeadLetter) -> Message:
    message = replayed_message(held(of))
    assert message
    return message


def _resumed(pubsub: FakePubSub) -> Replay:
    """Return a replay that knows what the journal tells, as `resume` makes it."""
    memory = Memory()
    for _, entries in pubsub.journal:
        for entry in entries:
            memory.done.add(entry.dead_letter_id)
            if entry.fate is LetterFate.REPLAYED:
                memory.replayed[entry.event_id, entry.account_id or ""] = entry.replay_count
    return replay_of(pubsub, memory=memory)
