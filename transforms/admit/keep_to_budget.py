"""Keep to budget: accounts beyond the daily token budget wait in state, or are dead-lettered."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from schemas.change_event import AccountChange
from transforms.admit.held_accounts import Ended, HeldAccount, next_check, with_change
from transforms.admit.token_budget import BudgetAction, BudgetCount, TokenBudget
from transforms.admit.token_usage import shared_count
from transforms.coders import RecordCoder
from transforms.errors import BudgetExhausted
from transforms.ledger import Ledger, Received
from transforms.outputs import DEAD_LETTERS, OUTCOMES, TaggedDeadLetter, TaggedOutcome, stamped

STAGE: Final = "Keep to budget"
CHANGES: Final = "changes"
CountOf = Callable[[TokenBudget], BudgetCount]
_Outputs = Iterator[AccountChange | TaggedDeadLetter | TaggedOutcome]


@dataclass
class KeepToBudget(beam.PTransform):
    """Admit the changes that the budget pays for; without a budget all are admitted.

    Input: AccountChange. Outputs: AccountChange that may be scored (main), DeadLetter (`dead_letters`), Outcome of each
    change that another one of its account stands for, while that waits (`outcomes`).

    It comes before batching, so that a held account costs no query and gets its context when it is scored. `count_of`
    and `clock`, which returns epoch seconds, must be picklable.
    """

    budget: TokenBudget | None
    pipeline_version: str
    count_of: CountOf = shared_count
    clock: Callable[[], float] = time.time

    def expand(self, changes: beam.PCollection[AccountChange]) -> Any:
        """Admit, hold or dead-letter each change."""
        if self.budget is None:
            gate, gated = _LetPass(), changes
        elif self.budget.action is BudgetAction.DEAD_LETTER:
            gate, gated = _Refuse(self.budget, self), changes
        else:
            gate = _Hold(self.budget, self)
            gated = changes | "Key by account" >> beam.Map(
                lambda change: (change.account_id, change)
            ).with_output_types(tuple[str, AccountChange])
        checked = "Check budget" >> beam.ParDo(gate)
        return gated | checked.with_outputs(DEAD_LETTERS, OUTCOMES, main=CHANGES)


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


_HELD: Final = beam.DoFn.StateParam(ReadModifyWriteStateSpec("account_held_by_budget", RecordCoder(HeldAccount)))
_CHECK_TIMER: Final = TimerSpec("account_budget_check", TimeDomain.REAL_TIME)
_END_TIMER: Final = TimerSpec("budget_input_end", TimeDomain.WATERMARK)
_CHECK: Final = beam.DoFn.TimerParam(_CHECK_TIMER)
_END: Final = beam.DoFn.TimerParam(_END_TIMER)


class _Hold(_Gate):
    """Holds an account in its own state, with its own timer.

    A firing reads and releases one account, whatever the number that waits. Its time is set when the account begins to
    wait, and traffic does not move it. Workers are not blocked meanwhile, and a worker's death loses none. At a drain
    and at the end of a bounded input the accounts that are still held are dead-lettered, as retryable.
    """

    def __init__(self, budget: TokenBudget, config: KeepToBudget) -> None:
        super().__init__(budget, config)
        self.coalesced = Metrics.counter(STAGE, "coalesced_total")

    def process(
        self,
        element: tuple[str, AccountChange],
        window: Any = beam.DoFn.WindowParam,
        held: Any = _HELD,
        check: Any = _CHECK,
        end: Any = _END,
    ) -> _Outputs:
        change = element[1]
        before: HeldAccount | None = held.read()
        if before:
            change, ended = with_change(before.change, change)
            yield self._outcome(ended)
        if self.count.admits():
            self.admitted.inc()
            if before:
                held.clear()
                check.clear()  # it would hold the watermark
            yield change
            return
        now = self.clock()
        held.write(HeldAccount(change=change, held_at=before.held_at if before else now))
        if before is None:
            self.held.inc()
            check.set(next_check(change.account_id, now, now))
            end.set(window.max_timestamp())

    @on_timer(_CHECK_TIMER)
    def on_check(self, held: Any = _HELD, check: Any = _CHECK) -> _Outputs:
        """Emit the account if the budget admits it, or check it later; a timer may fire early, late or twice."""
        waiting: HeldAccount | None = held.read()
        if waiting is None:
            return
        now = self.clock()
        if self.count.admits():
            self.admitted.inc()
            held.clear()
            yield stamped(waiting.change, Timestamp.of(now))
        else:
            check.set(next_check(waiting.change.account_id, waiting.held_at, now))

    @on_timer(_END_TIMER)
    def on_input_end(self, held: Any = _HELD, check: Any = _CHECK) -> _Outputs:
        """Dead-letter the account if it is still held: no timer fires after the end of the input."""
        waiting: HeldAccount | None = held.read()
        if waiting:
            held.clear()
            check.clear()
            yield stamped(self.dead_letter(waiting.change), Timestamp.of(self.clock()))

    def _outcome(self, ended: Ended) -> TaggedOutcome:
        self.coalesced.inc(ended.coalesced_into is not None)
        return TaggedOutput(
            OUTCOMES,
            self.ledger.outcome(
                ended.received, ended.outcome, reason=ended.reason, coalesced_into=ended.coalesced_into
            ),
        )
