"""The stage that drops immaterial changes."""

from collections import Counter
from typing import Any

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that

import transforms.coders  # noqa: F401 - registers how the models travel
from schemas.change_event import ChangeType
from schemas.outcome import Outcome, OutcomeKind, SkipReason
from tests.fixtures.changes import change
from transforms.filter.drop_immaterial_changes import STAGE, DropImmaterialChanges
from transforms.filter.materiality import Materiality, load_materiality

RULES = Materiality(load_materiality().entities, ("ScoreWriter",))
CHANGES = [
    change(1),
    change(2, changed_fields=("LastModifiedDate",), values={}),
    change(3, change_type=ChangeType.DELETE, changed_fields=(), values={}),
    change(4, change_origin="com/salesforce/api/rest/66.0;client=ScoreWriter"),
    change(5, changed_fields=("Phone",), values={"Phone": "1"}),
]


def test_every_change_goes_on_or_is_skipped_with_its_reason() -> None:
    """Material changes pass unchanged; each immaterial one becomes one row of the ledger; all are counted."""

    def check_material(changes: list[Any]) -> None:
        assert sorted(changes, key=lambda item: item.event_id) == [CHANGES[0], CHANGES[2]]

    def check_outcomes(rows: list[Outcome]) -> None:
        reasons = {row.event_id: row.reason for row in rows}
        assert len(rows) == len(reasons)
        assert reasons == {
            CHANGES[1].event_id: SkipReason.IMMATERIAL,
            CHANGES[3].event_id: SkipReason.OWN_WRITE,
            CHANGES[4].event_id: SkipReason.IMMATERIAL,
        }
        assert {(row.outcome, row.stage, row.pipeline_version) for row in rows} == {(OutcomeKind.SKIPPED, STAGE, "7")}
        assert Counter(row.account_id for row in rows) == {CHANGES[i].account_id: 1 for i in (1, 3, 4)}

    pipeline = TestPipeline(runner=FnApiRunner())
    sorted_out = pipeline | beam.Create(CHANGES) | DropImmaterialChanges(RULES, "7")
    assert_that(sorted_out.material, check_material, label="material")
    assert_that(sorted_out.outcomes, check_outcomes, label="outcomes")
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace(STAGE))["counters"]
    assert {counter.key.metric.name: counter.committed for counter in counters} == {
        "changes_total": 5,
        "material_total": 2,
        "skipped_immaterial_total": 2,
        "skipped_own_write_total": 1,
    }
