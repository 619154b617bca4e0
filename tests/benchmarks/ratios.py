"""Ratios between ways of doing the same work, measured side by side: ratios vary less than times on noisy machines."""

import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

BUILD = Path(__file__).parents[2] / "build"
ROUNDS = 5


@dataclass(frozen=True)
class Measurement:
    """CPU microseconds of one call, the median of `ROUNDS` rounds, and the ratio to the first row of the table."""

    name: str
    microseconds: float
    ratio: float


def side_by_side(work: Mapping[str, Callable[[], object]], *, repeat: int) -> list[Measurement]:
    """Call each callable `repeat` times per round, in turns, and return the medians of `ROUNDS` rounds."""
    rounds: dict[str, list[float]] = {name: [] for name in work}
    gc.disable()
    for _ in range(ROUNDS):
        for name, call in work.items():
            started = time.process_time()
            for _ in range(repeat):
                call()
            rounds[name].append((time.process_time() - started) / repeat * 1e6)
    gc.enable()
    medians = {name: statistics.median(times) for name, times in rounds.items()}
    base = next(iter(medians.values()))
    return [Measurement(name, round(median, 2), round(median / base, 2)) for name, median in medians.items()]


def report(title: str, measurements: list[Measurement]) -> None:
    """Print a table, and write it to build/benchmarks.json."""
    print(f"\n{title}")  # noqa: T201 - a report for people
    for row in measurements:
        print(f"  {row.name:44} {row.microseconds:>9.2f} us  x{row.ratio:.2f}")  # noqa: T201 - a report for people
    keep(title, [asdict(row) for row in measurements])


def keep(title: str, figures: object) -> None:
    """Add figures under their title to build/benchmarks.json."""
    BUILD.mkdir(exist_ok=True)
    file = BUILD / "benchmarks.json"
    kept = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(kept | {title: figures}, indent=2))
