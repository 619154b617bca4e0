"""`rescore evaluate`: how well the scores of a day ranked the accounts, by what happened since."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Group, RenderableType

from pipeline.evaluation.experiments import ExperimentTarget, record_run
from pipeline.evaluation.labels import read_labels, read_scores
from pipeline.evaluation.metrics import NO_LABELS, Evaluation, Horizon, Ranking, evaluate, metrics_of
from pipeline.evaluation.picture import check_picture, draw
from pipeline.resources.datasets import open_warehouse
from pipeline.terminal.tables import Column, Listing, Paragraph
from schemas.clock import Clock, utc_now

_END_OF_DAY: Final = dt.time(23, 59, 59, tzinfo=dt.UTC)


@dataclass(frozen=True)
class EvaluationReport:
    """The evaluations of a day's scores, the days of the first and last label, the chart and the experiment runs."""

    horizon: Horizon
    labelled: tuple[dt.date, dt.date]
    evaluations: tuple[Evaluation, ...]
    picture: Path | None
    runs: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "as_of": self.horizon.as_of.isoformat(),
            "until": self.horizon.until.isoformat(),
            "labels_from": self.labelled[0].isoformat(),
            "labels_until": self.labelled[1].isoformat(),
            "evaluations": [asdict(it) for it in self.evaluations],
            "picture": str(self.picture) if self.picture else None,
            "experiment_runs": list(self.runs),
        }


def evaluate_scores(
    *,
    project: str,
    dataset: str,
    labels: Path,
    as_of: dt.date | None,
    horizon: dt.timedelta,
    backtest: bool,
    picture: Path | None,
    target: ExperimentTarget | None,
    now: Clock = utc_now,
) -> EvaluationReport:
    """Evaluate the newest scores at the end of a day against labels.

    Args:
        project: Google Cloud project of the scores.
        dataset: BigQuery dataset of the scores.
        labels: CSV file of closed opportunities.
        as_of: The day; None: the last day whose horizon the labels cover.
        horizon: How long after that day outcomes count.
        backtest: Use scores that were made later, from a mirror as of that day.
        picture: File of the chart; None: no chart.
        target: Where to record runs; None: don't.
        now: The clock.

    Raises:
        ValueError: A file or a flag can't be used, or no account has both a score and a label.
        WarehouseUnavailable: BigQuery did not answer.
        ExperimentNotRecorded: Vertex AI refused a run.
    """
    if picture:
        check_picture(picture)
    outcomes = read_labels(labels)
    days = [label.closed_on for label in outcomes]
    window = Horizon(as_of or max(days) - horizon, horizon)
    until = now() if backtest else None
    with open_warehouse(project, dataset) as warehouse:
        scores = read_scores(warehouse, dataset, dt.datetime.combine(window.as_of, _END_OF_DAY), backtest_until=until)
    evaluations = evaluate(scores, outcomes, window)
    if not evaluations:
        raise ValueError(
            f"no account of {labels} has a score as of {window.as_of}: "
            "name another day with --as-of, or score the accounts as of it and add --backtest"
        )
    if picture:
        draw(evaluations, picture)
    runs = _record(evaluations, window, target) if target else ()
    return EvaluationReport(window, (min(days), max(days)), evaluations, picture, runs)


def _record(evaluations: Sequence[Evaluation], window: Horizon, target: ExperimentTarget) -> tuple[str, ...]:
    days = {"as_of": window.as_of.isoformat(), "until": window.until.isoformat()}
    runs = []
    for it in evaluations:
        parameters = {"prompt_version": it.prompt_version, "model": it.model, **days}
        name = f"{it.prompt_version}-{it.model}-{window.as_of}"
        runs.append(record_run(target, name, parameters, metrics_of(it)))
    return tuple(runs)


def render(report: EvaluationReport) -> Group:
    """Return the report: how well each version ranks, and the outcomes of each tier."""
    window = report.horizon
    title = f"scores as of {window.as_of}, judged by what closed until {window.until}"
    parts: list[RenderableType] = [Paragraph(title, "bold")]
    for evaluation in report.evaluations:
        parts += [Paragraph(f"{evaluation.prompt_version}, {evaluation.model}", "bold"), _rankings(evaluation)]
        brier = NO_LABELS if evaluation.brier is None else f"{evaluation.brier:.3f}"
        parts += [Paragraph(f"Brier score: {brier}"), _tiers(evaluation)]
    if not any(evaluation.has_labels for evaluation in report.evaluations):
        first, last = report.labelled
        parts.append(Paragraph(f"{NO_LABELS}: they cover {first} to {last}. Name another day: --as-of", "yellow"))
    if report.picture:
        parts.append(Paragraph(f"picture: {report.picture}"))
    parts += [Paragraph(f"experiment run: {run}") for run in report.runs]
    return Group(*parts)


def _rankings(evaluation: Evaluation) -> Listing:
    numbers = ("of", "share", "AUC", "95 %", "top tenth", "lift")
    columns = (Column("ranked", is_whole=True), *(Column(name, is_number=True) for name in numbers))
    rankings = (("accounts that bought", evaluation.bought), ("opportunities won", evaluation.won))
    return Listing(columns, [(name, str(ranking.count), *_figures(ranking)) for name, ranking in rankings])


def _figures(ranking: Ranking) -> tuple[str, ...]:
    if not ranking.count:
        return (NO_LABELS, "", "", "", "")
    interval = ranking.auc_interval
    return (
        _share(ranking.rate),
        "no contrast" if ranking.auc is None else f"{ranking.auc:.3f}",
        f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else "",
        _share(ranking.top_decile_rate),
        "" if ranking.lift is None else f"{ranking.lift:.2f}",
    )


def _tiers(evaluation: Evaluation) -> Listing:
    numbers = ("accounts", "mean score", "bought", "closed", "won")
    rows = []
    for it in evaluation.tiers:
        bought = _share(it.bought / it.accounts if it.accounts and evaluation.has_labels else None)
        won = _share(it.won / it.closed if it.closed else None)
        mean = "" if it.mean_score is None else f"{it.mean_score:.0f}"
        rows.append((it.tier.value, str(it.accounts), mean, bought, str(it.closed), won))
    return Listing((Column("tier", is_whole=True), *(Column(name, is_number=True) for name in numbers)), rows)


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
