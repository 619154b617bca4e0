"""The dry run of `rescore dead-letters replay`: what it would do, and what that may cost."""

from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.dead_letters.letter_rows import LetterRows
from pipeline.dead_letters.names import Place, open_warehouse
from pipeline.dead_letters.replay_plan import ReplayPlan, plan_replay
from pipeline.dead_letters.replay_request import ReplayRequest
from pipeline.terminal.tables import PADDING, fact_table
from pipeline.terminal.text import plain
from schemas.clock import utc_now
from transforms.filter.materiality import load_materiality
from transforms.parse.avro_schemas import load_avro_schemas


def plan(place: Place, request: ReplayRequest, *, materiality: Path | None, schemas: Path | None) -> ReplayPlan:
    """Return what a replay would do; nothing is published, and no letter is touched.

    Raises:
        ValueError: An argument can't be used.
        WarehouseUnavailable: BigQuery did not answer.
    """
    with open_warehouse(place) as warehouse:
        return plan_replay(
            LetterRows(warehouse, place.dataset),
            request.letter_filter,
            max_letters=request.max_letters,
            is_forced=request.is_forced,
            materiality=load_materiality(materiality),
            schemas=load_avro_schemas(schemas),
            now=utc_now(),
        )


def render(plan: ReplayPlan) -> Group:
    """Return what a replay would do."""
    table = Table(box=None, padding=PADDING)
    for name in ("class", "stage", "letters", "to park"):
        table.add_column(name, justify="right" if name in {"letters", "to park"} else "left")
    for group in plan.groups:
        table.add_row(group.error_class, plain(group.stage), str(group.letters - group.replayed), str(group.to_park))
    cost = "unknown: there are no recent scores to go by"
    if plan.tokens is not None and plan.tokens_a_score is not None:
        cost = f"up to {plan.tokens:,} tokens, {plan.tokens_a_score:,.0f} a score on average"
    decisions = ", ".join(f"{name.replace('_', '-')} {count}" for name, count in plan.decisions.items())
    facts = fact_table(
        ("to replay", f"{plan.to_replay} letters{f', limit {plan.max_letters}' if plan.max_letters else ''}"),
        ("to park", f"{plan.to_park} letters: replayed too often, or failed again in the same way"),
        ("explained now", f"{decisions or 'nothing'} (from {plan.sampled} payloads)"),
        ("cost", cost),
    )
    return Group(table, facts, Text("a dry run: nothing was published; --execute replays", style="yellow"))
