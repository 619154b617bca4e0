"""The version of this service, as it was installed."""

from importlib.metadata import version

PIPELINE_VERSION = version("account-rescoring")
