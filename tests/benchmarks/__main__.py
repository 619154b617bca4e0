"""`make bench`: the coder, parsing and scoring benchmarks of docs/benchmarks.md."""

from pipeline.terminal.logs import configure_logging
from tests.benchmarks import coders, parsing
from tests.benchmarks.scoring import suite

if __name__ == "__main__":
    configure_logging()
    coders.run()
    parsing.run()
    suite.run()
