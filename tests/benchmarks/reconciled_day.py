"""`python -m tests.benchmarks.reconciled_day [SEED]`: reconcile a day of 100,000 deliveries; about three minutes."""

import datetime as dt
import resource
import sys
import time
from collections import Counter

from pipeline.ledger.ledger_groups import Window, read_ledger
from pipeline.ledger.reconciliation import Reconciliation, judge
from pipeline.resources.names import SCORING_DATASET
from schemas.outcome import Outcome, OutcomeKind
from schemas.standing_outcome import recorded_as, standing_outcome
from schemas.tables import CHANGE_OUTCOMES
from tests.benchmarks.emulated_warehouse import emulated_warehouse
from tests.benchmarks.org_day import DAY_START, Day, arrivals, mirrored_accounts, overtaken_accounts, simulate
from transforms.find.found_accounts import Source


def reconcile(outcomes: list[Outcome]) -> Reconciliation:
    """Return the result of `rescore reconcile` for a ledger with these rows."""
    with emulated_warehouse() as warehouse:
        warehouse.replace_rows(SCORING_DATASET, CHANGE_OUTCOMES, outcomes)
        window = Window(DAY_START - dt.timedelta(days=1), DAY_START + dt.timedelta(days=3), dt.timedelta(minutes=15))
        started = time.monotonic()
        result = judge(read_ledger(warehouse, SCORING_DATASET, window, limit=20), window, limit=20)
        print(f"  the query took {time.monotonic() - started:.1f} s over {len(outcomes):,} rows")  # noqa: T201
        return result


def print_look_ups(day: Day, deliveries: int) -> None:
    """Print how accounts were found that related records did not name, and what became of deals that were won."""
    answered = day.found.total()
    share = day.found[Source.MEMORY] / answered
    without = Counter(
        it.error_class or it.reason or it.outcome for it in day.outcomes if it.account_id is None and it.record_id
    )
    print(f"  accounts found: {dict(day.found)}, {share:.0%} by the stream's memory")  # noqa: T201
    print(f"  {1_000 * day.queries / deliveries:.1f} queries to the mirror for 1,000 events")  # noqa: T201
    print(f"  records that end without an account: {dict(without)}")  # noqa: T201
    finals: dict[str, set[str]] = {event_id: set() for event_id in day.closed_won}
    for outcome in day.outcomes:
        if outcome.event_id in finals and outcome.outcome is not OutcomeKind.RECEIVED and outcome.account_id:
            finals[outcome.event_id].add(recorded_as(outcome))
    standing = Counter(standing_outcome(it) for it in finals.values())
    print(f"  deals won: {len(finals):,}, {dict(standing)}")  # noqa: T201


def run(seed: int) -> None:
    """Print a day's outcomes, its CPU time and its memory."""
    came, mirror = arrivals(seed), mirrored_accounts(seed)
    started = time.process_time()
    day = simulate(came, mirror)
    seconds = time.process_time() - started
    named = {it.event_id for it in day.outcomes if it.account_id}
    received = [it for it in day.outcomes if it.outcome is OutcomeKind.RECEIVED]
    changes = sum(it.account_id is not None or it.event_id not in named for it in received)
    scored = sum(outcome.outcome is OutcomeKind.SCORED for outcome in day.outcomes)
    print(f"a day of {len(came):,} deliveries, seed {seed}")  # noqa: T201
    print(f"  {len(came) / seconds:,.0f} events/s of CPU from bytes to coalesced")  # noqa: T201
    print(f"  {scored:,} of {changes:,} received changes reach Gemini: {scored / changes:.0%}")  # noqa: T201
    print(f"  accounts left with an older change: {len(list(overtaken_accounts(day)))}")  # noqa: T201
    print_look_ups(day, len(came))
    result = reconcile(day.outcomes)
    found = result.document()
    print(f"  reconcile: ok {found['ok']}, unexplained {found['unexplained']}, double {found['double']}")  # noqa: T201
    print(f"  {found['counts']}")  # noqa: T201
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")  # noqa: T201


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
