"""`rescore reconcile`: check that every received event has exactly one outcome."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Group, RenderableType

from pipeline.ledger.ledger_groups import EventState, LedgerEvent, Window, read_ledger, read_lost_accounts
from pipeline.ledger.lost_events import recovery_commands
from pipeline.ledger.reconciliation import Reconciliation, judge
from pipeline.resources.datasets import open_warehouse
from pipeline.terminal.tables import Column, Listing, Paragraph, counted, verbatim
from pipeline.terminal.times import ago, moment, parse_duration, parse_since, spoken
from schemas.clock import Clock, utc_now
from schemas.outcome import OutcomeKind
from schemas.standing_outcome import DUPLICATE

_UNEXPLAINED_STEPS: Final = """\
1. Does the job run, and is the subscription's oldest unacknowledged message older than these? Then they are still in \
it: reconcile again later.
2. Search the logs for the event_id: "row refused" means that the event has an outcome and BigQuery refused the \
ledger's row.
3. Delivered again (skipped:duplicate)? The first delivery may be older than --since: reconcile from an earlier time.
4. All others were lost, as by a crash. To have them processed:"""
_DOUBLES_STEPS: Final = """\
All rows are in change_outcomes, with the stage and pipeline_version that wrote each. The newest change still has the \
score. More outcomes than deliveries are a defect of the pipeline: report it with the event_id."""


def reconcile(
    *,
    project: str,
    dataset: str,
    since: str,
    grace: str,
    limit: int,
    accounts_file: Path | None = None,
    now: Clock = utc_now,
) -> Reconciliation:
    """Read the ledger since a time, and judge it as of now.

    Args:
        project: Google Cloud project.
        dataset: BigQuery dataset of the ledger.
        since: Start of the period, as it is typed.
        grace: How long an event may lack an outcome, as it is typed.
        limit: Events that a listing has, at most.
        accounts_file: File to write the accounts of events without an outcome to; None: don't.
        now: The clock.

    Raises:
        ValueError: A time, a duration or the dataset can't be used.
        OSError: The file can't be written.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    until = now()
    window = Window(since=parse_since(since, until, "--since"), until=until, grace=parse_duration(grace, "--grace"))
    with open_warehouse(project, dataset) as warehouse:
        result = judge(read_ledger(warehouse, dataset, window, limit=limit), window, limit=limit)
        accounts = read_lost_accounts(warehouse, dataset, window) if accounts_file and result.lost.events else []
    if accounts_file and accounts:
        accounts_file.write_text("".join(f"{account_id}\n" for account_id in accounts), "utf-8")
    commands = recovery_commands(
        result.lost, window, project=project, dataset=dataset, grace=grace, accounts_file=accounts_file
    )
    return replace(result, commands=commands, written_accounts=len(accounts) if accounts_file else None)


def render(result: Reconciliation) -> Group:
    """Return the report: counts by outcome, the oldest events that are wrong, and what to do."""
    window, states = result.window, result.states
    title = f"{counted(result.events, 'event')} from {window.since:%Y-%m-%d %H:%M} to {window.until:%Y-%m-%d %H:%M} UTC"
    parts: list[RenderableType] = [Paragraph(title, "bold"), _counts(result)]
    if unexplained := states[EventState.UNEXPLAINED]:
        shown = _shown(unexplained, len(result.oldest_unexplained))
        title = f"{shown} without an outcome, the oldest first"
        parts += [Paragraph(title, "bold red"), _listing(result.oldest_unexplained), Paragraph(_UNEXPLAINED_STEPS)]
        parts += [verbatim(f"   {command}") for command in result.commands]
    if result.written_accounts is not None:
        parts.append(Paragraph(f"{counted(result.written_accounts, 'account')} written to the file"))
    if double := states[EventState.DOUBLE]:
        title = f"{_shown(double, len(result.doubles))} with contradictory outcomes, the oldest first"
        parts += [Paragraph(title, "bold red"), _listing(result.doubles), Paragraph(_DOUBLES_STEPS)]
    return Group(*parts, *_verdict(result))


def _shown(count: int, listed: int) -> str:
    """Return how many events there are, and how many of them are listed if not all are."""
    return counted(count, "event") if listed >= count else f"{listed:,} of {counted(count, 'event')}"


def _verdict(result: Reconciliation) -> list[Paragraph]:
    """Return the last lines; while events are pending, they don't say that all is well."""
    if result.pending_since and result.last_recorded_at:
        until = result.window.until
        due = result.pending_since + result.window.grace
        pending = (
            f"{counted(result.pending, 'event')} pending: the oldest was received {ago(result.pending_since, until)}, "
            f"and is due at {due:%H:%M:%S} UTC.\n"
            f"The ledger's last row was written {ago(result.last_recorded_at, until)}. "
            "This is no all-clear: reconcile again.\n"
            "If the job is gone, nothing is pending: what has no outcome is lost, and --grace 0s lists it."
        )
        return [Paragraph(pending, "yellow")]
    return [Paragraph("every event has one outcome", "green")] if result.is_all_clear else []


def _counts(result: Reconciliation) -> Listing:
    states, grace = result.states, spoken(result.window.grace)
    rows = [
        *((kind.replace("_", " "), str(result.counts[kind]), _reasons(result, kind)) for kind in OutcomeKind),
        ("delivered again", str(result.redelivered), "included above, or first received earlier"),
        ("received earlier", str(result.without_received), "included above; not an error"),
        ("pending", str(result.pending), f"received less than {grace} ago" if result.window.grace else ""),
        ("without outcome", str(states[EventState.UNEXPLAINED]), ""),
        ("contradictory", str(states[EventState.DOUBLE]), "more outcomes than deliveries"),
    ]
    return Listing((Column("outcome", is_whole=True), Column("events", is_number=True), Column("of which")), rows)


def _reasons(result: Reconciliation, outcome: OutcomeKind) -> str:
    prefix = f"{outcome}:"
    reasons = (
        (name.removeprefix(prefix), count)
        for name, count in result.counts.items()
        if name.startswith(prefix) and name != DUPLICATE
    )
    return ", ".join(f"{reason} {count}" for reason, count in sorted(reasons, key=lambda item: (-item[1], item[0])))


def _listing(events: tuple[LedgerEvent, ...]) -> Listing:
    rows = []
    for event in events:
        replay = f" replay {event.replay_count}" if event.replay_count else ""
        change = f"{event.entity_name or 'unknown'} {event.change_type or ''}{replay}"
        times = (_time(event.published_at, "never"), _time(event.received_at, "earlier"))
        rows.append(
            (*times, event.event_id, event.account_id or "no account", change, ", ".join(event.outcomes) or "none")
        )
    whole = ("published (UTC)", "received (UTC)", "event", "account")
    return Listing((*(Column(name, is_whole=True) for name in whole), Column("change"), Column("outcomes")), rows)


def _time(time: dt.datetime | None, otherwise: str) -> str:
    return moment(time) if time else otherwise
