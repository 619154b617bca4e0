"""From the bytes of a message to the changes that it tells of."""
