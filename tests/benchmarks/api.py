"""`python -m tests.benchmarks.api [--seconds N] [--rate N]`: `rescore serve` under load.

The command runs as a process on the emulators, with 8,803 accounts and a year of history. Requests are sent at a steady
rate, whether or not earlier ones were answered, from this process; the mix is that of people who look at scores. Linux
only.
"""

import argparse
import asyncio
import datetime as dt
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from schemas.account_context import AccountProfile
from schemas.score import Impact, Score, ScoreDriver, ScoreStatus, tier_of
from schemas.tables import ACCOUNT_SCORES, ACCOUNTS
from tests.benchmarks.emulated_warehouse import emulated_warehouse
from tests.fixtures.changes import account_id
from transforms.clients.bigquery import Warehouse

ACCOUNTS_COUNT: Final = 8_803
SCORES_EACH: Final = 24
"""Of a year: two material changes a month."""

GOAL_MS: Final = 50.0
_READY_SECONDS: Final = 900.0
_WORDS: Final = (
    "Quillon",
    "Travel",
    "Northwind",
    "Energy",
    "Umbrella",
    "Partners",
    "Bakers",
    "Logistics",
    "Müller",
    "Söhne",
)
_INDUSTRIES: Final = ("Energy", "Retail", "Software", "Transport", "Health")
_LOAD_BATCH: Final = 20_000
_LOOK_SECONDS: Final = 15


def run(seconds: float, rate: float, scores_each: int) -> None:
    """Fill the emulator, serve, send, and print the figures."""
    with emulated_warehouse() as warehouse, tempfile.TemporaryDirectory() as folder:
        now = dt.datetime.now(dt.UTC)
        warehouse.replace_rows(CRM_DATASET, ACCOUNTS, _profiles(now))
        batch: list[Score] = []
        for score in _scores(now, scores_each):
            batch.append(score)
            if len(batch) == _LOAD_BATCH:
                warehouse.append_rows(SCORING_DATASET, ACCOUNT_SCORES, batch)
                batch.clear()
        if batch:
            warehouse.append_rows(SCORING_DATASET, ACCOUNT_SCORES, batch)
        with _served(warehouse, Path(folder)) as (process, address, filled):
            load = os.getloadavg()[0]
            resident = [_resident_mb(process.pid)]
            done = asyncio.run(_send(address, seconds, rate, lambda: resident.append(_resident_mb(process.pid))))
            _tell(done, filled, resident, load)


def _profiles(now: dt.datetime) -> list[AccountProfile]:
    dice = random.Random(1)
    return [
        AccountProfile(
            account_id=account_id(number),
            name=f"{dice.choice(_WORDS)} {dice.choice(_WORDS)} {number}",
            owner_id=f"005{number % 40:012}AAA",
            industry=dice.choice(_INDUSTRIES),
            modified_at=now,
        )
        for number in range(ACCOUNTS_COUNT)
    ]


def _scores(now: dt.datetime, each: int) -> Iterator[Score]:
    dice = random.Random(2)
    driver = ScoreDriver(
        factor="Deal close to signature", impact=Impact.POSITIVE, evidence="The furthest deal: 90 %. " * 4
    )
    for number in range(ACCOUNTS_COUNT):
        for serial in range(each):
            at = now - dt.timedelta(days=365 * dice.random())
            score = dice.randrange(101)
            yield Score(
                account_id=account_id(number),
                score_id=f"{number:016x}{serial:016x}",
                event_ids=(f"{number:016x}{serial:016x}",),
                change_committed_at=at,
                change_sequence=1,
                scored_at=at,
                status=ScoreStatus.SCORED,
                score=score,
                tier=tier_of(score),
                confidence=round(dice.random(), 2),
                drivers=(driver,) * 3,
                recommended_action="Call the decision maker this week and settle what is left before signature.",
                summary="Very likely to buy in the next 90 days. " * 3,
                changed_fields=("Rating", "LastModifiedDate"),
                model="gemini-x",
                model_version="gemini-x-001",
                prompt_version="v2",
                context_hash=f"{serial:032x}",
                trace_id=f"{number:032x}",
                pipeline_version="1.0.0",
            )


@contextmanager
def _served(warehouse: Warehouse, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, float]]:
    """Run `rescore serve`; yield its process, its address, and how long the read model took to be filled."""
    log, began = folder / "serve.log", time.monotonic()
    command = [sys.executable, "-m", "pipeline", "serve", f"--project={warehouse.project}", "--allow-anonymous"]
    options = ["--port=0", "--no-check", "--reads-a-minute=1000000"]
    with log.open("wb") as errors, subprocess.Popen([*command, *options], stderr=errors) as process:
        try:
            address = None
            while address is None or not asyncio.run(_is_ready(address)):
                if process.poll() is not None or time.monotonic() - began > _READY_SECONDS:
                    raise RuntimeError(f"it did not start:\n{log.read_text()}")
                time.sleep(0.2)
                found = re.search(r"at (http://\S+);", log.read_text())
                address = found[1] if found else None
            yield process, address, time.monotonic() - began
        finally:
            process.send_signal(signal.SIGTERM)


async def _is_ready(address: str) -> bool:
    try:
        async with aiohttp.ClientSession(address) as session, session.get("/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@dataclass
class Done:
    """What was answered, and how long it took, by kind of request."""

    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    bytes: int = 0
    late: int = 0
    """Requests that this process sent more than 50 ms after they were due: it was too slow itself."""


def _request(dice: random.Random) -> tuple[str, str]:
    """Return the kind of a request and its path."""
    kind = dice.choices(
        ("the highest", "a tier", "a name", "an owner", "moved in 7 days", "an account", "its history"),
        (20, 10, 15, 5, 10, 30, 10),
    )[0]
    account = account_id(dice.randrange(ACCOUNTS_COUNT))
    path = {
        "the highest": "/v1/scores",
        "a tier": f"/v1/scores?tier={dice.choice(('hot', 'warm', 'cool', 'cold'))}&industry={dice.choice(_INDUSTRIES)}",
        "a name": f"/v1/scores?search={dice.choice(_WORDS)}+{dice.randrange(100)}&limit=20",
        "an owner": f"/v1/scores?owner=005{dice.randrange(40):012}AAA&sort=name",
        "moved in 7 days": "/v1/scores?moved_days=7&sort=-moved",
        "an account": f"/v1/accounts/{account}",
        "its history": f"/v1/accounts/{account}/scores",
    }
    return kind, path[kind]


async def _send(address: str, seconds: float, rate: float, look: Callable[[], None]) -> Done:
    done, dice = Done(), random.Random(3)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(address, connector=connector) as session:
        await _ask(session, "warm", "/v1/scores?moved_days=7&sort=-moved", time.perf_counter(), Done())
        began = time.perf_counter()
        asked: set[asyncio.Task[None]] = set()
        for number in range(int(seconds * rate)):
            due = began + number / rate
            if number and not number % int(rate * _LOOK_SECONDS):
                look()
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(_ask(session, *_request(dice), due, done))
            asked.add(task)
            task.add_done_callback(asked.discard)
        await asyncio.gather(*asked)
    look()
    return done


async def _ask(session: aiohttp.ClientSession, kind: str, path: str, due: float, done: Done) -> None:
    sent = time.perf_counter()
    done.late += sent - due > GOAL_MS / 1_000
    try:
        async with session.get(path) as answer:
            done.bytes += len(await answer.read())
            done.statuses[answer.status] += 1
    except aiohttp.ClientError:
        done.statuses[0] += 1
    done.milliseconds.setdefault(kind, []).append(1_000 * (time.perf_counter() - sent))


def _tell(done: Done, filled: float, resident: Sequence[float], load: float) -> None:
    everything = [it for some in done.milliseconds.values() for it in some]
    lines = [
        f"| {kind} | {len(some):,} | {_of(some, 50):.1f} | {_of(some, 95):.1f} |"
        for kind, some in done.milliseconds.items()
    ]
    print("| request | sent | p50, ms | p95, ms |\n|---|---|---|---|")  # noqa: T201 - a report
    print("\n".join([*lines, f"| all | {len(everything):,} | {_of(everything, 50):.1f} | {_of(everything, 95):.1f} |"]))  # noqa: T201
    errors = sum(count for status, count in done.statuses.items() if status != 200)
    print(  # noqa: T201 - a report
        f"p99 {_of(everything, 99):.1f} ms, longest {max(everything):.0f} ms (goal: p95 below {GOAL_MS:.0f} ms); "
        f"{errors} errors; {done.bytes / 1e6:,.0f} MB; {done.late} sent late\n"
        f"read model filled after {filled:.0f} s; resident MB before, and every {_LOOK_SECONDS} s: "
        f"{', '.join(f'{it:.0f}' for it in resident)}; "
        f"load average before {load:.1f} on {os.cpu_count()} cores"
    )


def _of(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1_024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--scores-each", type=int, default=SCORES_EACH)
    run(**vars(parser.parse_args()))
