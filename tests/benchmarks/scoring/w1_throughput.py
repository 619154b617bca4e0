"""W1: 8,803 accounts, one a call, 300 ms, 150 calls at once: throughput relative to the server's."""

import statistics
from collections.abc import Sequence

from tests.benchmarks.scoring import ours, peer_asyncio, peer_gather, peer_loop, peer_model_handler
from tests.benchmarks.scoring.accounts import all_accounts
from tests.benchmarks.scoring.contest import Contender, Run, in_turns, median, report, stand_in

CAP = 150
SECONDS = 0.3
LIMIT = CAP / SECONDS


def _times(ours_runs: Sequence[Run], measured: Sequence[Run]) -> float:
    """Return the median over the rounds of the ratio of our rate to a contender's."""
    pairs = zip(ours_runs, measured, strict=True)
    return statistics.median(one.per_second / other.per_second for one, other in pairs if other.per_second)


def run(rounds: int, accounts: int) -> None:
    """Measure. Peers that take seconds an account score a sample: their rate does not depend on its size."""
    everybody = all_accounts()[:accounts]
    changes = [item.change for item in everybody]
    contenders: dict[str, Contender] = {
        "ours": lambda: ours.score(changes, ours.settings(), 1),
        "pure asyncio, lean transport (ceiling)": lambda: peer_asyncio.score_with_rest(everybody, CAP),
        "pure asyncio, google-genai": lambda: peer_asyncio.score_with_genai(everybody, CAP),
        "loop (40 accounts)": lambda: peer_loop.score(everybody[:40]),
        "GeminiModelHandler, its own batches, 1 thread (400)": lambda: peer_model_handler.score(
            everybody[:400], threads=1, batch_size=None
        ),
        "GeminiModelHandler, batches of 1, 1 thread (40)": lambda: peer_model_handler.score(
            everybody[:40], threads=1, batch_size=1
        ),
        "GeminiModelHandler, batches of 1, 12 threads (480)": lambda: peer_model_handler.score(
            everybody[:480], threads=12, batch_size=1
        ),
        "gather in a RemoteModelHandler, batches of 128, 1 thread (1280)": lambda: peer_gather.score(
            everybody[:1280], threads=1, batch_size=128
        ),
    }
    with stand_in(latency={"mean_seconds": SECONDS}, max_concurrency=CAP) as gemini:
        runs = in_turns(gemini, contenders, rounds)
    rate = {name: median(measured, lambda run: run.per_second) for name, measured in runs.items()}
    rows = [
        {
            "who": name,
            "scores/s": round(rate[name], 1),
            "of the limit": f"{rate[name] / LIMIT:.1%}",
            "ours is": f"x{_times(runs['ours'], measured):.2f}",
            "scored": median(measured, lambda run: run.scored),
            "calls": median(measured, lambda run: run.calls),
            "429s": median(measured, lambda run: run.refused),
            "CPU ms/score": round(median(measured, lambda run: run.cpu_seconds / max(run.scored, 1)) * 1000, 2),
            "whole run s": round(median(measured, lambda run: run.whole_seconds), 1),
        }
        for name, measured in runs.items()
    ]
    report(f"W1: {len(everybody):,} accounts, k=1, {SECONDS:g} s, cap {CAP}: at most {LIMIT:g}/s", rows, runs)
