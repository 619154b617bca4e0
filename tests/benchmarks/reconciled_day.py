"""`python -m tests.benchmarks.reconciled_day [SEED]`: reconcile a day of 100,000 deliveries; about three minutes."""

import datetime as dt
import resource
import sys
import time

from pipeline.ledger.ledger_groups import Window, read_ledger
from pipeline.ledger.reconciliation import Reconciliation, judge
from pipeline.resources.names import SCORING_DATASET
from schemas.outcome import Outcome, OutcomeKind
from schemas.tables import CHANGE_OUTCOMES
from tests.benchmarks.emulated_warehouse import emulated_warehouse
from tests.benchmarks.org_day import DAY_START, arrivals, overtaken_accounts, simulate


def reconcile(outcomes: list[Outcome]) -> Reconciliation:
    """Return the result of `rescore reconcile` for a ledger with these rows."""
    with emulated_warehouse() as warehouse:
        warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, outcomes)
        window = Window(DAY_START - dt.timedelta(days=1), DAY_START + dt.timedelta(days=3), dt.timedelta(minutes=15))
        started = time.monotonic()
        result = judge(read_ledger(warehouse, SCORING_DATASET, window, limit=20), window, limit=20)
        print(f"  the query took {time.monotonic() - started:.1f} s over {len(outcomes):,} rows")  # noqa: T201
        return result


def run(seed: int) -> None:
    """Print a day's outcomes, its CPU time and its memory."""
    came = arrivals(seed)
    started = time.process_time()
    day = simulate(came)
    seconds = time.process_time() - started
    changes = sum(outcome.outcome is OutcomeKind.RECEIVED for outcome in day.outcomes)
    scored = sum(outcome.outcome is OutcomeKind.SCORED for outcome in day.outcomes)
    print(f"a day of {len(came):,} deliveries, seed {seed}")  # noqa: T201
    print(f"  {len(came) / seconds:,.0f} events/s of CPU from bytes to coalesced")  # noqa: T201
    print(f"  {scored:,} of {changes:,} received changes reach Gemini: {scored / changes:.0%}")  # noqa: T201
    print(f"  accounts left with an older change: {len(list(overtaken_accounts(day)))}")  # noqa: T201
    result = reconcile(day.outcomes)
    found = result.document()
    print(f"  reconcile: ok {found['ok']}, unexplained {found['unexplained']}, double {found['double']}")  # noqa: T201
    print(f"  {found['counts']}")  # noqa: T201
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")  # noqa: T201


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
