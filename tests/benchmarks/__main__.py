"""`make bench`: the benchmarks of docs/benchmarks.md that take minutes at most."""

from pipeline.terminal.logs import configure_logging
from tests.benchmarks import batching, coders, held_accounts, injection, parsing, redaction
from tests.benchmarks.scoring import suite

if __name__ == "__main__":
    configure_logging()
    coders.run()
    parsing.run()
    redaction.run()
    injection.run()
    batching.run()
    held_accounts.run()
    suite.run()
