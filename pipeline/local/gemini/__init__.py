"""A stand-in for Gemini on Vertex AI: the same HTTP, scores from the prompt's facts, every failure on demand.

`GeminiStandIn` runs it in this process, `python -m pipeline.local.gemini` in one of its own. It keeps and logs nothing
of what it is sent.
"""

from pipeline.local.gemini.config import PRESETS, Fault, GeminiConfig, Latency
from pipeline.local.gemini.fault_kinds import FaultKind
from pipeline.local.gemini.server import GeminiStandIn
from pipeline.local.gemini.stats import GeminiStats

__all__ = ["PRESETS", "Fault", "FaultKind", "GeminiConfig", "GeminiStandIn", "GeminiStats", "Latency"]
