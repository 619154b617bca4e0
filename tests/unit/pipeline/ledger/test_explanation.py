"""Each decision about an event, with each of its reasons."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.ledger.explain import explain, render
from pipeline.ledger.explanation import Decision, Explanation, explain_message
from pipeline.terminal.times import rfc3339
from schemas.change_event import ChangeType
from tests.fixtures.changes import COMMITTED_AT, account_id, event, payload
from transforms.filter.materiality import load_materiality
from transforms.parse.avro_schemas import parse_event_schema

DEFAULTS = load_materiality(None)
CONTACT = "003ak00000IiFInAAN"


def _one(event: bytes, **options: Any) -> Explanation:
    (explanation,) = explain_message(event, options.pop("materiality", DEFAULTS), **options)
    return explanation


def _of_contact(body: dict[str, Any] | None = None, **header: Any) -> bytes:
    return payload(body or {}, entityName="Contact", recordIds=[CONTACT], **header)


@pytest.mark.parametrize(
    ("event", "decision", "reason"),
    [
        (payload(), "rescore", "material"),
        (payload(changedFields=["Phone", "LastModifiedDate"]), "skip", "immaterial"),
        (payload(changedFields=["Phone"], nulledFields=["Rating"]), "rescore", "material"),
        (payload(changeType="CREATE"), "rescore", "created"),
        (payload(changeType="UNDELETE"), "rescore", "undeleted"),
        (payload({}, changeType="DELETE"), "tombstone", "deleted"),
        (payload({}, changeType="GAP_DELETE"), "tombstone", "deleted"),
        (payload({}, changeType="GAP_UPDATE"), "rescore", "gap"),
        (payload({}, changeType="GAP_CREATE"), "rescore", "gap"),
        (payload({}, changeType="GAP_UNDELETE"), "rescore", "gap"),
        (payload({}, changeType="GAP_OVERFLOW", recordIds=["000000000000000AAA"]), "resync", "overflow"),
        (payload({}, changeType="GAP_OVERFLOW", recordIds=["001*"]), "resync", "overflow"),
        (payload({}, changeType="GAP_UPDATE", recordIds=["001*"]), "resync", "wildcard"),
        (payload({}, entityName="Lead", recordIds=[CONTACT]), "skip", "unsupported_entity"),
        (payload({}, entityName="Contact", recordIds=[CONTACT]), "skip", "immaterial"),
        (_of_contact(changedFields=["Title"]), "rescore", "account_looked_up"),
        (_of_contact(changeType="CREATE"), "rescore", "account_looked_up"),
        (_of_contact(changeType="DELETE"), "rescore", "account_looked_up"),
        (_of_contact(changeType="GAP_UPDATE"), "rescore", "account_looked_up"),
        (_of_contact(changeType="GAP_OVERFLOW"), "resync", "overflow"),
        (_of_contact({"AccountId": "wrong"}), "skip", "immaterial"),
        (_of_contact({"AccountId": "wrong"}, changeType="CREATE"), "rescore", "account_looked_up"),
        (payload(changeType="SNAPSHOT"), "dead_letter", "unsupported_event"),
        (payload(recordIds=["wrong"]), "dead_letter", "invalid_event"),
        (b"\xff", "dead_letter", "undecodable"),
    ],
)
def test_each_kind_of_event_has_its_decision_and_reason(event: bytes, decision: str, reason: str) -> None:
    """The same as the stages of the pipeline decide."""
    explanation = _one(event)
    assert (explanation.decision.value, explanation.reason) == (decision, reason)
    assert ("message" in explanation.document()) == (decision == "dead_letter")


@pytest.mark.parametrize("change_type", list(ChangeType))
def test_every_change_type_has_a_decision(change_type: ChangeType) -> None:
    """With a reason, for an account and for a related record."""
    for entity, record_id in (("Account", account_id()), ("Contact", CONTACT)):
        event = payload({"AccountId": account_id()}, entityName=entity, recordIds=[record_id], changeType=change_type)
        assert _one(event).reason


def test_a_deleted_contact_rescores_its_account() -> None:
    """Only the deletion of the account is a tombstone."""
    event = payload({"AccountId": account_id(7)}, entityName="Contact", recordIds=[CONTACT], changeType="DELETE")
    explanation = _one(event)
    assert (explanation.decision, explanation.reason) == (Decision.RESCORE, "deleted")
    assert explanation.account_id == account_id(7)


def test_changed_and_material_fields_are_listed() -> None:
    """Changed, material and cleared fields in the event's order, and the time of the change."""
    event = payload({}, changedFields=["LastModifiedDate", "Rating", "Fax", "Industry"], nulledFields=["Industry"])
    assert _one(event).document() == {
        "event_id": _one(event).event_id,
        "account_id": account_id(),
        "decision": "rescore",
        "reason": "material",
        "change_type": "UPDATE",
        "changed_fields": ("LastModifiedDate", "Rating", "Fax", "Industry"),
        "material_fields": ("Rating", "Industry"),
        "nulled_fields": ("Industry",),
        "flags": (),
        "committed_at": rfc3339(COMMITTED_AT),
    }


def test_each_record_is_explained_by_itself() -> None:
    """A malformed id is a dead letter; the other records are not."""
    explanations = explain_message(payload(recordIds=[account_id(1), "wrong", account_id(2)]), DEFAULTS)
    assert [it.decision.value for it in explanations] == ["rescore", "dead_letter", "rescore"]
    assert len({it.event_id for it in explanations}) == 3


def test_a_file_of_rules_decides(tmp_path: Path) -> None:
    """Also about the service's own writes."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("entities:\n  Account:\n    include: [Phone]\nown_clients: [scorer]\n")
    materiality = load_materiality(rules)
    assert _one(payload(changedFields=["Phone"]), materiality=materiality).reason == "material"
    assert _one(payload(changedFields=["Rating"]), materiality=materiality).reason == "immaterial"
    own = payload(changedFields=["Phone"], changeOrigin="com/salesforce/api/rest/66.0;client=scorer")
    assert _one(own, materiality=materiality).reason == "own_write"
    assert _one(own, materiality=materiality).material_fields == ("Phone",)


def test_a_file_of_rules_decides_which_entities_count(tmp_path: Path) -> None:
    """A custom object counts if the rules name it; an entity that they ignore does not."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("entities:\n  Project__c: {account: Account__c, include: ['*__c']}\nignore: [Case]\n")
    project = payload(
        {"Account__c": account_id(4), "Phase__c": "Build"},
        entityName="Project__c",
        recordIds=["a0Bak00000IiFIn"],
        changedFields=["Phase__c"],
    )
    case = payload({"AccountId": account_id(4)}, entityName="Case", recordIds=["500ak00000IiFIn"], changeType="CREATE")
    assert _one(project).reason == "unsupported_entity"
    assert _one(case).account_id == account_id(4)
    explanation = _one(project, materiality=load_materiality(rules))
    assert (explanation.reason, explanation.account_id) == ("material", account_id(4))
    assert explanation.material_fields == ("Phase__c",)
    assert _one(case, materiality=load_materiality(rules)).reason == "unsupported_entity"


def test_registered_schemas_decode_bitmaps() -> None:
    """With the schema that the event names, its fields are known; without it, it is a dead letter that says so."""
    fields = [{"name": name, "type": "string"} for name in ("ChangeEventHeader", "Phone", "Rating")]
    schema = parse_event_schema({"type": "record", "name": "AccountChangeEvent", "fields": fields})
    event = json.dumps(
        {"schemaId": "S1", "payload": json.loads(payload({"Rating": "Hot"}, changedFields=["0x4"]))}
    ).encode()
    assert _one(event, schemas={"S1": schema}).material_fields == ("Rating",)
    refused = _one(event)
    assert refused.decision is Decision.DEAD_LETTER
    assert "S1" in (refused.message or "")


@given(st.one_of(st.binary(), st.text().map(str.encode), st.from_regex(r'\{"[A-Z]', fullmatch=True).map(str.encode)))
def test_any_bytes_are_explained(event: bytes) -> None:
    """No content of a file makes the command fail."""
    explanations = explain_message(event, DEFAULTS)
    assert [it.decision for it in explanations] == [Decision.DEAD_LETTER]
    assert json.dumps(explanations[0].document())


def test_files_are_named_with_what_is_in_them(tmp_path: Path) -> None:
    """With folders and JSON lines among the arguments, each event has its file, in order."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.json").write_bytes(payload(recordIds=[account_id(2)]))
    (tmp_path / "folder" / "a.jsonl").write_bytes(payload() + b"\n" + b"garbage\n")
    (tmp_path / "last.json").write_bytes(payload(recordIds=[account_id(3), account_id(4)]))
    paths = [tmp_path / "last.json", tmp_path / "folder"]
    documents = json.loads(json.dumps(explain(paths, materiality=None, schemas=None).document()))
    assert [(Path(document["file"]).name, document["account_id"]) for document in documents] == [
        ("last.json", account_id(3)),
        ("last.json", account_id(4)),
        ("a.jsonl", account_id(1)),
        ("a.jsonl", None),
        ("b.json", account_id(2)),
    ]


def test_people_see_a_row_for_each_event_and_the_total(tmp_path: Path) -> None:
    """File, decision and reason; text of the event acts neither as markup nor as a control sequence."""
    file = tmp_path / "events.jsonl"
    lines = [payload(changedFields=["Rating", "[red]x", "\x1b[2J"]), payload(changedFields=[f"F{n}" for n in range(9)])]
    file.write_bytes(b"\n".join([*lines, b"garbage"]))
    screen = io.StringIO()
    Console(width=120, file=screen).print(render(explain([file], materiality=None, schemas=None)))
    shown = screen.getvalue()
    assert "events.jsonl" in shown
    assert "Rating, [red]x, �[2J" in shown
    assert "F5, 3 more" in shown
    assert "dead-letter: undecodable" in shown
    assert "3 events: 1 rescore, 1 skip, 1 dead-letter" in shown


def test_an_unusable_value_is_listed() -> None:
    """The field counts as changed, and a flag says that its value is left out."""
    explanation = _one(payload({"AnnualRevenue": -1}, changedFields=["AnnualRevenue"]))
    assert (explanation.decision, explanation.material_fields) == (Decision.RESCORE, ("AnnualRevenue",))
    assert explanation.flags == ("unusable_value:AnnualRevenue",)


SEVERAL = orjson.dumps([event(), event(recordIds=[account_id(2), account_id(3)]), {"no": "event"}])


def test_each_event_of_a_message_with_several_is_explained() -> None:
    """Each record of each, with the number of its event; a message of one has no numbers."""
    explained = explain_message(SEVERAL, DEFAULTS)
    assert [(it.event_in_message, it.account_id, it.decision.value) for it in explained] == [
        (1, account_id(1), "rescore"),
        (2, account_id(2), "rescore"),
        (2, account_id(3), "rescore"),
        (3, None, "dead_letter"),
    ]
    assert [it.document()["event_in_message"] for it in explained] == [1, 2, 2, 3]
    assert "event_in_message" not in _one(payload()).document()


def test_events_of_a_compressed_file_are_shown_by_number(tmp_path: Path) -> None:
    """A file with gzip is one message, as it would be published; the report has a line for each of its events."""
    (tmp_path / "events.json.gz").write_bytes(gzip.compress(SEVERAL))
    console = Console(file=io.StringIO(), width=200)
    console.print(render(explain([tmp_path], materiality=None, schemas=None)))
    report = console.file.getvalue()  # type: ignore[attr-defined]
    assert f"event 1: {account_id(1)}" in report
    assert "event 3: no account" in report
