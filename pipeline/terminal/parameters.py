"""Parameters that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[Path | None, typer.Option(help="Keep the warehouse and credentials in this folder.")]
Accounts = Annotated[
    int, typer.Option(min=1, max=100_000, help="Accounts of the generated CRM; 8803 is the full size.")
]
Seed = Annotated[int, typer.Option(help="Of everything generated: the same seed, the same CRM and events.")]
Crm = Annotated[Path | None, typer.Option(help="A CRM extract (folder of CSV files) in place of the generated CRM.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more than warnings.")]
