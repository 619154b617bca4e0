"""`rescore scores` and `rescore account`."""

import datetime as dt
from typing import Annotated

import typer

from pipeline.terminal.exit_codes import command
from pipeline.terminal.parameters import A_TIME, TIME, Json, Project, Verbose
from pipeline.terminal.results import end_with, output
from pipeline.terminal.times import parse_since

app = typer.Typer()

Dataset = Annotated[str, typer.Option(help="BigQuery dataset of the scores.")]
CrmDataset = Annotated[str, typer.Option(help="BigQuery dataset of the CRM mirror, for names.")]


def _tiers() -> list[str]:
    from schemas.score import Tier  # noqa: PLC0415 - completion only

    return [*Tier]


@app.command(epilog="Example: `rescore scores --tier hot --limit 50` or `rescore scores 0015g00000Xy3ZqAAJ`")
def scores(
    account: Annotated[
        str | None, typer.Argument(metavar="ACCOUNT", help="Salesforce account id, 15 or 18 characters.")
    ] = None,
    *,
    project: Project,
    dataset: Dataset = "account_scoring",
    crm_dataset: CrmDataset = "crm",
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, help="Accounts, or scores of the account's history, at most.")
    ] = 20,
    moved_since: Annotated[
        str | None,
        typer.Option(
            metavar=TIME,
            help="Only accounts whose score is another than then, the largest movement first: 24h, 7d, or an ISO time.",
        ),
    ] = None,
    tiers: Annotated[
        list[str] | None,
        typer.Option(
            "--tier",
            metavar="TIER",
            autocompletion=_tiers,
            help="Only hot, warm, cool or cold scores; may be given several times.",
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on standard output.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """List the highest scores; of an ACCOUNT show its score, what moved it, the drivers, the next step, the history."""
    with command(verbose=verbose, doing="reading the scores"):
        from pipeline.scores import account_score, score_csv, score_list  # noqa: PLC0415 - imports BigQuery: 1 s
        from pipeline.scores.score_sources import ScoreSources  # noqa: PLC0415
        from pipeline.terminal.csv_output import print_csv  # noqa: PLC0415
        from schemas.identifiers import CheckedAccountId, checked  # noqa: PLC0415

        if as_csv and as_json:
            raise ValueError("--csv and --json can't be combined: standard output has one format")
        sources = ScoreSources(project, dataset, crm_dataset)
        if account is not None:
            if tiers or moved_since:
                raise ValueError("--tier and --moved-since select accounts: leave them out, or ACCOUNT")
            account_id = checked(CheckedAccountId, account, "ACCOUNT")
            shown = account_score.read_account_score(sources, account_id, limit)
        else:
            since = parse_since(moved_since, dt.datetime.now(dt.UTC), "--moved-since") if moved_since else None
            request = score_list.ScoreRequest(limit, score_list.tiers_of(tiers or ()), since)
            listed = score_list.list_scores(sources, request)
    if as_csv:
        with output():
            print_csv(*(score_csv.list_table(listed) if account is None else score_csv.history_table(shown)))
    elif account is None:
        end_with(listed, score_list.render, as_json=as_json)
    else:
        end_with(shown, account_score.render, as_json=as_json)


@app.command(epilog="Example: `rescore account 0015g00000Xy3ZqAAJ --since 7d`")
def account(
    account_id: Annotated[str, typer.Argument(metavar="ID", help="Salesforce account id, 15 or 18 characters.")],
    *,
    project: Project,
    dataset: Annotated[str, typer.Option(help="BigQuery dataset of ledger, dead letters and scores.")] = (
        "account_scoring"
    ),
    crm_dataset: CrmDataset = "crm",
    since: Annotated[str, typer.Option(metavar=TIME, help=f"Start of the period: {A_TIME}.")] = "30d",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Entries, at most: the newest.")] = 200,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Show what became of an account's events, by time: outcomes, dead letters, replays, scores."""
    with command(verbose=verbose, doing="reading the account"):
        from pipeline.scores import account_timeline  # noqa: PLC0415 - imports BigQuery: 1 s
        from pipeline.scores.score_sources import ScoreSources  # noqa: PLC0415
        from schemas.identifiers import CheckedAccountId, checked  # noqa: PLC0415

        timeline = account_timeline.read_account_timeline(
            ScoreSources(project, dataset, crm_dataset),
            checked(CheckedAccountId, account_id, "ID"),
            parse_since(since, dt.datetime.now(dt.UTC), "--since"),
            limit,
        )
    end_with(timeline, account_timeline.render, as_json=as_json)
