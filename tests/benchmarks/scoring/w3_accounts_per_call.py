"""W3: tokens saved by sharing a call, and its duration."""

import statistics
from collections.abc import Sequence

from schemas.account_context import EnrichedChange
from tests.benchmarks.scoring import ours
from tests.benchmarks.scoring.accounts import all_accounts
from tests.benchmarks.scoring.contest import report, stand_in
from transforms.clients.hold import Hold
from transforms.score.account_scoring import split_calls
from transforms.score.scoring_engine import CallStats, ScoringEngine

SIZES = (1, 2, 4, 5, 6, 10)
SAMPLE = 600


def run(rounds: int, accounts: int) -> None:
    """Measure; the stand-in takes 0.5 s to its first token, and writes 257 tokens a second, as flash-lite does."""
    sample = all_accounts()[: min(SAMPLE, accounts)]
    measured: dict[int, list[tuple[float, float, float]]] = {k: [] for k in SIZES}
    with stand_in(latency="flash-lite") as gemini:
        for _ in range(rounds):
            for k in SIZES:
                gemini.reset()
                stats = _score(sample, k)
                spent = sum(one.prompt_tokens + one.output_tokens for one in stats.generations)
                slowest = statistics.quantiles([one.latency_seconds for one in stats.generations], n=20)[-1]
                measured[k].append((stats.calls, spent / len(sample), slowest))
    calls, tokens, p95 = (
        {k: statistics.median(row[column] for row in rows) for k, rows in measured.items()} for column in range(3)
    )
    rows = [
        {
            "k": k,
            "calls": calls[k],
            "of k=1's": f"{calls[k] / calls[1]:.1%}",
            "tokens/account": round(tokens[k]),
            "of k=1's tokens": f"{tokens[k] / tokens[1]:.1%}",
            "p95 s/call": round(p95[k], 2),
        }
        for k in SIZES
    ]
    report(f"W3: {len(sample)} accounts, k a call", rows)


def _score(accounts: Sequence[EnrichedChange], k: int) -> CallStats:
    engine = ScoringEngine(ours.settings())
    stats = CallStats()
    engine.submit(split_calls(accounts, k, engine.settings.max_prompt_tokens), stats, Hold(1_800.0)).result()
    engine.close()
    return stats
