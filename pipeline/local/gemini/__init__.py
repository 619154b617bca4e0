"""A stand-in for Gemini on Vertex AI: the same HTTP API, deterministic scores, and every kind of failure on demand.

`GeminiStandIn` runs it on a thread of this process, `python -m pipeline.local.gemini` in a process of its own. It
neither stores nor logs the prompts.
"""

from pipeline.local.gemini.config import PRESETS, Fault, GeminiConfig, Latency
from pipeline.local.gemini.fault_kinds import FaultKind
from pipeline.local.gemini.server import GeminiStandIn
from pipeline.local.gemini.stats import GeminiStats

__all__ = ["PRESETS", "Fault", "FaultKind", "GeminiConfig", "GeminiStandIn", "GeminiStats", "Latency"]
