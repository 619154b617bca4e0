"""Implicit caching: how much of a prompt's beginning was in an earlier prompt."""

from collections.abc import Iterator
from typing import Final

from cachetools import LRUCache

BLOCK_TOKENS: Final = 256
_BLOCK_CHARS: Final = BLOCK_TOKENS * 4
_MAX_BLOCKS: Final = 64
"""Of one prompt: common prefixes beyond 16,384 tokens are rare, and hashing takes time."""


class PrefixCache:
    """The prefixes of recent prompts, at most `size` blocks; the least recently used are dropped."""

    def __init__(self, size: int = 100_000) -> None:
        self._seen: LRUCache[int, bool] = LRUCache(size)

    def seen_tokens(self, text: str) -> int:
        """Return how many tokens at the start of the text were seen before, and remember the text."""
        blocks = 0
        for prefix in _prefix_hashes(text):
            blocks += self._seen.get(prefix, False)
            self._seen[prefix] = True
        return blocks * BLOCK_TOKENS

    def clear(self) -> None:
        """Drop every prefix."""
        self._seen.clear()


def _prefix_hashes(text: str) -> Iterator[int]:
    """Yield for each whole block of 256 tokens the hash of the text up to its end; valid in this process only."""
    prefix = 0
    for end in range(_BLOCK_CHARS, min(len(text), _BLOCK_CHARS * _MAX_BLOCKS) + 1, _BLOCK_CHARS):
        prefix = hash((prefix, text[end - _BLOCK_CHARS : end]))
        yield prefix
