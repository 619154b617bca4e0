"""Beam's SDK harness in its own process, as on a Dataflow worker: coders come from the job graph, not from memory."""

import os
import sys
from collections import Counter
from typing import Any

import apache_beam as beam
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from schemas.change_event import AccountChange
from schemas.outcome import SkipReason
from tests.fixtures.changes import account_id, change
from transforms.coalesce.account_state import CoalescingLimits
from transforms.coalesce.coalesce_by_account import CoalesceByAccount

HARNESS = f"{sys.executable} -m apache_beam.runners.worker.sdk_worker_main"


def test_changes_and_state_are_decoded_in_a_new_process() -> None:
    """A harness that has imported none of our modules decodes changes, and finds a duplicate by the account's state."""
    launcher = os.getpid()
    expected = [account_id(1), account_id(2)]

    def check_changes(changes: list[tuple[str, int]]) -> None:
        assert sorted(account for account, _ in changes) == expected
        assert launcher not in {process for _, process in changes}

    def check_outcomes(outcomes: list[Any]) -> None:
        assert Counter(outcome.reason for outcome in outcomes) == {SkipReason.DUPLICATE: 1}

    runner = FnApiRunner(default_environment=SubprocessSDKEnvironment(command_string=HARNESS))
    with beam.Pipeline(runner=runner) as pipeline:
        deliveries = pipeline | beam.Create([change(1), change(1), change(2)]).with_output_types(AccountChange)
        coalesced = deliveries | beam.Reshuffle() | CoalesceByAccount("1", CoalescingLimits(window_seconds=0))
        emitted = coalesced.changes | "Shuffle changes" >> beam.Reshuffle()
        assert_that(emitted | beam.Map(lambda it: (it.account_id, os.getpid())), check_changes, label="changes")
        assert_that(coalesced.outcomes, check_outcomes, label="outcomes")
