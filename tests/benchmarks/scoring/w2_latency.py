"""W2: answers of one second in the mean and 1.9 s at the 95th percentile, 64 calls at once."""

from tests.benchmarks.scoring import ours
from tests.benchmarks.scoring.accounts import all_accounts
from tests.benchmarks.scoring.contest import in_turns, median, report, stand_in

CAP = 64


def run(rounds: int, accounts: int) -> None:
    """Measure one account a call, and five."""
    changes = [item.change for item in all_accounts()[:accounts]]
    sizes = (1, 5)
    contenders = {f"k={k}": lambda k=k: ours.score(changes, ours.settings(), k) for k in sizes}
    with stand_in(latency={"mean_seconds": 1.0, "p95_seconds": 1.9}, max_concurrency=CAP) as gemini:
        runs = in_turns(gemini, contenders, rounds)
    rows = [
        {
            "ours": f"k={k}",
            "seconds": round(median(runs[f"k={k}"], lambda run: run.seconds), 1),
            "of the limit": f"{len(changes) / k / CAP / median(runs[f'k={k}'], lambda run: run.seconds):.1%}",
            "scored": median(runs[f"k={k}"], lambda run: run.scored),
            "calls": median(runs[f"k={k}"], lambda run: run.calls),
            "429s": median(runs[f"k={k}"], lambda run: run.refused),
        }
        for k in sizes
    ]
    report(f"W2: {len(changes):,} accounts, mean 1 s, p95 1.9 s, cap {CAP}", rows, runs)
