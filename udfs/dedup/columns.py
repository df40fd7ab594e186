"""Arrow columns as the flat arrays that the kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def utf8_bytes(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of a string column and where each value begins (one offset more than values).

    Null values are empty.
    """
    if column.null_count:
        column = column.fill_null("" if pa.types.is_string(column.type) else pa.scalar("", column.type))
    if column.offset:
        column = pa.concat_arrays([column])
    large = pa.types.is_large_string(column.type) or pa.types.is_large_binary(column.type)
    _, offsets, data = column.buffers()
    if not len(column):
        return np.frombuffer(b"", dtype=np.uint8), np.zeros(1, dtype=np.int64)
    found = np.frombuffer(offsets, dtype=np.int64 if large else np.int32)[: len(column) + 1]
    content = np.frombuffer(data if data is not None else b"", dtype=np.uint8)
    return content, found.astype(np.int64)


def int64s(column: pa.Array) -> NDArray[np.int64]:
    """A bigint column without nulls."""
    return column.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)


def strings(column: pa.Array) -> NDArray[Any]:
    """A string column as an array of Python strings (None for null)."""
    return column.to_numpy(zero_copy_only=False)


def first_of_runs(*columns: NDArray[Any]) -> NDArray[np.bool_]:
    """For columns sorted together: which rows differ from the row before."""
    length = len(columns[0])
    first = np.ones(length, dtype=np.bool_)
    if length > 1:
        first[1:] = False
        for column in columns:
            first[1:] |= column[1:] != column[:-1]
    return first
