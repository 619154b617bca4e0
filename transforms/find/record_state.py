"""The state of one related record: its memory, and the questions that wait for an event that answers them. Pure.

Pub/Sub does not keep the order of a CREATE and the change that follows it within the second. So a question that the
memory can't answer waits a moment before it becomes a look-up.
"""

from typing import Annotated, Final

from msgspec import Meta

from schemas.record import Record, to_json
from transforms.find.account_memory import NEW_RECORD, RecordMemory
from transforms.find.sightings import Question, Sighting, Wanted, answer

MAX_WAITING: Final = 16
"""Questions of one record; a further one is looked up at once."""

MAX_QUESTION_BYTES: Final = 128 * 1024
"""Of a question that waits, as JSON; a larger one is looked up at once, so that a state has 2 MB at most."""


class RecordState(Record, frozen=True, kw_only=True):
    """Equal states have equal JSON."""

    memory: RecordMemory = NEW_RECORD
    waiting: Annotated[tuple[Question, ...], Meta(description="In the order of arrival")] = ()


NEW_STATE: Final = RecordState()
"""The state before a record's first event, and after its state has expired."""


def take(state: RecordState, record_id: str, sighting: Sighting, *, waits: bool) -> tuple[RecordState, list[Wanted]]:
    """Take a sighting in, and return the answers that it leads to: of its own question, and of those that waited.

    Args:
        state: The record's state.
        record_id: The record.
        sighting: What an event tells and asks.
        waits: Whether a question waits that the memory can't answer.
    """
    memory, waiting, answers = state.memory, list(state.waiting), list[Wanted]()
    if sighting.tells:
        memory = memory.with_owner(sighting.tells)
        waiting = []
        for asked in state.waiting:
            _sort(asked, answer(asked, record_id, memory), waiting, answers, can_wait=True)
    if sighting.asks:
        can_wait = waits and len(waiting) < MAX_WAITING and len(to_json(sighting.asks)) <= MAX_QUESTION_BYTES
        _sort(sighting.asks, answer(sighting.asks, record_id, memory), waiting, answers, can_wait=can_wait)
    after = RecordState(memory=memory, waiting=tuple(waiting))
    return (state if after == state else after), answers


def end_wait(state: RecordState, record_id: str) -> tuple[RecordState, list[Wanted]]:
    """Return the answers of all questions that wait, with what must be looked up."""
    return RecordState(memory=state.memory), [answer(asked, record_id, state.memory) for asked in state.waiting]


def _sort(asked: Question, wanted: Wanted, waiting: list[Question], answers: list[Wanted], *, can_wait: bool) -> None:
    if wanted.looked_up and can_wait:
        waiting.append(asked)
    else:
        answers.append(wanted)
