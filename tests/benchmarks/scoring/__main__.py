"""`python -m tests.benchmarks.scoring [W1 …] [--rounds N] [--accounts N]`: the scoring benchmarks, or some of them."""

import argparse

from pipeline.local.crm.generator import FULL_SIZE
from pipeline.terminal.logs import configure_logging
from tests.benchmarks.scoring.contest import ROUNDS
from tests.benchmarks.scoring.suite import BENCHMARKS, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scoring")
    parser.add_argument("names", nargs="*", metavar="W", help=f"of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--accounts", type=int, default=FULL_SIZE)
    options = parser.parse_args()
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}")
    configure_logging()
    run(options.names, rounds=options.rounds, accounts=options.accounts)
