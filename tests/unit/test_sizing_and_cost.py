"""docs/sizing-and-cost.md: its tables are those of the calculation, its roles and APIs those of Terraform."""

import re
from pathlib import Path

import pytest
from apache_beam.testing.load_tests import dataflow_cost_consts

from pipeline.config.settings import Settings
from tests.benchmarks.bill import (
    ACCOUNTS_PER_CALL,
    BATCH_SIZE,
    DISK,
    MEMORY,
    MIN_WORKERS,
    RETAINED_DAYS,
    SHORTER,
    STREAMED,
    THREADS,
    VCPU,
    Batching,
    Load,
    bill,
    gemini,
    lookups,
    with_tables,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sizing-and-cost.md").read_text(encoding="utf-8")
TERRAFORM = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "infrastructure").glob("*.tf")}
BOOTSTRAP = (ROOT / "infrastructure" / "bootstrap" / "main.tf").read_text(encoding="utf-8")


def test_the_tables_are_current() -> None:
    """`make generate` would change nothing."""
    assert PAGE.count(", by make generate -->") == 4
    assert with_tables(PAGE) == PAGE
    old = PAGE.replace("| workers | 2 |", "| workers | 3 |")
    assert old != PAGE
    assert with_tables(old) == PAGE


def test_the_defaults_are_those_of_the_pipeline_and_of_terraform() -> None:
    """A changed default changes the page."""
    default = {name: field.default for name, field in Settings.model_fields.items()}
    assert Batching(default["batch_shards"], default["batch_wait_seconds"]) == Batching()
    assert (default["batch_size"], default["accounts_per_call"]) == (BATCH_SIZE, ACCOUNTS_PER_CALL)
    assert f"optional(number, {THREADS})" in TERRAFORM["variables.tf"]
    assert f"change_messages_days = optional(number, {RETAINED_DAYS})" in TERRAFORM["variables.tf"]
    production = (ROOT / "infrastructure" / "environments" / "production.tfvars").read_text(encoding="utf-8")
    assert re.search(rf"^  min = {MIN_WORKERS}$", production, flags=re.MULTILINE)


def test_batches_fill_as_the_decision_fills_them() -> None:
    """Calls fill at a hundred thousand changes a day; at a thousand most accounts come alone."""
    few, some, many = (Load(changes, accounts=1) for changes in (1_000, 100_000, 1_000_000))
    assert few.batch()[0] < 1.3
    assert some.batch()[0] > 4.5
    assert some.calls_per_account() < 0.23
    assert many.calls_per_account() == 1 / ACCOUNTS_PER_CALL
    assert Load(100_000, 1, SHORTER).batch()[0] < 2


def test_costs_follow_from_sizes() -> None:
    """Shorter waits cost more, and twice the changes cost more; an empty CRM's lookups cost the minimum."""
    load, twice = Load(100_000, 10_000), Load(200_000, 10_000)
    shorter = Load(100_000, 10_000, SHORTER)
    assert gemini(load) < gemini(shorter) < gemini(twice) <= 2 * gemini(load)
    assert lookups(load, pruned=True) < lookups(shorter, pruned=True) < lookups(shorter, pruned=False)
    none = Load(10, 0)
    assert lookups(none, pruned=False) == lookups(none, pruned=True) == 0
    assert "| **sum** | **" in bill([load])


def test_dataflow_costs_what_beam_reckons_with() -> None:
    """Beam's load tests have the prices of us-central1; their price of memory has a digit too many."""
    assert VCPU.usd == dataflow_cost_consts.VCPU_PER_HR_STREAMING
    assert pytest.approx(MEMORY.usd, rel=0.001) == dataflow_cost_consts.MEM_PER_GB_HR_STREAMING
    assert STREAMED.usd == dataflow_cost_consts.SHUFFLE_PER_GB_STREAMING
    assert DISK.usd == dataflow_cost_consts.PD_PER_GB_HR


def test_a_scored_account_costs_what_model_choice_says() -> None:
    """Alone in its call, an account costs $0.0011 (docs/adr/020)."""
    load = Load(1_000, 1_000)
    assert gemini(load) / (load.scores * 365 / 12) == pytest.approx(0.0011, rel=0.02)


def test_the_roles_and_apis_are_those_of_terraform() -> None:
    """The page names each role of the deployer and each API, and no others."""
    section = PAGE.partition("## Who deploys")[2]
    deployer = set(re.findall(r'"(roles/[\w.]+)"', BOOTSTRAP.partition("deployer_roles")[2].partition("])")[0]))
    rows = "\n".join(line for line in section.splitlines() if line.lstrip().startswith("| `roles/"))
    assert set(re.findall(r"`(roles/[\w.]+)`", rows)) == deployer | {
        "roles/resourcemanager.projectIamAdmin",
        "roles/iam.serviceAccountUser",
    }
    services = set(re.findall(r'"(\w+)\.googleapis\.com"', BOOTSTRAP + TERRAFORM["main.tf"]))
    assert {name for name in services if f"`{name}`" not in section} == set()
