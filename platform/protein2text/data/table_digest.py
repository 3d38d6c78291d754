"""A checksum of a table's rows, whatever way they lie in files and batches, at the speed of the hash.

Every column is taken apart into its leaves: lengths of lists and texts (-1 for null), and the values themselves. Each
leaf is hashed as one long stream, so two tables have one digest exactly if they hold equal rows in equal order.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class TableDigest:
    """SHA-256 of all leaves of the tables that it is fed."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._leaves: dict[str, Any] = {}

    def update(self, table: pa.Table) -> None:
        """Take the next rows; columns are those of the schema, in any order."""
        if not table.num_rows:
            return
        for field in self._schema:
            for chunk in table[field.name].cast(field.type).chunks:
                for leaf, data in _leaves(field.name, chunk):
                    self._leaves.setdefault(leaf, hashlib.sha256()).update(data)

    def hexdigest(self) -> str:
        """Of all rows so far."""
        total = hashlib.sha256()
        for leaf in sorted(self._leaves):
            total.update(f"{leaf} {self._leaves[leaf].hexdigest()}\n".encode())
        return total.hexdigest()


def _leaves(name: str, array: pa.Array) -> Iterator[tuple[str, Any]]:
    """Name and bytes of each stream that an array adds to.

    Raises:
        TypeError: a type that records do not use.
    """
    kind = array.type
    if pa.types.is_list(kind):
        yield f"{name}#", _int32(pc.list_value_length(array))
        yield from _leaves(f"{name}[]", array.flatten())
    elif pa.types.is_struct(kind):
        yield f"{name}?", _int32(array.is_valid().cast(pa.int32()))
        for field, values in zip(kind, array.flatten(), strict=True):
            yield from _leaves(f"{name}.{field.name}", values)
    elif pa.types.is_string(kind):
        yield f"{name}#", _int32(pc.binary_length(array))
        yield name, _text_bytes(array.drop_null())
    elif pa.types.is_int32(kind):
        yield f"{name}?", _int32(array.is_valid().cast(pa.int32()))
        yield name, _int32(array)
    else:
        raise TypeError(f"{name}: no digest of {kind}")


def _int32(array: pa.Array) -> bytes:
    return bytes(array.fill_null(-1).to_numpy(zero_copy_only=False).astype("<i4").tobytes())


def _text_bytes(array: pa.Array) -> memoryview:
    """The texts one after the other; ``array`` holds no nulls."""
    if not len(array):
        return memoryview(b"")
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, dtype="<i4")[array.offset : array.offset + len(array) + 1]
    return memoryview(data)[ends[0] : ends[-1]] if data is not None else memoryview(b"")
