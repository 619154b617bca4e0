"""The service: the graph, its options, sources and sinks, and the command `rescore`."""

from importlib.metadata import version

PIPELINE_VERSION = version("account-rescoring")
