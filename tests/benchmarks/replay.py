"""`python -m tests.benchmarks.replay scored|rates|payloads [NUMBER]`: replays of ten thousand dead letters and more.

scored     replay dead letters of every class, with kills of the replay, then score them with the graph
rates      dead letters per second at each requested rate, and the maximum
payloads   SHA-256 of arbitrary payloads before and after, on our broker and on Google's emulator
"""

import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter, ReplayRequest
from pipeline.dead_letters.replay_session import Session, replay
from schemas.change_event import SourceMessage
from tests.benchmarks.emulated_warehouse import emulated_warehouse
from tests.benchmarks.replay_scored import scored
from tests.fixtures.dead_letters import dead_letter
from tests.integration.pubsub_targets import Target, embedded, google_emulator
from tests.integration.replay_resources import ReplayTopics, replay_topics_on

SEED: Final = 6
DEAD_LETTERS: Final = {"scored": 10_000, "rates": 10_000, "payloads": 20_000}
RATES: Final = (10.0, 100.0, 1_000.0, 100_000.0)
SECONDS_A_RATE: Final = 10.0
QUIET_SECONDS: Final = 2.0


def rates(count: int) -> None:
    """Print the dead letters per second for each requested rate; the last rate is out of reach."""
    print("requested rate   dead letters   dead letters/s")  # noqa: T201 - a report for people
    with emulated_warehouse() as warehouse, _broker(embedded()) as target:
        for rate in RATES:
            number = int(min(count, rate * SECONDS_A_RATE))
            topics = replay_topics_on(target, warehouse, ack_deadline_seconds=60)
            topics.hold(dead_letter(one) for one in range(number))
            reached = _replay(topics, rate, number)
            print(f"{rate:>14,.0f}   {number:>12,}   {reached:>14,.1f}")  # noqa: T201 - a report for people


def payloads(count: int) -> None:
    """Print how many payloads were replayed unchanged, on each broker."""
    with tempfile.TemporaryDirectory() as folder, emulated_warehouse() as warehouse:
        for running in (embedded(), google_emulator(Path(folder))):
            with _broker(running) as target:
                _compare(replay_topics_on(target, warehouse, ack_deadline_seconds=60), count)


def _compare(topics: ReplayTopics, count: int) -> None:
    dice = random.Random(SEED)
    sent: Counter[str] = Counter()

    def dead_letters() -> Iterator[Any]:
        for number in range(count):
            payload = dice.randbytes(int(dice.expovariate(1 / 600))) or b"\x00"
            sent[_digest(payload)] += 1
            yield dead_letter(number, source=SourceMessage(payload=payload, attributes={"number": str(number)}))

    topics.hold(dead_letters())
    reached = _replay(topics, 100_000.0, count)
    came = Counter(_digest(message.data) for message in topics.taken(topics.changes))
    same = sum((came & sent).values())
    verdict = f"{same:,} of {count:,} payloads equal, {came.total() - same} more, {len(topics.left())} left"
    print(f"{topics.target.name}: seed {SEED}: {verdict}; {reached:,.0f} dead letters/s")  # noqa: T201 - a report for people


def _replay(topics: ReplayTopics, rate: float, count: int) -> float:
    """Replay all, and return the dead letters per second from the first pull to the last acknowledgement."""
    moments: list[float] = []
    request = ReplayRequest(DeadLetterFilter(), count, rate, is_forced=False, reason="a benchmark")
    session = Session(topics.resources, QUIET_SECONDS, lambda _totals: moments.append(time.monotonic()))
    started = time.monotonic()
    result = replay(session, request)
    if result.totals.replayed != count:
        raise RuntimeError(f"{result.totals.replayed} of {count} dead letters were replayed")
    overhead = time.monotonic() - started - result.seconds
    return count / (moments[-1] - started - overhead)


@contextmanager
def _broker(running: Any) -> Iterator[Target]:
    with running as target, pytest.MonkeyPatch.context() as environment:
        environment.setenv("PUBSUB_EMULATOR_HOST", target.host)
        yield target


def _digest(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what not in DEAD_LETTERS:
        sys.exit(__doc__)
    # google-auth reads this variable when it is imported, which has happened already: start again with it.
    if os.environ.get("GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED") != "false":
        again = [sys.executable, "-m", "tests.benchmarks.replay", *sys.argv[1:]]
        sys.exit(subprocess.call(again, env={**os.environ, "GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED": "false"}))
    number_of_dead_letters = int(sys.argv[2]) if len(sys.argv) > 2 else DEAD_LETTERS[what]
    work: dict[str, Callable[[int], None]] = {"scored": scored, "rates": rates, "payloads": payloads}
    work[what](number_of_dead_letters)
