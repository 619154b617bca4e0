"""The four stories of generated accounts, and their parameters."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

Range = tuple[int, int]
"""Minimum and maximum, both inclusive."""

OPEN_STAGES: Final = {
    "Prospecting": 10.0,
    "Qualification": 10.0,
    "Needs Analysis": 20.0,
    "Value Proposition": 50.0,
    "Id. Decision Makers": 60.0,
    "Perception Analysis": 70.0,
    "Proposal/Price Quote": 75.0,
    "Negotiation/Review": 90.0,
}
"""Salesforce's open stages in their order, with their default probability in percent."""

CLOSED_STAGES: Final = {"Closed Won": 100.0, "Closed Lost": 0.0}


class Story(StrEnum):
    """The kind of relationship with an account."""

    GROWING = "growing"
    STALLED = "stalled"
    CHURN_RISK = "churn_risk"
    FRESH_LEAD = "fresh_lead"


@dataclass(frozen=True)
class Plot:
    """The parameters of a story; days are counted back from `as_of`."""

    weight: int
    account_type: str
    ratings: tuple[str | None, ...]
    known_for_days: Range
    silent_for_days: Range
    won: Range
    lost: Range
    open: Range
    open_stages: Range
    engaged_days_ago: Range
    due_in_days: Range
    emails: Range
    calls: Range
    inbound_share: float
    connected_share: float

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of its open opportunities."""
        first, last = self.open_stages
        return tuple(OPEN_STAGES)[first : last + 1]


PLOTS: Final = {
    Story.GROWING: Plot(
        weight=30,
        account_type="Customer",
        ratings=("Hot", "Hot", "Warm"),
        known_for_days=(420, 3600),
        silent_for_days=(0, 12),
        won=(1, 4),
        lost=(0, 1),
        open=(1, 3),
        open_stages=(3, 7),
        engaged_days_ago=(5, 90),
        due_in_days=(10, 120),
        emails=(3, 12),
        calls=(1, 6),
        inbound_share=0.5,
        connected_share=0.8,
    ),
    Story.STALLED: Plot(
        weight=25,
        account_type="Prospect",
        ratings=("Cold", "Cold", "Warm", None),
        known_for_days=(240, 1500),
        silent_for_days=(45, 150),
        won=(0, 0),
        lost=(0, 2),
        open=(1, 2),
        open_stages=(1, 5),
        engaged_days_ago=(160, 230),
        due_in_days=(-100, -10),
        emails=(1, 8),
        calls=(0, 4),
        inbound_share=0.2,
        connected_share=0.25,
    ),
    Story.CHURN_RISK: Plot(
        weight=20,
        account_type="Customer",
        ratings=("Warm", "Cold", None),
        known_for_days=(420, 3600),
        silent_for_days=(0, 20),
        won=(1, 3),
        lost=(0, 2),
        open=(0, 2),
        open_stages=(5, 7),
        engaged_days_ago=(20, 120),
        due_in_days=(-5, 60),
        emails=(2, 12),
        calls=(0, 6),
        inbound_share=0.6,
        connected_share=0.6,
    ),
    Story.FRESH_LEAD: Plot(
        weight=25,
        account_type="Prospect",
        ratings=("Warm", "Hot", None),
        known_for_days=(3, 45),
        silent_for_days=(0, 2),
        won=(0, 0),
        lost=(0, 0),
        open=(0, 1),
        open_stages=(0, 2),
        engaged_days_ago=(0, 20),
        due_in_days=(30, 150),
        emails=(0, 4),
        calls=(0, 2),
        inbound_share=0.55,
        connected_share=0.5,
    ),
}
