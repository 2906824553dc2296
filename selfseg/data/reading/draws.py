"""Random numbers that depend on names alone: the same on every machine, in every year.

Python's `hash` is salted per process, and NumPy promises no stable stream for
`Generator.permutation` or `Generator.random` (NEP 19). It does promise the raw words of its bit
generators, so only those are used: Philox (Salmon et al. 2011), a published counter-based cipher
that costs nothing to start at a fresh 128-bit key. BLAKE2b turns names into that key.
"""

import json
from hashlib import blake2b

import numpy as np
from jaxtyping import Float64, Int64, UInt64
from numpy.random import Philox


def words(count: int, *names: int | str) -> UInt64[np.ndarray, " count"]:
    """Draw `count` 64-bit words from the stream called `names`."""
    digest = blake2b(json.dumps(names).encode(), digest_size=16).digest()
    return Philox(key=int.from_bytes(digest, "little")).random_raw(count)


def uniforms(count: int, *names: int | str) -> Float64[np.ndarray, " count"]:
    """Draw `count` numbers from [0, 1), multiples of 2**-53, from the stream called `names`."""
    return (words(count, *names) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(size: int, *names: int | str) -> Int64[np.ndarray, " size"]:
    """Order 0 ... size - 1 by one random word each, from the stream called `names`."""
    return np.argsort(words(size, *names), kind="stable")
