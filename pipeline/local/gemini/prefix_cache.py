"""Implicit caching: which start of a prompt was seen before."""

from collections.abc import Iterator
from typing import Final

BLOCK_TOKENS: Final = 256
_BLOCK_CHARS: Final = BLOCK_TOKENS * 4
_BLOCKS_KEPT: Final = 64
"""Of one prompt: prefixes beyond 16,384 tokens are rare, and hashing them is not free."""


def prefix_hashes(text: str) -> Iterator[int]:
    """Yield for each whole block of 256 tokens the hash of the text up to its end; valid in this process only."""
    hashed = 0
    for end in range(_BLOCK_CHARS, min(len(text), _BLOCK_CHARS * _BLOCKS_KEPT) + 1, _BLOCK_CHARS):
        hashed = hash((hashed, text[end - _BLOCK_CHARS : end]))
        yield hashed


class PrefixCache:
    """Remembers the prefixes of the last prompts, `size` blocks in all, the least used forgotten first."""

    def __init__(self, size: int = 100_000) -> None:
        self._size = size
        self._seen: dict[int, None] = {}

    def seen_tokens(self, text: str) -> int:
        """Return how many tokens at the start of the text were seen before, and remember the text."""
        blocks = 0
        for hashed in prefix_hashes(text):
            if hashed in self._seen:
                del self._seen[hashed]
                blocks += 1
            self._seen[hashed] = None
        while len(self._seen) > self._size:
            del self._seen[next(iter(self._seen))]
        return blocks * BLOCK_TOKENS

    def clear(self) -> None:
        """Forget every prompt."""
        self._seen.clear()
