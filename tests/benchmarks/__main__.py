"""`make bench`: the coder, parsing, batching, token budget and scoring benchmarks of docs/benchmarks.md."""

from pipeline.terminal.logs import configure_logging
from tests.benchmarks import batching, coders, held_accounts, parsing
from tests.benchmarks.scoring import suite

if __name__ == "__main__":
    configure_logging()
    coders.run()
    parsing.run()
    batching.run()
    held_accounts.run()
    suite.run()
