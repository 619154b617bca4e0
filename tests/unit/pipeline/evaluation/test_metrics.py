"""Metrics of scores: values computed by hand, and properties of any ranking."""

import datetime as dt
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.evaluation.evaluate import EvaluationReport, render
from pipeline.evaluation.labels import read_labels
from pipeline.evaluation.metrics import (
    Evaluation,
    Horizon,
    LabelledOutcome,
    ScoredAccount,
    area_under_curve,
    evaluate,
    metrics_of,
    top_decile_rate,
)
from pipeline.evaluation.picture import draw
from schemas.score import Tier, tier_of
from tests.fixtures.changes import account_id
from tests.fixtures.examples import examples
from tests.fixtures.labels import write_labels

DAY = dt.date(2026, 3, 2)
HORIZON = Horizon(DAY, dt.timedelta(days=90))


def _scored(number: int, score: int, *, prompt: str = "v1", model: str = "m") -> ScoredAccount:
    return ScoredAccount(account_id(number), score, tier_of(score), prompt, model)


def _outcome(number: int, *, won: bool, days: int = 10) -> LabelledOutcome:
    return LabelledOutcome(account_id(number), is_won=won, closed_on=DAY + dt.timedelta(days=days))


def _evaluated(scores: dict[int, int], outcomes: list[LabelledOutcome]) -> Evaluation:
    (evaluation,) = evaluate([_scored(number, score) for number, score in scores.items()], outcomes, HORIZON)
    return evaluation


def test_scores_that_separate_the_good_have_an_area_of_one() -> None:
    """Every account that bought has a higher score; the top tenth bought, which is twice the share of all."""
    scores = {number: 90 - number for number in range(20)}
    outcomes = [_outcome(number, won=number < 10) for number in range(20)]
    evaluation = _evaluated(scores, outcomes)
    assert evaluation.bought.auc == 1.0
    assert evaluation.bought.auc_interval == (1.0, 1.0)
    assert (evaluation.bought.count, evaluation.bought.good) == (20, 10)
    assert evaluation.bought.top_decile_rate == 1.0
    assert evaluation.bought.lift == 2.0


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    """Three of four pairs are in order and one is tied, which counts half; in reversed order none is."""
    evaluation = _evaluated(
        {1: 80, 2: 40, 3: 40, 4: 30},
        [_outcome(1, won=True), _outcome(2, won=True), _outcome(3, won=False), _outcome(4, won=False)],
    )
    assert evaluation.bought.auc == pytest.approx(3.5 / 4)
    reversed_order = _evaluated({1: 10, 2: 40, 3: 40, 4: 90}, [_outcome(n, won=n < 3) for n in (1, 2, 3, 4)])
    assert reversed_order.bought.auc == pytest.approx(0.5 / 4)


def test_only_outcomes_within_the_horizon_count() -> None:
    """The score may know those of the day itself; earlier ones, and those after the horizon, don't count."""
    outcomes = [
        _outcome(1, won=True, days=-5),
        _outcome(1, won=True, days=0),
        _outcome(1, won=True, days=91),
        _outcome(2, won=True, days=1),
        _outcome(2, won=False, days=90),
    ]
    evaluation = _evaluated({1: 90, 2: 10}, outcomes)
    assert (evaluation.bought.count, evaluation.bought.good) == (2, 1)
    assert (evaluation.won.count, evaluation.won.good) == (2, 1)
    assert evaluation.bought.auc == 0.0


def test_accounts_without_any_label_are_left_out() -> None:
    """Whether such an account bought is unknown."""
    evaluation = _evaluated({1: 90, 2: 10, 3: 50}, [_outcome(1, won=True), _outcome(2, won=False)])
    assert evaluation.bought.count == 2


def test_without_contrast_nothing_is_ranked() -> None:
    """No area, no interval, and a lift of one."""
    evaluation = _evaluated({1: 90, 2: 10}, [_outcome(1, won=True), _outcome(2, won=True)])
    assert evaluation.bought.auc is None
    assert evaluation.bought.auc_interval is None
    assert evaluation.bought.lift == 1.0
    assert "auc_bought" not in metrics_of(evaluation)
    assert metrics_of(evaluation)["bought_rate"] == 1.0


def test_without_labels_in_the_horizon_nothing_is_known() -> None:
    """That nobody bought is then no result: no share, no area, no Brier score, no mean of an empty tier."""
    outside = [_outcome(1, won=True, days=-5), _outcome(2, won=False, days=91)]
    evaluation = _evaluated({1: 90, 2: 10}, outside)
    assert not evaluation.has_labels
    assert (evaluation.bought.count, evaluation.bought.rate, evaluation.bought.auc) == (0, None, None)
    assert (evaluation.won.rate, evaluation.won.top_decile_rate, evaluation.brier) == (None, None, None)
    assert {it.tier: it.mean_score for it in evaluation.tiers if it.mean_score is None}.keys() == {Tier.WARM, Tier.COOL}
    report = EvaluationReport(
        HORIZON, (DAY - dt.timedelta(days=5), DAY + dt.timedelta(days=91)), (evaluation,), None, ()
    )
    shown = io.StringIO()
    Console(file=shown, width=100).print(render(report))
    assert "%" not in shown.getvalue().replace("95 %", "")
    assert shown.getvalue().count("no labels in the window") == 4
    assert "they cover 2026-02-25 to 2026-06-01" in shown.getvalue()


def test_tiers_have_the_outcomes_of_their_accounts() -> None:
    """Each tier has its number of accounts, their mean score, and how many bought and closed."""
    outcomes = [_outcome(1, won=True), _outcome(1, won=False), _outcome(2, won=True), _outcome(3, won=False)]
    tiers = {it.tier: it for it in _evaluated({1: 90, 2: 80, 3: 10}, outcomes).tiers}
    assert (tiers[Tier.HOT].accounts, tiers[Tier.HOT].mean_score) == (2, 85.0)
    assert (tiers[Tier.HOT].bought, tiers[Tier.HOT].closed, tiers[Tier.HOT].won) == (2, 3, 2)
    assert (tiers[Tier.COLD].accounts, tiers[Tier.COLD].bought) == (1, 0)
    assert tiers[Tier.WARM].accounts == 0


def test_versions_are_evaluated_by_themselves() -> None:
    """Each prompt version and model has its own metrics, sorted."""
    scores = [_scored(1, 90), _scored(2, 10), _scored(1, 10, prompt="v2"), _scored(2, 90, prompt="v2")]
    old, new = evaluate(scores, [_outcome(1, won=True), _outcome(2, won=False)], HORIZON)
    assert (old.prompt_version, old.bought.auc) == ("v1", 1.0)
    assert (new.prompt_version, new.bought.auc) == ("v2", 0.0)
    assert old.brier == pytest.approx((0.1**2 + 0.1**2) / 2)


def test_ties_at_the_edge_of_the_top_tenth_count_in_part() -> None:
    """Of ten accounts with the same score the tenth has the average, in any order."""
    samples = [(50, 1, int(number < 3)) for number in range(10)]
    assert top_decile_rate(samples) == pytest.approx(0.3)
    assert top_decile_rate(samples[::-1]) == pytest.approx(0.3)


_SAMPLES = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 4)).flatmap(
        lambda it: st.tuples(st.just(it[0]), st.just(it[1]), st.integers(0, it[1]))
    ),
    max_size=20,
)


@examples(ordinary=20, slow=500)
@given(_SAMPLES)
def test_the_area_is_that_of_all_pairs(samples: list[tuple[int, int, int]]) -> None:
    """For any scores: the share of (good, other) pairs in which the good one has the higher score; ties count half."""
    good = [score for score, _, good in samples for _ in range(good)]
    other = [score for score, cases, good in samples for _ in range(cases - good)]
    area = area_under_curve(samples)
    if not good or not other:
        assert area is None
        return
    wins = sum((high > low) + 0.5 * (high == low) for high in good for low in other)
    assert area == pytest.approx(wins / (len(good) * len(other)))


@examples(ordinary=20, slow=500)
@given(_SAMPLES, st.randoms())
def test_the_top_tenth_does_not_depend_on_the_order(samples: list[tuple[int, int, int]], dice: object) -> None:
    """A share between 0 and 1, the same for any order of the accounts."""
    rate = top_decile_rate(samples)
    shuffled = samples.copy()
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    again = top_decile_rate(shuffled)
    assert rate == again if rate is None else rate == pytest.approx(again)
    assert rate is None or 0 <= rate <= 1 + 1e-9


def test_labels_are_read_as_they_are_written(tmp_path: Path) -> None:
    """The order of columns and additional columns don't matter."""
    labels = [_outcome(1, won=True), _outcome(2, won=False)]
    write_labels(tmp_path / "labels.csv", iter(labels))
    assert read_labels(tmp_path / "labels.csv") == labels
    (tmp_path / "other.csv").write_text(
        f"\ufeffclosed_on,amount,account_id,outcome\n2026-03-12,5,{account_id(1)[:15]},WON\n", "utf-8"
    )
    assert read_labels(tmp_path / "other.csv") == labels[:1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column account_id"),
        ("account_id,outcome\n", "has no column closed_on"),
        ("account_id,outcome,closed_on\n", "has no labels"),
        ("account_id,outcome,closed_on\nx,won,2026-03-02\n", "line 2: account_id is 'x'"),
        (f"account_id,outcome,closed_on\n{account_id()},open,2026-03-02\n", "line 2: outcome is 'open'"),
        (f"account_id,outcome,closed_on\n{account_id()},won,soon\n", "line 2: closed_on is 'soon'"),
        (f"account_id,outcome,closed_on\n{account_id()}\n", "line 2: outcome is ''"),
    ],
)
def test_an_error_in_labels_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    """The message names file, line and column."""
    (tmp_path / "labels.csv").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        read_labels(tmp_path / "labels.csv")


def test_pictures_are_drawn_in_both_formats(tmp_path: Path) -> None:
    """The same evaluation gives the same file; other suffixes are refused."""
    evaluation = _evaluated(
        {1: 90, 2: 60, 3: 10}, [_outcome(1, won=True), _outcome(2, won=True), _outcome(3, won=False)]
    )
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        draw([evaluation, evaluation], tmp_path / f"a{suffix}")
        content = (tmp_path / f"a{suffix}").read_bytes()
        assert content.startswith(start)
        assert len(content) > 5_000
        draw([evaluation, evaluation], tmp_path / f"b{suffix}")
        assert (tmp_path / f"b{suffix}").read_bytes() == content
    with pytest.raises(ValueError, match=r"must end in .png or .svg"):
        draw([evaluation], tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="nothing to draw"):
        draw([], tmp_path / "a.png")
