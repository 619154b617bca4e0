"""Table schemas are derived from the models."""

import datetime as dt
import re
from typing import Annotated

from msgspec import Meta

from schemas.record import AwareDatetime, Record
from schemas.tables import CRM_TABLES, SCORING_TABLES, table_columns
from schemas.views import SCORING_VIEWS


class _Inner(Record, frozen=True, kw_only=True):
    name: str


class _Every(Record, frozen=True, kw_only=True):
    text: Annotated[str, Meta(description="Said")]
    number: int | None = None
    ratio: float
    flag: bool
    moment: AwareDatetime
    perhaps: AwareDatetime | None = None
    day: dt.date | None = None
    raw: bytes
    many: tuple[str, ...] = ()
    inner: tuple[_Inner, ...] = ()


def test_each_type_has_its_column() -> None:
    """An optional is NULLABLE, a tuple REPEATED and a model RECORD; descriptions are kept."""
    columns = {column["name"]: (column["type"], column["mode"]) for column in table_columns(_Every)}
    assert columns == {
        "text": ("STRING", "REQUIRED"),
        "number": ("INTEGER", "NULLABLE"),
        "ratio": ("FLOAT", "REQUIRED"),
        "flag": ("BOOLEAN", "REQUIRED"),
        "moment": ("TIMESTAMP", "REQUIRED"),
        "perhaps": ("TIMESTAMP", "NULLABLE"),
        "day": ("DATE", "NULLABLE"),
        "raw": ("BYTES", "REQUIRED"),
        "many": ("STRING", "REPEATED"),
        "inner": ("RECORD", "REPEATED"),
    }
    assert table_columns(_Every)[0]["description"] == "Said"
    assert table_columns(_Every)[-1]["fields"] == [{"name": "name", "type": "STRING", "mode": "REQUIRED"}]


def test_partition_and_clustering_columns_exist() -> None:
    """Tables are partitioned by a date or time and clustered by columns that they have."""
    for table in (*SCORING_TABLES, *CRM_TABLES):
        types = {column["name"]: column["type"] for column in table.columns}
        assert set(table.clustering) <= set(types)
        assert table.partition_column is None or types[table.partition_column] in {"TIMESTAMP", "DATE"}


def test_score_rows_have_the_columns_that_readers_use() -> None:
    """A score row has all columns that the design names."""
    expected = """account_id, score_id, event_ids, change_committed_at, change_sequence, scored_at, status, score, tier,
        confidence, drivers, recommended_action, summary, changed_fields, model, model_version, prompt_version,
        context_hash, prompt_tokens, output_tokens, cached_tokens, accounts_in_call, latency_ms, flags, trace_id,
        pipeline_version"""
    assert {column["name"] for column in SCORING_TABLES[0].columns} >= set(re.findall(r"\w+", expected))


def test_views_read_a_bounded_number_of_partitions() -> None:
    """A view over history filters on the partition column."""
    for view in SCORING_VIEWS:
        assert re.search(r"WHERE\s+scored_at >=", view.query)
