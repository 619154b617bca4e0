"""The dry run of `rescore dead-letters replay`: what a replay would do, and what its scores may cost."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.dead_letters.dead_letter_filter import ReplayRequest
from pipeline.dead_letters.dead_letter_table import DeadLetterGroup, DeadLetterTable
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.ledger.explanation import Decision, explain_message
from pipeline.terminal.tables import PADDING, fact_table, plain
from schemas.clock import utc_now
from transforms.filter.materiality import Materiality, load_materiality
from transforms.parse.avro_schemas import AvroSchemas, load_avro_schemas

COST_PERIOD: Final = dt.timedelta(days=30)
"""The tokens per score are the average of the scores of this period."""

UNREAD: Final = "not looked at"
"""Decision about dead letters whose payload only the message on the topic has."""


@dataclass(frozen=True)
class ReplayPlan:
    """What a replay would do, as far as the table `dead_letters` tells.

    Attributes:
        request: The replay that was asked for.
        groups: The dead letters that no replay has taken, by class and stage.
        to_replay: How many would be replayed.
        to_park: How many would be parked.
        sampled: How many payloads were read.
        decisions: What the pipeline would decide about the payloads now, in dead letters, estimated from the sample.
        tokens: Tokens that the scores may cost; None where there are no recent scores to estimate it by.
        tokens_a_score: Average tokens of the recent scores.
    """

    request: ReplayRequest
    groups: tuple[DeadLetterGroup, ...]
    to_replay: int
    to_park: int
    sampled: int
    decisions: dict[str, int]
    tokens: int | None
    tokens_a_score: float | None

    def document(self) -> dict[str, Any]:
        """Return the plan as `--json` prints it."""
        return {
            "filter": self.request.dead_letter_filter.document(),
            "letters": self.to_replay + self.to_park,
            "to_replay": self.to_replay,
            "to_park": self.to_park,
            "limit": self.request.max_dead_letters,
            "groups": [
                {
                    "error_class": group.error_class,
                    "stage": group.stage,
                    "letters": group.dead_letters - group.replayed,
                    "to_park": group.to_park,
                    "retryable": group.retryable,
                }
                for group in self.groups
            ],
            "decisions": self.decisions,
            "sampled": self.sampled,
            "tokens": self.tokens,
            "tokens_a_score": self.tokens_a_score,
        }


def plan(
    resources: ReplayResources, request: ReplayRequest, *, materiality: Path | None, schemas: Path | None
) -> ReplayPlan:
    """Return what a replay would do, without publishing or pulling anything.

    Raises:
        ValueError: An argument can't be used.
        WarehouseUnavailable: BigQuery did not answer.
    """
    rules, registered = load_materiality(materiality), load_avro_schemas(schemas)
    with resources.open_warehouse() as warehouse:
        table = DeadLetterTable(warehouse, resources.dataset)
        groups = tuple(
            group for group in table.groups(request.dead_letter_filter) if group.dead_letters > group.replayed
        )
        to_replay, to_park = _counts(groups, request)
        sample: Sequence[bytes | None] = (
            table.sample(request.dead_letter_filter, is_forced=request.is_forced) if to_replay else ()
        )
        tokens_a_score = table.tokens_a_score(utc_now() - COST_PERIOD)
    decisions = scaled(decisions_of(sample, rules, registered), to_replay)
    scored = decisions.get(Decision.RESCORE, 0) + decisions.get(UNREAD, 0)
    return ReplayPlan(
        request=request,
        groups=groups,
        to_replay=to_replay,
        to_park=to_park,
        sampled=len(sample),
        decisions=decisions,
        tokens=None if tokens_a_score is None else round(scored * tokens_a_score),
        tokens_a_score=tokens_a_score,
    )


def _counts(groups: Sequence[DeadLetterGroup], request: ReplayRequest) -> tuple[int, int]:
    """Return how many dead letters to replay and how many to park."""
    left = sum(group.dead_letters - group.replayed for group in groups)
    to_park = 0 if request.is_forced else sum(group.to_park for group in groups)
    # Pub/Sub decides which dead letters come first: a limit reduces both counts alike.
    share = min(1.0, request.max_dead_letters / left) if request.max_dead_letters is not None and left else 1.0
    return round((left - to_park) * share), round(to_park * share)


def decisions_of(payloads: Iterable[bytes | None], materiality: Materiality, schemas: AvroSchemas) -> Counter[str]:
    """Count payloads by decision; of a payload with several records, the first decision in the order below counts."""
    order = [Decision.RESCORE, Decision.TOMBSTONE, Decision.RESYNC, Decision.SKIP, Decision.DEAD_LETTER]
    counts: Counter[str] = Counter()
    for payload in payloads:
        if payload is None:
            counts[UNREAD] += 1
            continue
        decided = {explanation.decision for explanation in explain_message(payload, materiality, schemas)}
        counts[next((decision for decision in order if decision in decided), Decision.SKIP)] += 1
    return counts


def scaled(counts: Counter[str], total: int) -> dict[str, int]:
    """Scale the counts of a sample to a total, the largest first."""
    sampled = counts.total()
    return {name: round(count * total / sampled) for name, count in counts.most_common()} if sampled else {}


def render(plan: ReplayPlan) -> Group:
    """Return the report."""
    table = Table(box=None, padding=PADDING)
    for name in ("class", "stage", "dead letters", "to park"):
        table.add_column(name, justify="right" if name in {"dead letters", "to park"} else "left")
    for group in plan.groups:
        count = group.dead_letters - group.replayed
        table.add_row(group.error_class, plain(group.stage), str(count), str(group.to_park))
    cost = "unknown: there are no recent scores to estimate it by"
    if plan.tokens is not None and plan.tokens_a_score is not None:
        cost = f"up to {plan.tokens:,} tokens, {plan.tokens_a_score:,.0f} a score on average"
    limit = f", limit {plan.request.max_dead_letters}" if plan.request.max_dead_letters else ""
    decisions = ", ".join(f"{name.replace('_', '-')} {count}" for name, count in plan.decisions.items())
    facts = fact_table(
        ("to replay", f"{plan.to_replay} dead letters{limit}"),
        ("to park", f"{plan.to_park} dead letters: replayed too often, or failed again in the same way"),
        ("explained now", f"{decisions or 'nothing'} (from {plan.sampled} payloads)"),
        ("cost", cost),
    )
    return Group(table, facts, Text("a dry run: nothing was published; --execute replays", style="yellow"))
