"""`make bench`: measures what docs/benchmarks.md reports."""

from tests.benchmarks import coders, parsing

if __name__ == "__main__":
    coders.run()
    parsing.run()
