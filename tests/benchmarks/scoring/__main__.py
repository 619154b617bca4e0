"""`python -m tests.benchmarks.scoring [W1 …] [--rounds N] [--accounts N]`: the scoring benchmarks, or some of them."""

import argparse

from pipeline.local.crm.generator import FULL_SIZE
from pipeline.logs import configure_logging
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

BENCHMARKS = {
    "W1": w1_throughput.run,
    "W2": w2_latency.run,
    "W3": w3_accounts_per_call.run,
    "W4": w4_falling_cap.run,
    "W5": w5_hot_key.run,
    "W6": w6_faults.run,
    "W7": w7_cpu.run,
}


def run(names: list[str], *, rounds: int = ROUNDS, accounts: int = FULL_SIZE) -> None:
    """Run benchmarks by name; none means all."""
    for name in names or BENCHMARKS:
        BENCHMARKS[name](rounds, accounts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scoring")
    parser.add_argument("names", nargs="*", metavar="W", help=f"of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--accounts", type=int, default=FULL_SIZE)
    options = parser.parse_args()
    configure_logging()
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}")
    run(options.names, rounds=options.rounds, accounts=options.accounts)
