"""Every class has its remedy."""

from pipeline.dead_letters.remedies import REMEDIES
from schemas.dead_letter import ErrorClass


def test_every_class_has_a_remedy() -> None:
    """An operator is never left with a class alone."""
    assert {str(error_class) for error_class in ErrorClass} <= set(REMEDIES)


def test_a_remedy_is_short_and_says_what_to_do() -> None:
    """It is read at 3 a.m."""
    for remedy in REMEDIES.values():
        assert 40 <= len(remedy) <= 240
        assert remedy.endswith(".")
