"""Parse messages: decode → validate → name fields → changes of accounts."""
