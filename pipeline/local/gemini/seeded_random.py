"""Random numbers that depend on a seed and labels only, and so repeat in every process."""

import hashlib
from typing import Final

_SCALE: Final = 2**64


def uniform(seed: int, *labels: str | int) -> float:
    """Return a number in [0, 1) for the seed and the labels."""
    text = "\x1f".join(map(str, (seed, *labels)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / _SCALE
