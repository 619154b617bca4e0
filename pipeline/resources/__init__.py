"""Names and schemas of topics, subscriptions and tables."""
