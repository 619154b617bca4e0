"""Metrics of how well scores rank accounts, by what happened to the accounts afterwards; pure, with scikit-learn.

An account can have many labels or few, so two questions are asked: did the account buy within the horizon, and was an
opportunity that closed within the horizon won?
"""

import datetime as dt
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from sklearn import config_context
from sklearn.metrics import brier_score_loss, roc_auc_score

from schemas.score import Tier

NO_LABELS: Final = "no labels in the window"
"""What a report says instead of a share of nothing."""

RESAMPLES: Final = 200
_SEED: Final = 1
_CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class ScoredAccount:
    """A score at the time of the evaluation, with its prompt version and model."""

    account_id: str
    score: int
    tier: Tier
    prompt_version: str
    model: str


@dataclass(frozen=True)
class LabelledOutcome:
    """A closed opportunity: its account, whether it was won, and the day."""

    account_id: str
    is_won: bool
    closed_on: dt.date


@dataclass(frozen=True)
class Horizon:
    """The days after `as_of` whose outcomes count; the score may already reflect those of `as_of` itself.

    A score is the chance that the account buys in the next 90 days.
    """

    as_of: dt.date
    length: dt.timedelta

    @property
    def until(self) -> dt.date:
        """The last day that counts."""
        return self.as_of + self.length

    def has(self, day: dt.date) -> bool:
        """Return whether outcomes of a day count."""
        return self.as_of < day <= self.until


@dataclass(frozen=True)
class Ranking:
    """How well scores separate the good from the others; None where undefined, such as when all are good.

    Attributes:
        count: Accounts, or closed opportunities.
        good: How many of them bought, or were won.
        auc: Probability that a good one has a higher score than another; 0.5 is a coin flip.
        auc_interval: Its 95 % interval, by resampling accounts.
        top_decile_rate: Share of the good among the tenth of the accounts with the highest scores.
        lift: That share divided by the share among all.
    """

    count: int
    good: int
    auc: float | None
    auc_interval: tuple[float, float] | None
    top_decile_rate: float | None
    lift: float | None

    @property
    def rate(self) -> float | None:
        """Share of the good among all."""
        return self.good / self.count if self.count else None


@dataclass(frozen=True)
class TierCalibration:
    """The outcomes of a tier's accounts."""

    tier: Tier
    accounts: int
    mean_score: float | None
    bought: int
    closed: int
    won: int


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one prompt version and model.

    If no opportunity of its accounts closed within the horizon, nothing is known of what happened: every metric is
    None, and no account counts.
    """

    prompt_version: str
    model: str
    bought: Ranking
    won: Ranking
    tiers: tuple[TierCalibration, ...]
    brier: float | None
    """Mean squared difference of score/100 from 1 (bought) or 0: 0 is best, a constant score of 50 gives 0.25."""

    @property
    def has_labels(self) -> bool:
        """Whether any opportunity closed within the horizon."""
        return self.won.count > 0


@dataclass(frozen=True)
class _Labelled:
    """A scored account with its closed and won opportunities within the horizon."""

    account: ScoredAccount
    closed: int
    won: int


def evaluate(
    scores: Iterable[ScoredAccount], outcomes: Sequence[LabelledOutcome], horizon: Horizon
) -> tuple[Evaluation, ...]:
    """Evaluate each prompt version and model by itself, sorted.

    Accounts without labels are left out: whether they bought is unknown.
    """
    labelled = {outcome.account_id for outcome in outcomes}
    within: defaultdict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        if horizon.has(outcome.closed_on):
            within[outcome.account_id].append(outcome.is_won)
    versions: defaultdict[tuple[str, str], list[_Labelled]] = defaultdict(list)
    for account in scores:
        if account.account_id in labelled:
            results = within.get(account.account_id, [])
            judged = _Labelled(account, len(results), sum(results))
            versions[account.prompt_version, account.model].append(judged)
    return tuple(_evaluate(version, judged) for version, judged in sorted(versions.items()))


def _evaluate(version: tuple[str, str], judged: Sequence[_Labelled]) -> Evaluation:
    # Without any label in the horizon, that nobody bought is an empty file and no result.
    known = judged if any(it.closed for it in judged) else ()
    return Evaluation(
        prompt_version=version[0],
        model=version[1],
        bought=_ranking([(it.account.score, 1, int(it.won > 0)) for it in known]),
        won=_ranking([(it.account.score, it.closed, it.won) for it in judged]),
        tiers=tuple(_calibration(tier, [it for it in judged if it.account.tier is tier]) for tier in Tier),
        brier=_brier(known),
    )


_Sample = tuple[int, int, int]
"""An account's score, its number of cases, and how many of the cases are good."""


def _ranking(samples: Sequence[_Sample]) -> Ranking:
    count, good = sum(cases for _, cases, _ in samples), sum(good for *_, good in samples)
    top = top_decile_rate([sample for sample in samples if sample[1]])
    return Ranking(
        count=count,
        good=good,
        auc=area_under_curve(samples),
        auc_interval=_interval(samples),
        top_decile_rate=top,
        lift=top / (good / count) if top is not None and good else None,
    )


def area_under_curve(samples: Sequence[_Sample]) -> float | None:
    """Return the area under the ROC curve; None if all cases are good or none is."""
    truths, scores, weights = [], [], []
    for score, cases, good in samples:
        for truth, weight in ((1, good), (0, cases - good)):
            if weight:
                truths.append(truth)
                scores.append(score)
                weights.append(weight)
    return float(roc_auc_score(truths, scores, sample_weight=weights)) if len(set(truths)) > 1 else None


def _interval(samples: Sequence[_Sample]) -> tuple[float, float] | None:
    """Return the middle 95 % of the areas of resampled accounts; the cases of an account stay together."""
    if area_under_curve(samples) is None:
        return None
    dice = random.Random(_SEED)
    # Validating the values, which are finite, costs more than computing the areas.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        drawn = [area_under_curve(dice.choices(samples, k=len(samples))) for _ in range(RESAMPLES)]
    areas = sorted(area for area in drawn if area is not None)
    outside = (1 - _CONFIDENCE) / 2
    return areas[int(outside * len(areas))], areas[min(len(areas) - 1, math.ceil((1 - outside) * len(areas)))]


def top_decile_rate(samples: Sequence[_Sample]) -> float | None:
    """Return the share of the good among the tenth of the accounts with the highest scores.

    Accounts with equal scores at the edge of the tenth count with an equal fraction each.
    """
    room = len(samples) / 10
    cases = good = 0.0
    ranked = sorted(samples, key=lambda sample: -sample[0])
    for _, equal in groupby(ranked, key=lambda sample: sample[0]):
        tied = list(equal)
        part = min(1.0, room / len(tied))
        cases += part * sum(sample[1] for sample in tied)
        good += part * sum(sample[2] for sample in tied)
        room -= part * len(tied)
        if room <= 0:
            break
    return good / cases if cases else None


def _calibration(tier: Tier, judged: Sequence[_Labelled]) -> TierCalibration:
    return TierCalibration(
        tier=tier,
        accounts=len(judged),
        mean_score=sum(it.account.score for it in judged) / len(judged) if judged else None,
        bought=sum(it.won > 0 for it in judged),
        closed=sum(it.closed for it in judged),
        won=sum(it.won for it in judged),
    )


def _brier(judged: Sequence[_Labelled]) -> float | None:
    if not judged:
        return None
    truths, chances = [int(it.won > 0) for it in judged], [it.account.score / 100 for it in judged]
    return float(brier_score_loss(truths, chances, pos_label=1))


def metrics_of(evaluation: Evaluation) -> Mapping[str, float]:
    """Return the metrics of an evaluation by name, without undefined ones."""
    named = {
        "auc_bought": evaluation.bought.auc,
        "auc_won": evaluation.won.auc,
        "lift_bought": evaluation.bought.lift,
        "lift_won": evaluation.won.lift,
        "bought_rate": evaluation.bought.rate,
        "won_rate": evaluation.won.rate,
        "brier": evaluation.brier,
        "accounts": float(evaluation.bought.count),
        "closed_opportunities": float(evaluation.won.count),
    }
    return {name: value for name, value in named.items() if value is not None}
