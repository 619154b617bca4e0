"""The tokens of a day are read from its partition."""

from transforms.admit.token_usage import usage_query


def test_the_query_reads_one_days_partition() -> None:
    """It filters on the partition column, by a bound value."""
    assert "WHERE scored_at >= @since" in usage_query("p.d.account_scores")
