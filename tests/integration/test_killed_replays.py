"""Replays that are killed at random, on a broker and a warehouse with Google's own clients, and resumed."""

import itertools
import multiprocessing
import os
import random
import signal
import sys
import threading
from typing import NamedTuple

import pytest

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter, ReplayRequest
from pipeline.dead_letters.replay import Totals
from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.dead_letters.replay_session import Session, replay, resume
from pipeline.dead_letters.status import status
from pipeline.resources.names import SCORING_DATASET
from schemas.replay import JournalEntry
from tests.fixtures.dead_letters import dead_letter
from tests.integration.replay_resources import ACK_DEADLINE_SECONDS, ReplayTopics
from transforms.clients.bigquery import Warehouse

pytestmark = pytest.mark.filterwarnings("ignore:The return_immediately flag:DeprecationWarning")

QUIET_SECONDS = 1.0
BATCH = 20
MAX_BATCHES = 4
"""The most batches that a replay publishes before it is killed."""


@pytest.mark.parametrize(
    ("target", "kills"),
    [("embedded", 4), *(pytest.param(broker, 20, marks=pytest.mark.slow) for broker in ("embedded", "google"))],
    indirect=["target"],
)
def test_a_replay_killed_at_random_loses_nothing(
    topics: ReplayTopics, warehouse: Warehouse, kills: int, run_seed: int
) -> None:
    """SIGKILL at random moments, and resumed each time: every dead letter is published, and messages that are
    published twice are equal, so that the pipeline drops the second as a duplicate.
    """
    dice = random.Random(run_seed)
    dead_letters = [dead_letter(number) for number in range(kills * BATCH * (MAX_BATCHES + 2))]
    topics.hold(dead_letters)
    for kill in range(kills):
        _kill_a_replay(
            topics.resources,
            is_first=kill == 0,
            kill_at=KillAt(dice.randint(1, MAX_BATCHES), dice.uniform(0.0, 0.02)),
        )
    assert status(topics.resources, None).document()["replayed"] < len(dead_letters)
    # Messages that the last process had pulled are delivered again when their ack deadline has passed.
    result = resume(Session(topics.resources, ACK_DEADLINE_SECONDS + QUIET_SECONDS), None, take_over=True)
    assert result.ending.entry is JournalEntry.FINISHED
    published = topics.taken(topics.changes)
    by_payload: dict[bytes, set[frozenset[tuple[str, str]]]] = {}
    for message in published:
        by_payload.setdefault(message.data, set()).add(frozenset(message.attributes.items()))
    assert set(by_payload) == {it.source.payload for it in dead_letters}
    assert all(len(attributes) == 1 for attributes in by_payload.values())
    assert len(published) - len(dead_letters) <= kills * BATCH
    assert topics.left() == []
    journalled = list(ReplayJournal(warehouse, SCORING_DATASET).dead_letters(result.start.replay_id))
    assert len(journalled) == len(dead_letters)
    sys.stdout.write(f"{len(published) - len(dead_letters)} duplicates among {len(published)}\n")


class KillAt(NamedTuple):
    """When to kill a replay; counted in batches, so that a replay on a slow machine is killed during its work too."""

    batches: int
    seconds_later: float


def _kill_a_replay(resources: ReplayResources, kill_at: KillAt, *, is_first: bool) -> None:
    """Start a replay in its own process, which is killed during its work."""
    # Fork each process from a server that has imported everything: importing takes a second of CPU.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_run, args=(dict(os.environ), resources, kill_at, is_first))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "the replay ended before it was killed"


def _run(environment: dict[str, str], resources: ReplayResources, kill_at: KillAt, is_first: bool) -> None:  # noqa: FBT001
    os.environ.update(environment)
    batches = itertools.count(1)

    def on_progress(totals: Totals) -> None:
        if totals.replayed and next(batches) == kill_at.batches:
            threading.Timer(kill_at.seconds_later, os.kill, (os.getpid(), signal.SIGKILL)).start()

    session = Session(resources, QUIET_SECONDS, on_progress, max_batch=BATCH)
    if is_first:
        replay(session, ReplayRequest(DeadLetterFilter(), None, 100_000.0, is_forced=False, reason="to be killed"))
    else:
        resume(session, None, take_over=True)
