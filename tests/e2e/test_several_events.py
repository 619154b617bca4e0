"""Messages of several events, published, scored, dead-lettered and replayed on a local stack."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.dead_letters.held_dead_letter import HeldDeadLetter
from pipeline.dead_letters.hold_subscription import HoldSubscription
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.local.crm.generator import generate_crm
from pipeline.local.stack import LocalStack, load_crm
from pipeline.resources.names import SCORING_DATASET, TOPIC
from schemas.clock import utc_now
from tests.benchmarks.replay_scored import received_messages, reconciled, run_graph
from tests.fixtures.changes import account_id, event
from transforms.clients.messages import Message
from transforms.clients.pubsub import MessagePublisher


def _run(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.stderr[-2_000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_replay_of_one_event_repeats_none_of_the_others(stack: LocalStack, tmp_path: Path) -> None:
    """Each event has its outcome; the unreadable one's dead letter has the message's bytes.

    When it can be read, because its schema is registered, a replay scores it, and the others are not scored again.
    """
    crm = generate_crm(accounts=3, seed=8, as_of=utc_now())
    load_crm(stack.warehouse, crm)
    first, second, third = (account.account_id for account in crm.accounts)
    bitmaps = {"schemaId": "S1", "payload": event({"Rating": "Hot"}, changedFields=["0x2"], recordIds=[third])}
    message = gzip.compress(
        orjson.dumps([event(recordIds=[first]), bitmaps, event(recordIds=[second, account_id(404)])])
    )
    publisher = MessagePublisher()
    publisher.publish(
        f"projects/{stack.project}/topics/{TOPIC}",
        [Message(message, {"content-encoding": "gzip", "sender": "a bridge"})],
    )
    publisher.close()
    run_graph(stack, received_messages(stack))
    assert _outcomes(stack) == {("received", 0): 4, ("scored", 0): 2, ("dead_lettered", 0): 2}

    by_class = {it.attributes["error_class"]: it for it in _held(stack)}
    unreadable, unknown = by_class["unsupported_event"], by_class["account_not_found"]
    assert unreadable.payload == message
    assert (unreadable.attributes["event_in_message"], unreadable.attributes["sender"]) == ("2", "a bridge")
    assert json.loads(unknown.payload)["ChangeEventHeader"]["recordIds"] == [account_id(404)]
    assert "content-encoding" not in unknown.attributes
    listed = _run("dead-letters", "list", "--each")["each"]
    shown = {it["error_class"]: _run("dead-letters", "show", it["dead_letter_id"])["explained"] for it in listed}
    assert [it["decision"] for it in shown["unsupported_event"]] == ["dead_letter"]
    assert [it["account_id"] for it in shown["account_not_found"]] == [account_id(404)]

    schemas = tmp_path / "schemas"
    schemas.mkdir()
    fields = [{"name": name, "type": "string"} for name in ("ChangeEventHeader", "Rating")]
    (schemas / "S1.avsc").write_text(json.dumps({"type": "record", "name": "AccountChangeEvent", "fields": fields}))
    planned = _run("dead-letters", "replay", "--class", "unsupported_event", "--force", "--schemas", str(schemas))
    assert planned["decisions"] == {"rescore": 1}
    replayed = _run(
        *("dead-letters", "replay", "--class", "unsupported_event", "--force", "--reason", "schema registered"),
        *("--execute", "--quiet", "1", "--rate", "100", "--schemas", str(schemas)),
    )
    assert replayed["replayed"] == 1
    run_graph(stack, received_messages(stack), f"--schemas={schemas}")
    # The readable event has an identity of its own; nothing else came again.
    assert _outcomes(stack) == {
        ("received", 0): 4,
        ("scored", 0): 2,
        ("dead_lettered", 0): 2,
        ("received", 1): 1,
        ("scored", 1): 1,
    }
    assert reconciled(stack)["ok"]
    scores = stack.warehouse.query(f"SELECT account_id FROM `{stack.project}.{SCORING_DATASET}.account_scores`")  # noqa: S608 - our own names
    assert sorted(row["account_id"] for row in scores) == sorted([first, second, third])


def _held(stack: LocalStack) -> list[HeldDeadLetter]:
    """Return the dead letters on the hold subscription, and leave them there."""
    hold = HoldSubscription(ReplayResources(stack.project).hold_path)
    held = hold.pull(10)
    hold.nack([it.ack_id for it in held])
    hold.close()
    return held


def _outcomes(stack: LocalStack) -> dict[tuple[str, int], int]:
    """Count the ledger's rows by outcome and replay."""
    rows = stack.warehouse.query(
        f"SELECT DISTINCT event_id, outcome, replay_count FROM `{stack.project}.{SCORING_DATASET}.change_outcomes`"  # noqa: S608 - our own names
    )
    return Counter((row["outcome"], row["replay_count"]) for row in rows)
