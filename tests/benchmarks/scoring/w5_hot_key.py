"""W5: every change is about one account, and comes in a bundle of its own: neither may slow scoring."""

from collections import Counter
from collections.abc import Iterable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.test_stream import TestStream

from schemas.change_event import AccountChange
from tests.benchmarks.scoring import ours
from tests.benchmarks.scoring.accounts import all_accounts, hot_account
from tests.benchmarks.scoring.contest import Contender, in_turns, median, report, stand_in
from tests.benchmarks.scoring.w1_throughput import CAP, LIMIT, SECONDS
from transforms.admit.batch_accounts import BatchAccounts
from transforms.admit.batching import BatchLimits

BUNDLES = 400
_sizes: Counter[int] = Counter()


def run(rounds: int, accounts: int) -> None:
    """Measure W1's accounts and one hot account in turns, and the sizes of batches from bundles of one change."""
    changes = [item.change for item in all_accounts()[:accounts]]
    hot = hot_account(len(changes))
    contenders: dict[str, Contender] = {
        "as many accounts as changes (W1)": lambda: ours.score(changes, ours.settings(), 1),
        "one hot account": lambda: ours.score(hot, ours.settings(), 1),
    }
    with stand_in(latency={"mean_seconds": SECONDS}, max_concurrency=CAP) as gemini:
        runs = in_turns(gemini, contenders, rounds)
    rate = {name: median(measured, lambda run: run.per_second) for name, measured in runs.items()}
    base = rate["as many accounts as changes (W1)"]
    rows: list[dict[str, object]] = [
        {"changes": name, "scores/s": round(one, 1), "of the limit": f"{one / LIMIT:.1%}", "of W1": f"{one / base:.1%}"}
        for name, one in rate.items()
    ]
    sizes = batches_of_single_bundles()
    rows.append({"bundles of one": sizes.total(), "batches by size": dict(sizes)})
    report(f"W5: {len(changes):,} changes of one account, k=1", rows, runs)


def batches_of_single_bundles() -> Counter[int]:
    """Return the sizes of the batches of a hot account's changes, each from a bundle of its own."""
    _sizes.clear()
    stream = TestStream()
    for change in hot_account(BUNDLES):
        stream.add_elements([change])
    stream.advance_watermark_to_infinity()
    with TestPipeline(options=PipelineOptions(["--streaming"])) as pipeline:
        (
            pipeline
            | stream
            | beam.Map(lambda change: change).with_output_types(AccountChange)
            | BatchAccounts(BatchLimits(max_wait_seconds=600))
            | beam.Map(_count)
        )
    return _sizes


def _count(batch: Iterable[AccountChange]) -> None:
    _sizes[len(list(batch))] += 1
