"""Keep to budget: accounts beyond the daily token budget wait in state, or are dead-lettered."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
from apache_beam.coders import registry
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

import transforms.coders  # noqa: F401 - registers how the models travel
from schemas.change_event import AccountChange
from transforms.admit.batch_accounts import shard_of
from transforms.admit.token_budget import BudgetAction, BudgetCount, TokenBudget
from transforms.admit.token_usage import shared_count
from transforms.errors import BudgetExhausted
from transforms.ledger import Ledger, Received
from transforms.outputs import DEAD_LETTERS, TaggedDeadLetter

STAGE: Final = "Keep to budget"
CHANGES: Final = "changes"
CHECK_SECONDS: Final = 60
"""How often held accounts are checked again: the day may have changed, or the budget."""

CountOf = Callable[[TokenBudget], BudgetCount]
_Outputs = Iterator[AccountChange | TaggedDeadLetter]


@dataclass
class KeepToBudget(beam.PTransform):
    """AccountChange → AccountChange that may be scored (main), DeadLetter; without a budget all may.

    It comes before batching, so that a held account costs no query and gets its context when it is scored. `count_of`
    and `clock`, which returns epoch seconds, must be picklable.
    """

    budget: TokenBudget | None
    pipeline_version: str
    shards: int = 4
    count_of: CountOf = shared_count
    clock: Callable[[], float] = time.time

    def expand(self, changes: beam.PCollection[AccountChange]) -> Any:
        """Admit, hold or dead-letter each change."""
        if self.budget is None:
            gate, gated = _LetPass(), changes
        elif self.budget.action is BudgetAction.DEAD_LETTER:
            gate, gated = _Refuse(self.budget, self), changes
        else:
            gate, shards = _Hold(self.budget, self), self.shards
            gated = changes | "Shard by account" >> beam.Map(
                lambda change: (shard_of(change.account_id, shards), change)
            ).with_output_types(tuple[str, AccountChange])
        return gated | "Check budget" >> beam.ParDo(gate).with_outputs(DEAD_LETTERS, main=CHANGES)


class _LetPass(beam.DoFn):
    def process(self, change: AccountChange) -> _Outputs:
        yield change


class _Gate(beam.DoFn):
    """Base of the two ways to keep to a budget."""

    def __init__(self, budget: TokenBudget, config: KeepToBudget) -> None:
        self.budget = budget
        self.count_of, self.clock = config.count_of, config.clock
        self.ledger = Ledger(STAGE, config.pipeline_version)
        self.admitted = Metrics.counter(STAGE, "admitted_total")
        self.refused = Metrics.counter(STAGE, "budget_exhausted_total")
        self.held = Metrics.counter(STAGE, "held_total")

    def setup(self) -> None:
        self.count = self.count_of(self.budget)

    def dead_letter(self, change: AccountChange) -> TaggedDeadLetter:
        self.refused.inc()
        error = BudgetExhausted(f"the daily budget of {self.budget.daily_tokens:,} tokens is spent: replay it tomorrow")
        return TaggedOutput(DEAD_LETTERS, self.ledger.dead_letter(Received.of(change), error))


class _Refuse(_Gate):
    def process(self, change: AccountChange) -> _Outputs:
        if self.count.admits():
            self.admitted.inc()
            yield change
        else:
            yield self.dead_letter(change)


_HELD: Final = beam.DoFn.StateParam(BagStateSpec("held_by_budget", registry.get_coder(AccountChange)))
_CHECK_TIMER: Final = TimerSpec("budget_check", TimeDomain.REAL_TIME)
_END_TIMER: Final = TimerSpec("budget_input_end", TimeDomain.WATERMARK)
_CHECK: Final = beam.DoFn.TimerParam(_CHECK_TIMER)
_END: Final = beam.DoFn.TimerParam(_END_TIMER)


class _Hold(_Gate):
    """Holds a shard's accounts in bag state, and checks them every minute, the oldest first.

    Workers are not blocked meanwhile, and a worker's death loses none. At a drain and at the end of a bounded input the
    accounts that are still held are dead-lettered, as retryable.
    """

    def process(
        self,
        element: tuple[str, AccountChange],
        window: Any = beam.DoFn.WindowParam,
        held: Any = _HELD,
        check: Any = _CHECK,
        end: Any = _END,
    ) -> _Outputs:
        change = element[1]
        if self.count.admits():
            self.admitted.inc()
            yield change
            return
        self.held.inc()
        held.add(change)
        check.set(self.clock() + CHECK_SECONDS)
        end.set(window.max_timestamp())

    @on_timer(_CHECK_TIMER)
    def on_check(self, held: Any = _HELD, check: Any = _CHECK) -> _Outputs:
        """Emit the changes that the budget admits, and check the rest later."""
        waiting = sorted(held.read(), key=lambda change: change.order)
        admitted = 0
        while admitted < len(waiting) and self.count.admits():
            admitted += 1
        if admitted:
            held.clear()
            for change in waiting[admitted:]:
                held.add(change)
        if admitted < len(waiting):
            check.set(self.clock() + CHECK_SECONDS)
        self.admitted.inc(admitted)
        for change in waiting[:admitted]:
            yield TimestampedValue(change, Timestamp.of(self.clock()))

    @on_timer(_END_TIMER)
    def on_input_end(self, held: Any = _HELD) -> _Outputs:
        """Dead-letter the changes that are still held: no timer fires after the end of the input."""
        for change in held.read():
            dead_letter = self.dead_letter(change)
            yield TaggedOutput(dead_letter.tag, TimestampedValue(dead_letter.value, Timestamp.of(self.clock())))
        held.clear()
