"""The scoring benchmarks by name."""

from collections.abc import Callable, Sequence
from typing import Final

from pipeline.local.crm.generator import FULL_SIZE
from tests.benchmarks.scoring import (
    w1_throughput,
    w2_latency,
    w3_accounts_per_call,
    w4_falling_cap,
    w5_hot_key,
    w6_faults,
    w7_cpu,
)
from tests.benchmarks.scoring.contest import ROUNDS

BENCHMARKS: Final[dict[str, Callable[[int, int], None]]] = {
    "W1": w1_throughput.run,
    "W2": w2_latency.run,
    "W3": w3_accounts_per_call.run,
    "W4": w4_falling_cap.run,
    "W5": w5_hot_key.run,
    "W6": w6_faults.run,
    "W7": w7_cpu.run,
}


def run(names: Sequence[str] = (), *, rounds: int = ROUNDS, accounts: int = FULL_SIZE) -> None:
    """Run benchmarks by name; all without names."""
    for name in names or BENCHMARKS:
        BENCHMARKS[name](rounds, accounts)
