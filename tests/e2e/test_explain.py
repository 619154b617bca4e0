"""`rescore explain`, as a user types it."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner

from pipeline.cli import app
from tests.fixtures.changes import payload

Decided = tuple[str, str, str | None, list[str]]
"""Decision, reason, account and material fields."""

_NO_ACCOUNT: Decided = ("skip", "unsupported_entity", None, [])
PUBLISHED: Mapping[str, list[Decided]] = {
    "amp_eventbridge_event_relay_account_create": [
        ("rescore", "created", "0015f00002J9YYEAA3", ["Name", "OwnerId"]),
        ("rescore", "created", "0015f00002J9YYFAA3", ["Name", "OwnerId"]),
    ],
    "amp_new_account": [("rescore", "created", "0015f00002J9YYEAA3", ["Name", "OwnerId"])],
    "amp_update_contact": [("rescore", "account_looked_up", None, ["Name.LastName"])],
    "amp_update_contact_compound_address": [("skip", "immaterial", None, [])],
    "amp_update_lead_compound_address": [_NO_ACCOUNT],
    "amp_update_user": [_NO_ACCOUNT],
    "confluent_contact_create_kafkaconnect_payload": [("skip", "no_account", None, [])],
    "pozil_account_update_avrojson_bitmap": [("dead_letter", "unsupported_event", None, [])],
    "pozil_account_update_avrojson_compound_names": [
        ("rescore", "material", "0017Q00000EiRcfQAF", ["Rating", "BillingAddress.PostalCode"])
    ],
    "pozil_account_update_avrojson_names": [("rescore", "material", "0017Q00000EiRcfQAF", ["Rating"])],
    "pozil_account_update_flattened_v5": [
        ("rescore", "material", "0014H00002LbR7QQAV", ["BillingAddress.City", "BillingAddress.State"])
    ],
    "triggermesh_account_create_cloudevent_data": [
        ("rescore", "created", "00106000029G61DAAS", ["Name", "OwnerId"]),
    ],
    "triggermesh_account_update_cloudevent_data": [("rescore", "material", "00106000029G61DAAS", ["Rating"])],
}


def test_published_events_are_explained(published_events: Path) -> None:
    """Each file of real published events, whatever its shape, has the expected decision."""
    command = [sys.executable, "-m", "pipeline", "explain", "--json", str(published_events)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    explained: dict[str, list[Decided]] = {}
    for it in json.loads(done.stdout):
        decided = (it["decision"], it["reason"], it["account_id"], it["material_fields"])
        explained.setdefault(Path(it["file"]).stem, []).append(decided)
        assert ("message" in it) == (it["decision"] == "dead_letter")
        assert it["event_id"]
        assert it["committed_at"] or it["decision"] == "dead_letter"
    assert explained == PUBLISHED


def test_own_rules_and_schemas_are_used(tmp_path: Path) -> None:
    """--materiality replaces the rules, --schemas decodes bitmaps, and the report is a table."""
    event = {"schemaId": "S1", "payload": json.loads(payload({"Phone": "1"}, changedFields=["0x2"]))}
    (tmp_path / "event.json").write_text(json.dumps(event))
    (tmp_path / "rules.yaml").write_text("entities:\n  Account:\n    include: [Phone]\n")
    (tmp_path / "schemas").mkdir()
    fields = [{"name": name, "type": "string"} for name in ("ChangeEventHeader", "Phone")]
    schema = {"type": "record", "name": "AccountChangeEvent", "fields": fields}
    (tmp_path / "schemas" / "S1.avsc").write_text(json.dumps(schema))
    options = ("--materiality", str(tmp_path / "rules.yaml"), "--schemas", str(tmp_path / "schemas"))
    done = CliRunner().invoke(app, ["explain", str(tmp_path / "event.json"), *options])
    assert done.exit_code == 0, done.stderr
    assert "rescore: material" in done.stdout
    assert "Phone" in done.stdout
