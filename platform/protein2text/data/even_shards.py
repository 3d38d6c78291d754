"""Spreads tables over Parquet files of nearly equal size, though nobody knows how much will come."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from protein2text.data.records import write_shard

HELD_SHARDS = 3.5
"""A shard is written when so many are waiting; at the end 2.5 to 3.5 of them become three. The largest shard of a
corpus is therefore at most a fifth above its smallest, and no more than 3.5 of them are ever in memory."""


class EvenShards:
    """Takes tables in order and writes them in order, as ``part-00000.parquet`` and on."""

    def __init__(self, folder: Path, schema: pa.Schema, shard_bytes: int) -> None:
        self.folder, self.schema, self.shard_bytes = folder, schema, shard_bytes
        self.names: list[str] = []
        self._waiting: deque[pa.Table] = deque()
        self._num_bytes = 0

    def add(self, table: pa.Table) -> None:
        """Take a table, much smaller than a shard: tables are never divided."""
        if table.num_rows:
            self._waiting.append(table)
            self._num_bytes += table.nbytes
        while self._num_bytes >= HELD_SHARDS * self.shard_bytes:
            write_shard(*self._next_shard(self.shard_bytes))

    def finish(self) -> list[str]:
        """Write all that waits, each shard by a thread, and return the names of all shards; there is always one."""
        last = [
            self._next_shard(self._num_bytes / num_left)
            for num_left in range(max(1, round(self._num_bytes / self.shard_bytes)), 0, -1)
            if self._waiting or not self.names
        ]
        with ThreadPoolExecutor() as pool:
            for written in [pool.submit(write_shard, *shard) for shard in last]:
                written.result()
        return self.names

    def _next_shard(self, wanted_bytes: float) -> tuple[pa.Table, Path]:
        """Take about so much from what waits: a shard, and the file that it shall be."""
        taken, num_bytes = [self.schema.empty_table()], 0
        while self._waiting and (num_bytes == 0 or num_bytes + self._waiting[0].nbytes / 2 <= wanted_bytes):
            taken.append(self._waiting.popleft())
            num_bytes += taken[-1].nbytes
        self._num_bytes -= num_bytes
        self.names.append(f"part-{len(self.names):05d}.parquet")
        return pa.concat_tables(taken), self.folder / self.names[-1]
