"""Current scores, movements and history in an embedded database, filled from BigQuery; docs/adr/080."""
