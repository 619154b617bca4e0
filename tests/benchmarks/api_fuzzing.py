"""`python -m tests.benchmarks.api_fuzzing [--requests N] [--mutated N] [--seed N]`: requests of every kind.

schemathesis makes them from the OpenAPI document, good and bad ones in turn; each answer is checked against the
document, and 500 fails. Mutated ones are good ones with bytes changed, which no client library would send.
BigQuery and Pub/Sub don't answer here, so that what gets as far as them is 503.
"""

import argparse
import datetime as dt
import logging
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

import structlog

from pipeline.api.application import create_app
from pipeline.api.background_replays import BackgroundReplays
from pipeline.api.rate_limits import RateLimiter, RateLimits
from schemas.account_context import AccountProfile
from tests.fixtures.api import EVERYBODY, Resources, bearer, read_model_services
from tests.fixtures.changes import account_id
from tests.fixtures.fuzzing import fuzz
from tests.fixtures.mutated_requests import send_mutated
from tests.fixtures.read_model import KeptSource
from tests.fixtures.scores import score_row

NOW: Final = dt.datetime.now(dt.UTC)
BATCH: Final = 1_000
"""Requests of one run of schemathesis: beyond that its records of the run make it slower."""


def run(requests: int, mutated: int, seed: int) -> None:
    """Send requests, and print how many got which status."""
    os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = "no-credentials.json"
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    source = KeptSource(
        stored=[score_row(number, 10 * number, NOW - dt.timedelta(days=number)) for number in range(1, 9)],
        accounts=[AccountProfile(account_id=account_id(number), name="A", modified_at=NOW) for number in range(5)],
    )
    resources = Resources(is_down=True)
    statuses: Counter[int] = Counter()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        read_model_services(
            Path(folder),
            source,
            NOW,
            resources=resources,
            replays=BackgroundReplays(resources),
            rate_limiter=RateLimiter(RateLimits(10**8, 10**8)),
        ) as services,
    ):
        for number in range(0, requests, BATCH):
            token = bearer(EVERYBODY)
            statuses += fuzz(services, min(BATCH, requests - number), token, seed=seed + number).statuses
            if not number % 10_000:
                print(f"{statuses.total():,} after {time.monotonic() - began:,.0f} s", flush=True)  # noqa: T201 - a report
        if statuses:
            _tell("schemathesis", statuses, time.monotonic() - began)
        began = time.monotonic()
        changed: Counter[int] = Counter()
        for number in range(0, mutated, BATCH):
            app, token = create_app(services), bearer(EVERYBODY)
            changed += send_mutated(app, min(BATCH, mutated - number), token, seed + number)
        if changed:
            _tell("mutated", changed, time.monotonic() - began)


def _tell(kind: str, statuses: Counter[int], seconds: float) -> None:
    told = ", ".join(f"{status} {count:,}" for status, count in sorted(statuses.items()))
    print(f"{kind}: {statuses.total():,} requests in {seconds:,.0f} s: {told}; none was 500", flush=True)  # noqa: T201 - a report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--mutated", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
