"""What a day's changes need and cost on Google Cloud, from what was measured locally and from list prices.

python -m tests.benchmarks.bill CHANGES ACCOUNTS    prints it for your own changes a day and accounts in the CRM
python -m tests.benchmarks.bill PAGE                writes the tables of docs/sizing-and-cost.md, which explains them
"""

import functools
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.benchmarks.batching_simulation import arrivals, now
from transforms.admit.batching import BatchLimits
from transforms.clients.gemini_api import DEFAULT_MODEL
from transforms.score.prices import load_prices

# Measured locally (docs/benchmarks.md, docs/adr/020) and on the data of `rescore demo`.
REACHES_GEMINI: Final = 55_904 / 101_892
"""Share of the received changes, after filtering and coalescing, of the simulated day."""
MESSAGE_BYTES: Final = 2_633
"""Mean payload of the simulated day; the median is 799."""
CALLS_PER_ACCOUNT_AT_FIVE: Final = 133 / 600
PROMPT_TOKENS_ALONE, PROMPT_TOKENS_AT_FIVE = 5_471, 1_989
CACHED_TOKENS_ALONE, CACHED_TOKENS_AT_FIVE = 4_348, 988
OUTPUT_TOKENS: Final = 252
SCORE_ROW_BYTES, LEDGER_ROW_BYTES = 1_077, 213
"""By BigQuery's rules for data sizes; mean rows of the demo."""
MIRROR_BYTES_PER_ACCOUNT: Final = {"accounts": 225, "opportunities": 517, "emails": 4_244, "calls": 359}
CPU_SECONDS_PER_CHANGE: Final = 1 / 3_278
CPU_SECONDS_PER_SCORE: Final = 33 / 8_803

# Reported for the model (docs/model-choice.md).
FIRST_TOKEN_SECONDS, OUTPUT_TOKENS_PER_SECOND = 0.5, 257

# Assumed: replace them with your own.
PEAK: Final = 5
"""The busiest minutes of a day, relative to its mean."""
LOOKUP_SECONDS: Final = 1.0
"""The two BigQuery queries of a batch together."""
STREAMING_ENGINE_BYTES: Final = 20_000
"""What a change adds to Streaming Engine, in all shuffles and states together."""

# Defaults of the pipeline and of infrastructure/.
ACCOUNTS_PER_CALL, BATCH_SIZE = 5, 40
SIMULATED: Final = 20_000
"""Changes, of whose batches the means are taken."""
MIN_WORKERS, VCPUS, MEMORY_GIB, DISK_GIB, THREADS, UTILIZATION = 2, 2, 8, 30, 24, 0.5
RETAINED_DAYS, HISTORY_DAYS, LAST_SCORES_DAYS = 7, 400, 7

GIB, TIB, MIB = 2**30, 2**40, 2**20
DAYS, HOURS = 365 / 12, 730
"""Of a month."""


@dataclass(frozen=True)
class Price:
    """A list price in US dollars, and the page that has it."""

    what: str
    usd: float
    unit: str
    page: str


DATAFLOW: Final = "https://cloud.google.com/dataflow/pricing"
PUBSUB: Final = "https://cloud.google.com/pubsub/pricing"
BIGQUERY: Final = "https://cloud.google.com/bigquery/pricing"

VCPU: Final = Price("Dataflow, streaming vCPU", 0.069, "vCPU hour", DATAFLOW)
MEMORY: Final = Price("Dataflow, memory", 0.003557, "GiB hour", DATAFLOW)
STREAMED: Final = Price("Dataflow, Streaming Engine data processed", 0.018, "GiB", DATAFLOW)
DISK: Final = Price("Dataflow, standard disk", 0.000054, "GiB hour", DATAFLOW)
MESSAGES: Final = Price("Pub/Sub, publishing and delivery, after 10 GiB a month", 40.0, "TiB", PUBSUB)
RETAINED: Final = Price("Pub/Sub, retained acknowledged messages", 0.27, "GiB month", PUBSUB)
INSERTED: Final = Price("BigQuery, streaming inserts, each row counted as 1 KB at least", 0.01, "200 MB", BIGQUERY)
STORED: Final = Price("BigQuery, active storage, after 10 GiB", 0.02, "GiB month", BIGQUERY)
STORED_LONG: Final = Price("BigQuery, storage of partitions unchanged for 90 days", 0.01, "GiB month", BIGQUERY)
QUERIED: Final = Price("BigQuery, on-demand queries, after 1 TiB a month", 6.25, "TiB", BIGQUERY)
SLOT: Final = Price("BigQuery, slot of the Standard edition", 0.04, "slot hour", BIGQUERY)
REDIS: Final = Price(
    "Memorystore for Redis, Basic, 1 to 4 GiB",
    0.049,
    "GiB hour",
    "https://cloud.google.com/memorystore/docs/redis/pricing",
)
LOGGED: Final = Price(
    "Cloud Logging, after 50 GiB a month", 0.50, "GiB", "https://cloud.google.com/stackdriver/pricing"
)
PRICES: Final = (
    VCPU, MEMORY, STREAMED, DISK, MESSAGES, RETAINED, INSERTED, STORED, STORED_LONG, QUERIED, SLOT, REDIS, LOGGED
)  # fmt: skip


@dataclass(frozen=True)
class Batching:
    """`--batch_shards` and `--batch_wait_seconds`."""

    shards: int = 1
    wait_seconds: float = 10.0


@dataclass(frozen=True)
class Load:
    """What a day brings, spread evenly over it, and what follows from it."""

    changes: int
    accounts: int
    batching: Batching = Batching()

    @property
    def scores(self) -> float:
        """Accounts that Gemini scores in a day; carried-over scores would lower it."""
        return self.changes * REACHES_GEMINI

    def per_second(self, peak: float = 1) -> float:
        """Scores per second."""
        return self.scores * peak / 86_400

    def batch(self, peak: float = 1) -> tuple[float, float]:
        """Return the mean number of accounts and of Gemini calls of a batch, as simulated."""
        return _batch(60 * self.per_second(peak) / self.batching.shards, self.batching.wait_seconds)

    def batches(self) -> float:
        """Batches in a day; each has one query for contexts and one for last scores."""
        return self.scores / self.batch()[0]

    def calls_per_account(self) -> float:
        """Gemini calls for each account."""
        accounts, calls = self.batch()
        return calls / accounts

    def call_seconds(self, peak: float = 1) -> float:
        """Duration of a call: the first token, then the answers of its accounts."""
        accounts, calls = self.batch(peak)
        return FIRST_TOKEN_SECONDS + OUTPUT_TOKENS * accounts / calls / OUTPUT_TOKENS_PER_SECOND

    def calls_in_flight(self) -> float:
        """Concurrent Gemini calls at the peak."""
        accounts, calls = self.batch(PEAK)
        return self.per_second(PEAK) * calls / accounts * self.call_seconds(PEAK)

    def threads(self) -> float:
        """Worker threads that batches keep waiting at the peak."""
        accounts, _ = self.batch(PEAK)
        return self.per_second(PEAK) / accounts * (LOOKUP_SECONDS + self.call_seconds(PEAK))

    def vcpus(self) -> float:
        """Virtual CPUs that are busy at the peak."""
        changes = self.changes * PEAK / 86_400
        return changes * CPU_SECONDS_PER_CHANGE + self.per_second(PEAK) * CPU_SECONDS_PER_SCORE

    def workers(self) -> int:
        """Workers at the peak, two at least (production.tfvars)."""
        by_threads = self.threads() / THREADS  # one process for each worker (docs/adr/017)
        return max(MIN_WORKERS, math.ceil(by_threads), math.ceil(self.vcpus() / (VCPUS * UTILIZATION)))

    def tokens(self) -> tuple[float, float, float]:
        """Prompt tokens, those of them from the cache, and output tokens of a day, between the two measured points."""
        share = (self.calls_per_account() - CALLS_PER_ACCOUNT_AT_FIVE) / (1 - CALLS_PER_ACCOUNT_AT_FIVE)
        prompt = PROMPT_TOKENS_AT_FIVE + share * (PROMPT_TOKENS_ALONE - PROMPT_TOKENS_AT_FIVE)
        cached = CACHED_TOKENS_AT_FIVE + share * (CACHED_TOKENS_ALONE - CACHED_TOKENS_AT_FIVE)
        return self.scores * prompt, self.scores * cached, self.scores * OUTPUT_TOKENS

    def history_bytes(self, days: float) -> float:
        """Bytes of `account_scores` after some days."""
        return self.scores * SCORE_ROW_BYTES * days

    def lookup_bytes(self, *, pruned: bool) -> float:
        """Bytes billed for a batch's two queries: 10 MiB for each table at least, all of its window at most."""
        mirror = [self.accounts * size for size in MIRROR_BYTES_PER_ACCOUNT.values()]
        windows = (*mirror, self.history_bytes(LAST_SCORES_DAYS))
        return sum(10 * MIB if pruned else max(10 * MIB, window) for window in windows)


@functools.cache
def _batch(per_minute: float, wait_seconds: float) -> tuple[float, float]:
    batches = list(now(arrivals(per_minute, SIMULATED), BatchLimits(max_wait_seconds=wait_seconds)))
    return SIMULATED / len(batches), sum(batch.calls for batch in batches) / len(batches)


def dataflow(load: Load) -> float:
    """Dollars a month for the workers, as many as at the peak."""
    hourly = VCPUS * VCPU.usd + MEMORY_GIB * MEMORY.usd + DISK_GIB * DISK.usd
    return load.workers() * hourly * HOURS


def streaming_engine(load: Load) -> float:
    """Dollars a month for Streaming Engine, billed by data processed (the default)."""
    return load.changes * DAYS * STREAMING_ENGINE_BYTES / GIB * STREAMED.usd


def gemini(load: Load, *, caching: bool = True) -> float:
    """Dollars a month for tokens of the default model."""
    price = load_prices()[DEFAULT_MODEL]
    prompt, cached, output = load.tokens()
    cached = cached if caching else 0.0
    return ((prompt - cached) * price.input + cached * price.cached_input + output * price.output) / 1e6 * DAYS


def pubsub(load: Load) -> float:
    """Dollars a month: publishing, delivery, and retained messages."""
    published = load.changes * max(1_000, MESSAGE_BYTES)
    retained = published * RETAINED_DAYS / GIB * RETAINED.usd
    return max(0, 2 * published * DAYS - 10 * GIB) / TIB * MESSAGES.usd + retained


def inserts(load: Load) -> float:
    """Dollars a month: two ledger rows for each change, and scores."""
    rows = 2 * load.changes * max(1_000, LEDGER_ROW_BYTES) + load.scores * max(1_000, SCORE_ROW_BYTES)
    return rows * DAYS / 200e6 * INSERTED.usd


def storage(load: Load) -> float:
    """Dollars a month when partitions are as old as they get."""
    daily = load.history_bytes(1) + 2 * load.changes * LEDGER_ROW_BYTES
    active, old = daily * 90 / GIB, daily * (HISTORY_DAYS - 90) / GIB
    return max(0, active - 10) * STORED.usd + old * STORED_LONG.usd


def lookups(load: Load, *, pruned: bool) -> float:
    """Dollars a month for the on-demand queries of contexts and last scores."""
    return max(0, load.batches() * DAYS * load.lookup_bytes(pruned=pruned) - TIB) / TIB * QUERIED.usd


LOADS: Final = (Load(1_000, 1_000), Load(100_000, 10_000), Load(1_000_000, 100_000))
SHORTER: Final = Batching(wait_seconds=1)

Cell = Callable[[Load], str]
_END_OF_TABLE: Final = "\n\n"


def sizes(loads: Sequence[Load] = LOADS) -> str:
    """Return the table of sizes, in Markdown."""
    return _table(
        "changes a day",
        loads,
        {
            "accounts in the CRM": lambda load: f"{load.accounts:,}",
            f"changes per second; at the peak, {PEAK} times as many": lambda load: (
                f"{load.changes / 86_400:.2f}; {load.changes * PEAK / 86_400:.2f}"
            ),
            "accounts scored a day": lambda load: f"{load.scores:,.0f}",
            "accounts in a batch; Gemini calls per account": _batches,
            "BigQuery queries a day": lambda load: f"{2 * load.batches():,.0f}",
            "Gemini calls a day": lambda load: f"{load.scores * load.calls_per_account():,.0f}",
            "million tokens a day: prompt, of which cached, output": lambda load: ", ".join(
                f"{tokens / 1e6:,.1f}" for tokens in load.tokens()
            ),
            "calls in flight at the peak": lambda load: f"{load.calls_in_flight():.1f}",
            "waiting threads, busy vCPUs at the peak": lambda load: f"{load.threads():.1f}, {load.vcpus():.2f}",
            "workers": lambda load: str(load.workers()),
            "`account_scores` after 400 days": lambda load: f"{load.history_bytes(HISTORY_DAYS) / GIB:,.1f} GiB",
        },
    )


def bill(loads: Sequence[Load] = LOADS) -> str:
    """Return the table of a month's dollars, in Markdown."""
    parts: dict[str, Callable[[Load], float]] = {
        "Dataflow: workers": dataflow,
        "Dataflow: Streaming Engine": streaming_engine,
        "Gemini": gemini,
        "Pub/Sub": pubsub,
        "BigQuery: inserts": inserts,
        "BigQuery: storage after 400 days": storage,
        "BigQuery: lookups, at least": lambda load: lookups(load, pruned=True),
    }
    rows: dict[str, Cell] = {name: _in_dollars(part) for name, part in parts.items()}
    rows["**sum**"] = lambda load: f"**{_dollars(sum(part(load) for part in parts.values()))}**"
    rows["Gemini, if nothing is cached"] = _in_dollars(lambda load: gemini(load, caching=False))
    rows |= _unpruned()
    rows["BigQuery: lookups, by 50 slots around the clock instead"] = lambda _: _dollars(50 * SLOT.usd * HOURS)
    return _table("dollars a month at changes a day of", loads, rows)


def shorter_waits(loads: Sequence[Load] = LOADS) -> str:
    """Return the table of what a wait of one second changes, in Markdown."""
    rows: dict[str, Cell] = {
        "accounts in a batch; Gemini calls per account": _batches,
        "Gemini": _in_dollars(gemini),
        "BigQuery: lookups, at least": _in_dollars(lambda load: lookups(load, pruned=True)),
    }
    waiting = [replace(load, batching=SHORTER) for load in loads]
    return _table("dollars a month at changes a day of", waiting, rows | _unpruned())


def prices() -> str:
    """Return the table of prices, in Markdown."""
    rows = [f"| [{it.what}]({it.page}) | {it.usd:.6f}".rstrip("0").rstrip(".") + f" | {it.unit} |" for it in PRICES]
    return "\n".join(["| price | US dollars | per |", "|---|---:|---|", *rows])


def _table(head: str, loads: Sequence[Load], rows: Mapping[str, Cell]) -> str:
    lines = [f"| {head} | {' | '.join(f'{load.changes:,}' for load in loads)} |", "|---|" + "---:|" * len(loads)]
    lines += [f"| {name} | {' | '.join(cell(load) for load in loads)} |" for name, cell in rows.items()]
    return "\n".join(lines)


def _batches(load: Load) -> str:
    return f"{load.batch()[0]:.1f}; {load.calls_per_account():.2f}"


def _unpruned() -> dict[str, Cell]:
    return {
        "BigQuery: lookups, if clustering prunes nothing": _in_dollars(lambda load: lookups(load, pruned=False)),
    }


def _in_dollars(part: Callable[[Load], float]) -> Cell:
    return lambda load: _dollars(part(load))


def _dollars(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 1 or not amount else "under 1"


def with_tables(page: str) -> str:
    """Return a page with each of its tables as it is now: the lines below a comment with the table's name."""
    for name, table in (
        ("sizes", sizes()),
        ("bill", bill()),
        ("shorter_waits", shorter_waits()),
        ("prices", prices()),
    ):
        mark = f"<!-- {name}, by make generate -->\n\n"
        above, found, below = page.partition(mark)
        page = f"{above}{found}{table}{below[below.index(_END_OF_TABLE) :]}" if found else page
    return page


if __name__ == "__main__":
    match sys.argv[1:]:
        case [path]:
            Path(path).write_text(with_tables(Path(path).read_text("utf-8")), "utf-8")
        case [changes, accounts]:
            own = (Load(int(changes), int(accounts)),)
            print(sizes(own), bill(own), shorter_waits(own), sep="\n\n")  # noqa: T201 - a report for people
        case _:
            sys.exit(__doc__)
