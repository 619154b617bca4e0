"""The chart of an evaluation: calibration by tier and the AUCs, one column for each prompt version and model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.evaluation.metrics import NO_LABELS, Evaluation, Ranking
from schemas.score import Tier

PICTURE_SUFFIXES: Final = (".png", ".svg")
_TIERS: Final = (Tier.COLD, Tier.COOL, Tier.WARM, Tier.HOT)
_COLORS: Final = {"bought": "#1f77b4", "won": "#ff7f0e"}


def draw(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Write the chart, as PNG or SVG by the file's suffix.

    Raises:
        ValueError: Another suffix, or no evaluations.
        OSError: The file can't be written.
    """
    check_picture(path)
    if not evaluations:
        raise ValueError("nothing to draw: no account has both a score and a label")
    from matplotlib import rc_context  # noqa: PLC0415 - takes half a second to import, and most evaluations draw nothing
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(5 * len(evaluations), 7), layout="constrained")
    axes = figure.subplots(2, len(evaluations), squeeze=False)
    for column, evaluation in enumerate(evaluations):
        _draw_tiers(axes[0][column], evaluation)
        _draw_areas(axes[1][column], evaluation)
    # No date, and ids derived from the content: equal evaluations give equal files.
    with rc_context({"svg.hashsalt": "evaluation"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else {"Software": None})


def check_picture(path: Path) -> None:
    """Check the suffix of a chart's file.

    Raises:
        ValueError: It is of another format.
    """
    if path.suffix.lower() not in PICTURE_SUFFIXES:
        raise ValueError(f"--picture {path} must end in {' or '.join(PICTURE_SUFFIXES)}")


def _draw_tiers(axes: Any, evaluation: Evaluation) -> None:
    tiers = {it.tier: it for it in evaluation.tiers}
    places = range(len(_TIERS))
    bought = [_share(tiers[tier].bought, tiers[tier].accounts) for tier in _TIERS]
    won = [_share(tiers[tier].won, tiers[tier].closed) for tier in _TIERS]
    axes.bar([place - 0.2 for place in places], bought, 0.4, color=_COLORS["bought"], label="accounts that bought")
    axes.bar([place + 0.2 for place in places], won, 0.4, color=_COLORS["won"], label="opportunities won")
    axes.set_xticks(list(places), [f"{tier}\n{tiers[tier].accounts} accounts" for tier in _TIERS])
    axes.set_ylim(0, 1)
    axes.set_ylabel("share")
    axes.set_title(f"{evaluation.prompt_version}, {evaluation.model}")
    if not evaluation.has_labels:
        axes.text(0.5, 0.5, NO_LABELS, transform=axes.transAxes, ha="center")
    axes.legend(fontsize="small")


def _draw_areas(axes: Any, evaluation: Evaluation) -> None:
    rankings: dict[str, Ranking] = {"bought": evaluation.bought, "won": evaluation.won}
    for place, (name, ranking) in enumerate(rankings.items()):
        if ranking.auc is not None and ranking.auc_interval is not None:
            low, high = ranking.auc_interval
            axes.plot([low, high], [place, place], color=_COLORS[name], linewidth=3)
            axes.plot([ranking.auc], [place], "o", color=_COLORS[name], markersize=9)
            axes.annotate(f"{ranking.auc:.2f}", (ranking.auc, place + 0.12), ha="center")
    axes.axvline(0.5, color="grey", linestyle=":")
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, 1.6)
    axes.set_yticks([0, 1], ["bought or not", "won or lost"])
    axes.set_xlabel("area under the ROC curve, 95 % interval; dotted: a coin flip")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
