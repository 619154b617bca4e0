"""Account contexts: read, cache, overlay, and skip changes that leave them as they were."""
