"""This pipeline's options as argparse knows them, and the help text of `rescore run --list-options`; without Beam."""

import argparse

from pipeline.config.settings import defaults


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this pipeline's options to a parser; unset ones are None."""
    for name, default, description in defaults():
        shown = f" (default: {default})" if default not in (None, "") else ""
        parser.add_argument(f"--{name}", help=(description + shown).replace("%", "%%"))


def options_help() -> str:
    """Return the help text of this pipeline's options, with their defaults."""
    parser = argparse.ArgumentParser(
        prog="rescore run", usage="rescore run [--config FILE] [--NAME=VALUE …]", add_help=False
    )
    add_options(parser)
    return parser.format_help()
