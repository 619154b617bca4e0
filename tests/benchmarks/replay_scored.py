"""Dead letters of every class, replayed by the commands after their causes were fixed, and scored by the graph."""

import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.cloud import pubsub_v1

from pipeline.config.options import config_from
from pipeline.dead_letters.replay_journal import ReplayJournal
from pipeline.graph import build_graph
from pipeline.ledger.reconcile import reconcile
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import LocalStack, load_crm, local_stack
from pipeline.resources.names import DEAD_LETTER_TOPIC, SCORING_DATASET, SUBSCRIPTION
from schemas.change_event import AccountChange, SourceMessage, payload_event_id
from schemas.dead_letter import dead_letter_row
from schemas.failures import ErrorClass
from schemas.outcome import OutcomeKind, dead_lettered, outcome_id
from schemas.record import Record, to_row
from schemas.tables import CHANGE_OUTCOMES, DEAD_LETTERS
from tests.fixtures.changes import ACCOUNT_FIELDS, payload
from transforms.clients.pubsub import MessagePublisher
from transforms.errors import RefusedEvent, RescoringError
from transforms.ledger import Ledger, Received
from transforms.parse.message_parsing import parse_message
from transforms.write.publish_dead_letters import dead_letter_message
from transforms.write.write_rows import insert_requests

SEED: Final = 6
KILLS: Final = 3
AGAIN_SHARE: Final = 0.05
POLL_SECONDS: Final = 0.5
MIN_RATE: Final = 20
SECONDS: Final = 10
"""The least duration of the replay; its rate is set accordingly."""

VERSION_BEFORE: Final = "0.0.9"


def scored(count: int) -> None:
    """Print the outcomes of this number of dead letters, one for each account; the classes take turns."""
    with tempfile.TemporaryDirectory() as folder, local_stack(Path(folder)) as stack:
        _say(f"{count:,} dead letters of {len(ErrorClass)} classes, seed {SEED}")
        crm = generate_crm(accounts=count, seed=SEED, as_of=dt.datetime.now(dt.UTC))
        load_crm(stack.warehouse, crm)
        hold_dead_letters(stack, [account.account_id for account in crm.accounts])
        _replay_and_kill(stack, count)
        outcomes, seconds = score(stack)
        _say(f"outcomes: {outcomes}; {seconds:.0f} s, {sum(outcomes.values()) / seconds:.0f} dead letters/s")
        _report(stack, count)


def hold_dead_letters(stack: LocalStack, accounts: list[str]) -> None:
    """Write a dead letter for each account, as an earlier version would: message, row and ledger rows."""
    now = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=30)
    publisher = MessagePublisher()
    dead_letters, received = [], []
    for number, (account, error) in enumerate(zip(accounts, cycle(_errors()), strict=False)):
        source = SourceMessage(payload=payload(recordIds=[account]), message_id=f"before-{number}", published_at=now)
        ledger = Ledger("Before", VERSION_BEFORE, now=lambda: now)
        of = _received(source, error)
        received.append(ledger.outcome(of, OutcomeKind.RECEIVED))
        dead_letters.append(ledger.dead_letter(of, error, prompt_version="v1"))
    topic = f"projects/{stack.project}/topics/{DEAD_LETTER_TOPIC}"
    publisher.publish(topic, [dead_letter_message(dead_letter) for dead_letter in dead_letters])
    publisher.close()
    _insert(stack, DEAD_LETTERS, ((row.dead_letter_id, row) for row in map(dead_letter_row, dead_letters)))
    outcomes = [*received, *map(dead_lettered, dead_letters)]
    _insert(stack, CHANGE_OUTCOMES, ((outcome_id(outcome), outcome) for outcome in outcomes))


def _errors() -> list[RescoringError]:
    """Return one error of each error class."""
    kinds: list[type[RescoringError]] = [RescoringError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    by_class = {kind.error_class: kind for kind in kinds if hasattr(kind, "error_class")}
    missing = set(ErrorClass) - set(by_class)
    if missing:
        raise RuntimeError(f"no error has the class {', '.join(sorted(missing))}")
    return [by_class[error_class]("was not fixed yet") for error_class in ErrorClass]


def _received(source: SourceMessage, error: RescoringError) -> Received:
    """Return what the pipeline knew of a message: only its bytes if it could not be read."""
    if isinstance(error, RefusedEvent):
        identity = payload_event_id(source.payload)
        return Received(event_id=identity, source=source, trace_id=identity)
    (change,) = parse_message(source, account_fields=ACCOUNT_FIELDS)
    if not isinstance(change, AccountChange):
        raise TypeError("expected an account change")
    return Received.of(change)


def _insert(stack: LocalStack, table: Any, rows: Iterator[tuple[str, Record]]) -> None:
    for request in insert_requests(((id_, to_row(row)) for id_, row in rows), max_bytes=1_000_000):
        if stack.warehouse.insert_rows(SCORING_DATASET, table, request):
            raise RuntimeError(f"{table.name} refused rows")


def _replay_and_kill(stack: LocalStack, count: int) -> None:
    """Replay with the command, which is killed several times and resumed."""
    dice = random.Random(SEED)
    journal = ReplayJournal(stack.warehouse, SCORING_DATASET)
    rate = max(MIN_RATE, count // SECONDS)
    asked = ["replay", "--execute", "--rate", str(rate), "--reason", "a benchmark"]
    started = time.monotonic()
    for _ in range(KILLS):
        before = _replayed(journal)
        process = _command(stack, *asked, "--json")
        while process.poll() is None and _replayed(journal) == before:
            time.sleep(POLL_SECONDS)
        time.sleep(dice.uniform(0, 1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        _say(f"killed when the journal had {_replayed(journal):,} dead letters")
        asked = ["resume", "--take-over"]
    process = _command(stack, *asked, "--json")
    output, _ = process.communicate()
    document = json.loads(output)
    counts = f"replayed {document['replayed']:,}, parked {document['parked']}"
    _say(f"replay: {document['state']}, {counts}, {time.monotonic() - started:.0f} s including kills and waits")


def _replayed(journal: ReplayJournal) -> int:
    progress = journal.progress()
    return progress.replayed if progress else 0


def _command(stack: LocalStack, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "dead-letters", *arguments],
        env={**os.environ, **stack.environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def score(stack: LocalStack) -> tuple[dict[str, int], float]:
    """Run the graph over all messages of the subscription at once, on FnApiRunner, and return the outcomes.

    The DirectRunner, the default of `rescore run`, would take an hour for ten thousand. Some messages are repeated.

    Returns:
        The number of dead letters of the last replay by outcome, and the seconds of the run.
    """
    messages = received_messages(stack)
    seconds = run_graph(stack, messages + _again(messages))
    journal = ReplayJournal(stack.warehouse, SCORING_DATASET)
    progress = journal.progress()
    if progress is None:
        raise RuntimeError("the journal has no replay")
    return {str(name): count for name, count in journal.outcomes(progress.start).items()}, seconds


def run_graph(stack: LocalStack, messages: list[PubsubMessage], *arguments: str) -> float:
    """Run the graph over messages, and return the seconds."""
    options = PipelineOptions([f"--project={stack.project}", *arguments])
    started = time.monotonic()
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        build_graph(pipeline | beam.Create(messages), config_from(options))
    return time.monotonic() - started


def received_messages(stack: LocalStack) -> list[PubsubMessage]:
    """Pull and acknowledge all messages of the subscription, as the DirectRunner does."""
    name = f"projects/{stack.project}/subscriptions/{SUBSCRIPTION}"
    messages: list[PubsubMessage] = []
    with pubsub_v1.SubscriberClient() as subscriber:
        while received := subscriber.pull(subscription=name, max_messages=1_000, timeout=30).received_messages:
            subscriber.acknowledge(subscription=name, ack_ids=[item.ack_id for item in received])
            messages += [PubsubMessage._from_message(item.message) for item in received]
    return messages


def _again(messages: list[PubsubMessage]) -> list[PubsubMessage]:
    """Return copies of some messages, as from a replay that is killed between publishing and writing the journal."""
    some = random.Random(SEED).sample(messages, int(len(messages) * AGAIN_SHARE))
    return [PubsubMessage(it.data, it.attributes, f"{it.message_id}-again", it.publish_time) for it in some]


def scores_in_view(stack: LocalStack) -> tuple[int, int]:
    """Return the number of rows of the view, and the number of their accounts."""
    (view,) = stack.warehouse.query(
        f"SELECT COUNT(*) AS scores, COUNT(DISTINCT account_id) AS accounts "  # noqa: S608 - our own names
        f"FROM `{stack.project}.{SCORING_DATASET}.current_account_scores`"
    )
    return view["scores"], view["accounts"]


def reconciled(stack: LocalStack) -> dict[str, Any]:
    """Return the result of `rescore reconcile`."""
    return reconcile(project=stack.project, dataset=SCORING_DATASET, since="24h", grace="1s", limit=5).document()


def _report(stack: LocalStack, count: int) -> None:
    result = reconciled(stack)
    counts = {name: number for name, number in result["counts"].items() if number and ":" not in name}
    _say(f"reconcile: ok {result['ok']}, {result['events']:,} events, {counts}")
    _say(f"delivered again: {result['counts'].get('skipped:duplicate', 0)}")
    scores, accounts = scores_in_view(stack)
    _say(f"view: {scores:,} scores of {accounts:,} accounts; expected {count:,}")
    _say(f"Gemini calls: {stack.gemini.stats()['calls']:,}")


def _say(line: str) -> None:
    sys.stdout.write(f"  {line}\n")
    sys.stdout.flush()
