"""`make bench`: measures what docs/benchmarks.md reports."""

from pipeline.terminal.logs import configure_logging
from tests.benchmarks import coders, parsing
from tests.benchmarks.scoring import suite

if __name__ == "__main__":
    configure_logging()
    coders.run()
    parsing.run()
    suite.run()
