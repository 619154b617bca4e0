"""How full batches are, what that saves, and what waiting for them costs, at several rates of changes.

python -m tests.benchmarks.batching [CHANGES]

Simulated (`batching_simulation.py`), beside what it was before. Tokens are those of `tests.benchmarks.bill`, priced by
the default model's row of `prices.yaml`, with the instruction from Gemini's cache and without.
"""

import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.benchmarks import bill
from tests.benchmarks.batching_simulation import Batch, Batching, arrivals, before, now
from transforms.clients.gemini_api import DEFAULT_MODEL
from transforms.score.prices import load_prices

PER_MINUTE: Final = (1, 10, 40, 100, 1_000)
CHANGES: Final = 50_000

# Tokens of a call: those of the instruction, and those of each account, from the two measured points.
_INSTRUCTION: Final = (bill.PROMPT_TOKENS_ALONE - bill.PROMPT_TOKENS_AT_FIVE) / (1 - 1 / bill.ACCOUNTS_PER_CALL)
_ACCOUNT: Final = bill.PROMPT_TOKENS_ALONE - _INSTRUCTION


@dataclass(frozen=True)
class Result:
    """What a batching did with changes.

    Attributes:
        prompt_tokens: Of an account.
        usd: For 1,000 accounts, with the instruction cached, and without a cache.
    """

    accounts_per_batch: float
    accounts_per_call: float
    wait_p50: float
    wait_p95: float
    prompt_tokens: float
    usd: tuple[float, float]


def result(batches: Sequence[Batch]) -> Result:
    """Return the figures of batches."""
    waits = sorted(wait for batch in batches for wait in batch.waits)
    calls, accounts = sum(batch.calls for batch in batches), len(waits)
    instructions = calls * _INSTRUCTION
    return Result(
        accounts_per_batch=accounts / len(batches),
        accounts_per_call=accounts / calls,
        wait_p50=statistics.median(waits),
        wait_p95=waits[math.ceil(0.95 * accounts) - 1],
        prompt_tokens=(instructions + accounts * _ACCOUNT) / accounts,
        usd=(_usd(instructions, accounts, cached=True), _usd(instructions, accounts, cached=False)),
    )


def _usd(instructions: float, accounts: int, *, cached: bool) -> float:
    """Return the dollars for 1,000 accounts: a million tokens of a thousand accounts cancel out."""
    price = load_prices()[DEFAULT_MODEL]
    of_instructions = instructions * (price.cached_input if cached else price.input)
    of_accounts = accounts * (_ACCOUNT * price.input + bill.OUTPUT_TOKENS * price.output)
    return (of_instructions + of_accounts) / accounts / 1_000


def results(per_minute: float, changes: int, batching: Batching) -> Result:
    """Return what a batching does at a rate."""
    return result(list(batching(arrivals(per_minute, changes))))


def rows(changes: int = CHANGES) -> Iterator[str]:
    """Yield the table in Markdown."""
    yield (
        "| changes a minute | | accounts in a batch | accounts a call | wait, median; p95 | prompt tokens an account "
        "| dollars for 1,000 accounts; without a cache |"
    )
    yield "|---:|---|---:|---:|---:|---:|---:|"
    for rate in PER_MINUTE:
        for name, batching in (("before", before), ("now", now)):
            of = results(rate, changes, batching)
            yield (
                f"| {rate:,} | {name} | {of.accounts_per_batch:.1f} | {of.accounts_per_call:.2f} "
                f"| {of.wait_p50:.2f} s; {of.wait_p95:.2f} s | {of.prompt_tokens:,.0f} "
                f"| {of.usd[0]:.2f}; {of.usd[1]:.2f} |"
            )


def run() -> None:
    """Print the table; part of `make bench`."""
    sys.stdout.write("\n".join(rows()) + "\n")


if __name__ == "__main__":
    sys.stdout.write("\n".join(rows(int(sys.argv[1]) if len(sys.argv) > 1 else CHANGES)) + "\n")
