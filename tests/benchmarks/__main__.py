"""`make bench`: the coder, parsing, batching and scoring benchmarks of docs/benchmarks.md."""

from pipeline.terminal.logs import configure_logging
from tests.benchmarks import batching, coders, parsing
from tests.benchmarks.scoring import suite

if __name__ == "__main__":
    configure_logging()
    coders.run()
    parsing.run()
    batching.run()
    suite.run()
