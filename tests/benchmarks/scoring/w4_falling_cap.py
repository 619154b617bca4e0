"""W4: the server accepts 200 calls at once, then 50, then 200 again, and refuses the rest with 429."""

import itertools
import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from pipeline.local.gemini_process import GeminiProcess
from tests.benchmarks.scoring import ours
from tests.benchmarks.scoring.accounts import all_accounts
from tests.benchmarks.scoring.contest import report, stand_in
from transforms.score.score_accounts import ScoreAccounts, _Score
from transforms.score.scoring_engine import ScoringEngine

HIGH, LOW = 200, 50
SECONDS = 0.5
PHASE_SECONDS = 20.0
BIN_SECONDS = 1.0
BATCH = 40


@dataclass
class _Load:
    """Threads that score batch after batch, as a worker's do, until they are stopped."""

    engine: ScoringEngine
    is_over: threading.Event = field(default_factory=threading.Event)
    throttled: list[float] = field(default_factory=list)
    batch_seconds: list[float] = field(default_factory=list)

    def work(self) -> None:
        """Score batches of 40, one account a call."""
        step = _Score(ScoreAccounts(self.engine.settings, "1", 1))
        step.engine, step.throttled = self.engine, self.throttled.append
        accounts = itertools.cycle(all_accounts())
        while not self.is_over.is_set():
            started = time.monotonic()
            list(step.process(list(itertools.islice(accounts, BATCH))))
            self.batch_seconds.append(time.monotonic() - started)

    def throttled_seconds(self) -> float:
        """Return the seconds that the steps counted."""
        return sum(self.throttled)


def run(rounds: int, accounts: int) -> None:
    """Measure."""
    all_accounts()  # before the first engine: what is loaded then costs the collector nothing
    with stand_in(latency={"mean_seconds": SECONDS}, max_concurrency=None) as gemini:
        free = _free_batch_seconds()
        measured = [_round(gemini, free) for _ in range(rounds)]
    row = {name: round(statistics.median(one[name] for one in measured), 3) for name in measured[0]}
    report(f"W4: cap {HIGH}, {LOW}, {HIGH}, {PHASE_SECONDS:g} s each, {SECONDS:g} s a call", [row])


def _free_batch_seconds() -> float:
    """Return the duration of a batch without a cap, in seconds."""
    load = _Load(ScoringEngine(ours.settings()))
    step = _Score(ScoreAccounts(load.engine.settings, "1", 1))
    step.engine, step.throttled = load.engine, load.throttled.append
    times = []
    for _ in range(8):
        started = time.monotonic()
        list(step.process(all_accounts()[:BATCH]))
        times.append(time.monotonic() - started)
    load.engine.close()
    return statistics.median(times[2:])


def _round(gemini: GeminiProcess, free_seconds: float) -> dict[str, float]:
    gemini.configure(max_concurrency=HIGH)
    load = _Load(ScoringEngine(ours.settings()))
    threads = [threading.Thread(target=load.work) for _ in range(ours.THREADS)]
    for thread in threads:
        thread.start()
    _watch(gemini, 5.0)  # until the cap is found for the first time
    gemini.reset()
    warmed_up = (len(load.batch_seconds), load.throttled_seconds())
    watched = [_watch(gemini, PHASE_SECONDS)]
    for cap in (LOW, HIGH):
        gemini.configure(max_concurrency=cap)
        watched.append(_watch(gemini, PHASE_SECONDS))
    stats: dict[str, Any] = gemini.stats()
    load.is_over.set()
    for thread in threads:
        thread.join()
    load.engine.close()
    # The threads' time within `process`, less what the same batches take when nothing holds them back.
    truth = sum(seconds - free_seconds for seconds in load.batch_seconds[warmed_up[0] :])
    counted = load.throttled_seconds() - warmed_up[1]
    possible = PHASE_SECONDS * (2 * HIGH + LOW) / SECONDS
    refused = stats["by_status"].get("429", 0)
    return {
        "goodput of the possible": sum(sum(phase) for phase in watched) / possible,
        "high": sum(watched[0]) / (PHASE_SECONDS * HIGH / SECONDS),
        "low": sum(watched[1]) / (PHASE_SECONDS * LOW / SECONDS),
        "high again": sum(watched[2]) / (PHASE_SECONDS * HIGH / SECONDS),
        "wasted calls": refused / stats["calls"],
        "recovery s": _recovery_seconds(watched[2], watched[0]),
        "throttled s counted": counted,
        "of the truth": counted / truth,
    }


def _watch(gemini: GeminiProcess, seconds: float) -> list[int]:
    """Return how many answers were given in each bin of some seconds."""
    started, before, bins = time.monotonic(), gemini.stats()["by_status"].get("200", 0), []
    for number in range(1, int(seconds / BIN_SECONDS) + 1):
        time.sleep(max(started + number * BIN_SECONDS - time.monotonic(), 0))
        now = gemini.stats()["by_status"].get("200", 0)
        bins.append(now - before)
        before = now
    return bins


def _recovery_seconds(bins: list[int], before: list[int]) -> float:
    """Return when the rate was first within a tenth of what it was before the cap fell."""
    usual = statistics.median(before)
    found = (number for number, answers in enumerate(bins) if answers >= 0.9 * usual)
    return next(found, len(bins)) * BIN_SECONDS
