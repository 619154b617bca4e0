"""Salesforce's standard stages of an opportunity."""

from typing import Final

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
