"""The plan of `rescore dead-letters replay`: what a replay would do, and what its scores may cost."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Final

from rich.console import Group

from pipeline.dead_letters.dead_letter_filter import ReplayRequest
from pipeline.dead_letters.dead_letter_table import DeadLetterGroup, DeadLetterTable, NotFound, Sampled
from pipeline.dead_letters.mirror_accounts import account_to_look_up, open_mirror
from pipeline.dead_letters.replay_resources import ReplayResources
from pipeline.dead_letters.replay_rules import MAX_CAME_BACK_SHARE
from pipeline.ledger.explanation import Decision, explained_records
from pipeline.ledger.score_costs import CostEstimate, estimate, read_score_cost
from pipeline.resources.rule_files import RuleFiles
from pipeline.terminal.tables import Column, Listing, counted, fact_table
from schemas.change_event import SourceMessage
from schemas.clock import utc_now
from schemas.failures import ErrorClass
from transforms.filter.materiality import Materiality
from transforms.parse.avro_schemas import AvroSchemas

UNREAD: Final = "not looked at"
"""Decision about dead letters whose payload only the message on the topic has."""

NO_ACCOUNT: Final = str(ErrorClass.ACCOUNT_NOT_FOUND)
"""Decision about changes that would be scored, if the mirror had the account or the event enough of its values."""

ACCOUNTS_SHOWN: Final = 5
"""Accounts that are there by now, in the report; `--json` has all."""

_ORDER: Final = (Decision.RESCORE, Decision.TOMBSTONE, Decision.RESYNC, Decision.SKIP, NO_ACCOUNT, Decision.DEAD_LETTER)
"""Of a payload with several records, the first of these decisions counts."""

MissingAccounts = Callable[[Collection[str]], AbstractSet[str]]
"""Returns those of some accounts that the CRM mirror lacks."""


@dataclass(frozen=True)
class ReplayPlan:
    """What a replay would do, as far as the table `dead_letters` tells.

    Attributes:
        request: The replay that was asked for.
        groups: The dead letters that no replay has taken, by class and stage.
        to_replay: How many would be replayed.
        to_park: How many would be parked.
        account_found: How many are of accounts that were not found, and are in the mirror by now.
        account_missing: How many are of accounts that the mirror still lacks. They stay, unless the replay is forced.
        accounts_found: The accounts that are in the mirror by now.
        accounts_missing: The accounts that the mirror still lacks.
        sampled: How many payloads were read.
        decisions: What the pipeline would decide about the payloads now, in dead letters, estimated from the sample.
        cost: What their scores may cost.
    """

    request: ReplayRequest
    groups: tuple[DeadLetterGroup, ...]
    to_replay: int
    to_park: int
    account_found: int
    account_missing: int
    accounts_found: tuple[str, ...]
    accounts_missing: tuple[str, ...]
    sampled: int
    decisions: dict[str, int]
    cost: CostEstimate

    @property
    def question(self) -> str | None:
        """What to ask before it is carried out; None if there is nothing to do."""
        count = self.to_replay + self.to_park
        return f"Replay {counted(self.to_replay, 'dead letter')}, and park {self.to_park:,}, now?" if count else None

    def document(self) -> dict[str, Any]:
        """Return the plan as `--json` prints it."""
        return {
            "filter": self.request.dead_letter_filter.document(),
            "letters": self.to_replay + self.to_park,
            "to_replay": self.to_replay,
            "to_park": self.to_park,
            "account_found": self.account_found,
            "account_missing": self.account_missing,
            "accounts_found": [*self.accounts_found],
            "accounts_missing": [*self.accounts_missing],
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
            "cost": self.cost.document(),
            "executed": False,
        }


def plan(resources: ReplayResources, request: ReplayRequest, rule_files: RuleFiles) -> ReplayPlan:
    """Return what a replay would do, without publishing or pulling anything.

    Raises:
        ValueError: An argument can't be used.
        WarehouseUnavailable: BigQuery did not answer.
    """
    rules, registered = rule_files.rules, rule_files.avro_schemas
    chosen, now = request.dead_letter_filter, utc_now()
    with resources.open_warehouse() as warehouse:
        table = DeadLetterTable(warehouse, resources.dataset)
        groups = tuple(group for group in table.groups(chosen) if group.dead_letters > group.replayed)
        sample = table.sample(chosen, is_forced=request.is_forced) if groups else []
        not_found = table.not_found(chosen) if groups else []
        each = read_score_cost(warehouse, resources.dataset, now)
    with open_mirror(resources.project, resources.crm_dataset) as mirror:
        missing = mirror.missing([it.account_id for it in not_found])
        if not request.is_forced:
            sample = [it for it in sample if not _waits(it, missing)]
        decided = decisions_of((it.message for it in sample), rules, registered, mirror.missing)
    waiting = [it for it in not_found if it.account_id in missing]
    if not request.is_forced:
        groups = tuple(_without_waiting(group, waiting) for group in groups)
    to_replay, to_park = _counts(groups, request, 0 if request.is_forced else _count(waiting))
    decisions = scaled(decided, to_replay)
    scores = decisions.get(Decision.RESCORE, 0) + decisions.get(UNREAD, 0)
    return ReplayPlan(
        request=request,
        groups=groups,
        to_replay=to_replay,
        to_park=to_park,
        account_found=_count(not_found) - _count(waiting),
        account_missing=_count(waiting),
        accounts_found=tuple(dict.fromkeys(it.account_id for it in not_found if it.account_id not in missing)),
        accounts_missing=tuple(sorted(missing)),
        sampled=len(sample),
        decisions=decisions,
        cost=estimate(scores, each, now.date()),
    )


def _waits(sampled: Sampled, missing: AbstractSet[str]) -> bool:
    return sampled.error_class == ErrorClass.ACCOUNT_NOT_FOUND and sampled.account_id in missing


def _without_waiting(group: DeadLetterGroup, waiting: Iterable[NotFound]) -> DeadLetterGroup:
    """Return a group that parks none of those that wait for their account: a replay asks the mirror first."""
    if group.error_class != ErrorClass.ACCOUNT_NOT_FOUND:
        return group
    return replace(group, to_park=group.to_park - sum(it.to_park for it in waiting if it.stage == group.stage))


def _count(not_found: Iterable[NotFound]) -> int:
    return sum(it.dead_letters for it in not_found)


def _counts(groups: Sequence[DeadLetterGroup], request: ReplayRequest, waiting: int) -> tuple[int, int]:
    """Return how many dead letters to replay and how many to park; those that wait for their account stay."""
    left = sum(group.dead_letters - group.replayed for group in groups) - waiting
    to_park = 0 if request.is_forced else sum(group.to_park for group in groups)
    # Pub/Sub decides which dead letters come first: a limit reduces both counts alike.
    share = min(1.0, request.max_dead_letters / left) if request.max_dead_letters is not None and left else 1.0
    return round((left - to_park) * share), round(to_park * share)


def decisions_of(
    messages: Iterable[SourceMessage | None], materiality: Materiality, schemas: AvroSchemas, missing: MissingAccounts
) -> Counter[str]:
    """Count messages by what the pipeline would decide now, with what a look-up of their accounts would refuse."""
    decided = [None if it is None else _decided(it, materiality, schemas) for it in messages]
    unknown = missing(sorted({it.account_id for records in decided for it in records or () if it.account_id}))
    counts: Counter[str] = Counter()
    for records in decided:
        if records is None:
            counts[UNREAD] += 1
            continue
        found = {NO_ACCOUNT if it.account_id in unknown else it.decision for it in records}
        counts[next((decision for decision in _ORDER if decision in found), Decision.SKIP)] += 1
    return counts


@dataclass(frozen=True)
class _Decided:
    """What would be decided about a record; `account_id` is set if it can be scored only with the mirror's account."""

    decision: str
    account_id: str | None = None


def _decided(message: SourceMessage, materiality: Materiality, schemas: AvroSchemas) -> list[_Decided]:
    explained = explained_records(message, materiality, schemas)
    return [_Decided(it.decision, account_to_look_up(record, it)) for record, it in explained]


def scaled(counts: Counter[str], total: int) -> dict[str, int]:
    """Scale the counts of a sample to a total, the largest first."""
    sampled = counts.total()
    return {name: round(count * total / sampled) for name, count in counts.most_common()} if sampled else {}


def render(plan: ReplayPlan) -> Group:
    """Return the report."""
    columns = (
        Column("class", is_whole=True),
        Column("stage"),
        Column("dead letters", is_number=True),
        Column("to park", is_number=True),
    )
    rows = [
        (group.error_class, group.stage, str(group.dead_letters - group.replayed), str(group.to_park))
        for group in plan.groups
    ]
    limit = f", limit {plan.request.max_dead_letters}" if plan.request.max_dead_letters else ""
    decisions = ", ".join(f"{name.replace('_', '-')} {count}" for name, count in plan.decisions.items())
    facts = fact_table(
        ("to replay", f"{counted(plan.to_replay, 'dead letter')}{limit}"),
        ("to park", f"{counted(plan.to_park, 'dead letter')}: replayed too often, or failed again in the same way"),
        *_mirror(plan),
        ("explained now", f"{decisions or 'nothing'} (from {counted(plan.sampled, 'payload')})"),
        ("cost", str(plan.cost)),
        ("stops", f"if more than {MAX_CAME_BACK_SHARE:.0%} of what was replayed fails again, from the first batch on"),
    )
    return Group(Listing(columns, rows), facts)


def _mirror(plan: ReplayPlan) -> list[tuple[str, str]]:
    """Return what became of the accounts that were not found, if there are any."""
    if not plan.account_found + plan.account_missing:
        return []
    forced = plan.request.is_forced
    then = "they are replayed, and fail again" if forced else "they stay; --force replays them"
    found = f"account_not_found: the CRM mirror has the account of {plan.account_found} by now"
    lines = [("mirror", f"{found}, and lacks that of {plan.account_missing}: {then}")]
    return [*lines, ("there by now", _some(plan.accounts_found))] if plan.accounts_found else lines


def _some(account_ids: Sequence[str]) -> str:
    more = len(account_ids) - ACCOUNTS_SHOWN
    return ", ".join(account_ids[:ACCOUNTS_SHOWN]) + (f" and {more:,} more, see --json" if more > 0 else "")
