"""Seeds of single records. Light: whoever only sends a seed along needs no torch."""

import hashlib


def record_seed(seed: int, record: str) -> int:
    """A seed for one record, so that its answer does not depend on the order of records."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{record}".encode(), digest_size=8).digest(), "big") >> 1
