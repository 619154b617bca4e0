"""Show the result of `rescore demo` on a terminal."""

from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipeline.local.crm.named_accounts import told_additions
from pipeline.local.demo_result import DemoResult

_TIER_STYLES = {"hot": "bold red", "warm": "yellow", "cool": "cyan", "cold": "blue"}


def render_result(result: DemoResult) -> Group:
    """Return the report: counts, cost, time, and the five highest scores with their reasons."""
    document = result.document()
    parts: list[Any] = [_counts(document), _highest(document["highest_scores"])]
    if result.accounts_added:
        parts.insert(1, Text(told_additions(result.accounts_added, "the events"), style="dim"))
    if document["unexplained"]:
        parts.append(Text(f"{document['unexplained']} events have no outcome: see the log above", style="bold red"))
    return Group(*parts)


def _counts(document: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(style="dim")
    accounts = f"{document['accounts_scored']} accounts"
    table.add_row("events received", str(document["received"]), f"from {document['published']} messages")
    table.add_row("scored", str(document["scored"]), accounts)
    table.add_row("skipped", str(document["skipped"]), _reasons(document["skipped_by_reason"]))
    for outcome in ("coalesced", "tombstoned", "resync_requested"):
        if document[outcome]:
            table.add_row(outcome.replace("_", " "), str(document[outcome]), "")
    table.add_row("dead-lettered", str(document["dead_lettered"]), _reasons(document["dead_lettered_by_class"]))
    table.add_row("without outcome", str(document["unexplained"]), "")
    tokens = document["tokens_by_kind"]
    table.add_row(
        "Gemini calls", str(document["gemini_calls"]), f"{tokens['prompt']:,} tokens in, {tokens['output']:,} out"
    )
    first = document["first_score_seconds"]
    table.add_row("first score", "-" if first is None else f"{first:.2f} s", "after the events were published")
    p50, p95 = document["latency_seconds"]["p50"], document["latency_seconds"]["p95"]
    table.add_row("event to row", f"{p50 or 0:.2f} s", f"median; 95th percentile {p95 or 0:.2f} s")
    table.add_row("elapsed", f"{document['elapsed_seconds']:.1f} s", "")
    return table


def _reasons(reasons: dict[str, int]) -> str:
    most_first = sorted(reasons.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason}\N{NO-BREAK SPACE}{count}" for reason, count in most_first)


def _highest(scores: list[dict[str, Any]]) -> Panel:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("score", "account", "why", "next step"):
        table.add_column(name, justify="right" if name == "score" else "left")
    for score in scores:
        drivers = "\n".join(
            f"{'+' if driver['impact'] == 'positive' else '-'} {driver['factor']}" for driver in score["drivers"][:3]
        )
        mark = Text(str(score["score"]), style=_TIER_STYLES.get(score["tier"], ""))
        name = score["name"] or score["account_id"]
        table.add_row(mark, name, drivers, score["recommended_action"])
    return Panel(table, title="the highest scores", title_align="left", border_style="dim")
