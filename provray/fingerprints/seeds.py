"""Deterministic pseudo-random numbers that any machine, library version or order of work reproduces.

Library generators do not promise the same stream across versions; fingerprints must stay comparable for
years. So all randomness comes from one counter-based function: SplitMix64's output mix (Steele, Lea & Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014) applied to `key + counter * golden ratio`.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def key_of(*parts: str | int) -> int:
    """64-bit key of a sequence of names: equal parts give equal keys on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def words(key: int, count: int, start: int = 0) -> U64:
    """Random 64-bit words number `start` to `start + count` of the stream `key`. Shape (count,)."""
    with np.errstate(over="ignore"):
        z = np.arange(start + 1, start + count + 1, dtype=np.uint64)
        z *= _GOLDEN
        z += np.uint64(key)
        z ^= z >> np.uint64(30)
        z *= _MIX_1
        z ^= z >> np.uint64(27)
        z *= _MIX_2
        z ^= z >> np.uint64(31)
    return z


def signs(key: int, count: int) -> npt.NDArray[np.int8]:
    """Random signs, -1 or +1. Shape (count,)."""
    packed = words(key, (count + 63) // 64).astype("<u8").view(np.uint8)
    return (np.unpackbits(packed)[:count].astype(np.int8) << 1) - np.int8(1)


def integers(key: int, count: int, below: int) -> npt.NDArray[np.int64]:
    """Random integers in [0, below), below < 2^32 (multiply-shift; bias under 2^-32). Shape (count,)."""
    return (((words(key, count) >> np.uint64(32)) * np.uint64(below)) >> np.uint64(32)).astype(
        np.int64
    )


def permutation(key: int, count: int) -> npt.NDArray[np.int64]:
    """A random order of 0 .. count - 1. Shape (count,)."""
    return np.argsort(words(key, count), kind="stable").astype(np.int64)
