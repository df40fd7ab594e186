"""Texts to LSH band keys, and band keys to candidate pairs: functions for mapInArrow.

A document's band keys are one binary value of four bytes a band. For the shuffle they are regrouped by the
worker: every (band, hash) has its partition, and what a worker has for a partition is one binary value of
twelve bytes an entry (four of the hash, eight of the document's id), since rows of their own would cost
more than what they carry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from udfs.dedup import hashes, pairing
from udfs.dedup.characters import character_table, unicode_version
from udfs.dedup.columns import first_of_runs, int64s, utf8_bytes

BAND_DDL = "id bigint, bands binary"
_BAND_SCHEMA = pa.schema([("id", pa.int64()), ("bands", pa.binary())])
# What is known of a document whose text was read: no bands where it has too few tokens (or none were asked
# for), no hash where the text is null.
SIGNATURE_DDL = "id bigint, key string, age bigint, content_hash binary, bands binary"
_SIGNATURE_SCHEMA = pa.schema(
    [
        *[("id", pa.int64()), ("key", pa.string()), ("age", pa.int64())],
        *[("content_hash", pa.binary()), ("bands", pa.binary())],
    ]
)
ENTRY_DDL = "partition int, fresh boolean, entries binary"
_ENTRY_SCHEMA = pa.schema([("partition", pa.int32()), ("fresh", pa.bool_()), ("entries", pa.binary())])
# A row with no ids carries the figures of a partition.
PAIR_DDL = "a bigint, b bigint, bytes bigint, buckets bigint, biggest bigint"
_PAIR_SCHEMA = pa.schema([(name, pa.int64()) for name in ("a", "b", "bytes", "buckets", "biggest")])

_HASH, _ID = np.dtype("<u4"), np.dtype("<i8")
ENTRY_BYTES = _HASH.itemsize + _ID.itemsize
_Keys = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.bool_]]
# Documents whose entries a worker holds before it hands them on, and rows of an Arrow batch given back.
_HELD_DOCUMENTS = 65_536
_ROWS_OUT = 1_000_000


@dataclass(frozen=True)
class BandSettings:
    """What decides the band keys.

    Attributes:
        shingle_size: tokens of a shingle.
        bands, rows: a document has ``bands`` keys, each of ``rows`` minima.
    """

    shingle_size: int
    bands: int
    rows: int

    def identity(self) -> str:
        """All that the keys depend on: keys of another identity cannot be compared."""
        return (
            f"kernel={hashes.KERNEL_VERSION} unicode={unicode_version()} shingle={self.shingle_size} "
            f"bands={self.bands} rows={self.rows}"
        )


@dataclass(frozen=True)
class BucketLimits:
    """How much work a bucket of documents with one band key may be.

    Attributes:
        largest: maximum of documents in a bucket that gives all its pairs.
        representatives: with how many each document of a larger one is compared.
    """

    largest: int
    representatives: int


def bands_function(settings: BandSettings) -> partial[Iterator[pa.RecordBatch]]:
    """Documents (id, text) in, band keys (`BAND_DDL`) out; a document with too few tokens gives no row."""
    return partial(band_batches, settings=settings)


def signatures_function(settings: BandSettings | None) -> partial[Iterator[pa.RecordBatch]]:
    """Documents (id, key, age, text) in, a row each (`SIGNATURE_DDL`) out.

    Args:
        settings: None where no band keys are wanted.
    """
    return partial(signature_batches, settings=settings)


def regroup_function(
    bands: int, partitions: int, fresh: bool, only: NDArray[np.uint32] | None = None
) -> partial[Iterator[pa.RecordBatch]]:
    """Band keys (id, bands) in, entries (`ENTRY_DDL`) out.

    Args:
        only: band keys (documents, bands) of a few documents, which travel with the function: what shares
            none of them is dropped at once and never shuffled.
    """
    return partial(entry_batches, bands=bands, partitions=partitions, fresh=fresh, only=only)


def pairs_function(bands: int, limits: BucketLimits) -> partial[Iterator[pa.RecordBatch]]:
    """The entries of whole partitions in, candidate pairs (`PAIR_DDL`) out."""
    return partial(pair_batches, bands=bands, limits=limits)


def band_batches(batches: Iterable[pa.RecordBatch], *, settings: BandSettings) -> Iterator[pa.RecordBatch]:
    """See `bands_function`."""
    for batch in batches:
        keys = _band_keys(batch.column("text"), settings)
        whole = pa.RecordBatch.from_arrays([batch.column("id"), keys], schema=_BAND_SCHEMA)
        yield whole.filter(keys.is_valid())


def signature_batches(
    batches: Iterable[pa.RecordBatch], *, settings: BandSettings | None
) -> Iterator[pa.RecordBatch]:
    """See `signatures_function`."""
    for batch in batches:
        texts = batch.column("text")
        keys = pa.nulls(len(texts), pa.binary()) if settings is None else _band_keys(texts, settings)
        digests = [
            None if text is None else hashlib.sha256(text).digest()
            for text in texts.cast(pa.binary()).to_pylist()
        ]
        columns = [batch.column(name) for name in ("id", "key", "age")]
        yield pa.RecordBatch.from_arrays(
            [*columns, pa.array(digests, pa.binary()), keys], schema=_SIGNATURE_SCHEMA
        )


def _band_keys(texts: pa.Array, settings: BandSettings) -> pa.Array:
    """The packed band keys of texts; null where a text has too few tokens."""
    data, offsets = utf8_bytes(texts)
    multipliers, addends = hashes.permutations(settings.bands * settings.rows)
    keys, has = hashes.band_hashes(
        *(data, offsets, character_table(), settings.shingle_size),
        *(multipliers, addends, settings.bands, settings.rows),
    )
    sizes = np.where(has, settings.bands * _HASH.itemsize, 0)
    bounds = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    validity = np.packbits(has, bitorder="little")
    packed = np.ascontiguousarray(keys[has], dtype=_HASH)
    return pa.Array.from_buffers(
        pa.binary(), len(has), [pa.py_buffer(buffer) for buffer in (validity, bounds, packed)]
    )


def unpack_bands(column: pa.Array, bands: int) -> NDArray[np.uint32]:
    """A column of band keys as an array (documents, bands)."""
    data, offsets = utf8_bytes(column)
    width = bands * _HASH.itemsize
    if len(column) and not (np.diff(offsets) == width).all():
        raise ValueError(f"a row of band keys has not {bands} bands: the index was made with other settings")
    return data[offsets[0] : offsets[-1]].view(_HASH).reshape(-1, bands)


def entry_batches(
    batches: Iterable[pa.RecordBatch],
    *,
    bands: int,
    partitions: int,
    fresh: bool,
    only: NDArray[np.uint32] | None = None,
) -> Iterator[pa.RecordBatch]:
    """See `regroup_function`."""
    probe = None
    if only is not None:
        wanted_keys = np.sort(only.T, axis=1)
        probe = (wanted_keys, pairing.prefix_starts(wanted_keys))
    held: list[_Keys] = []
    count = 0
    for batch in batches:
        ids, keys = int64s(batch.column("id")), unpack_bands(batch.column("bands"), bands)
        wanted = np.ones(keys.shape, dtype=np.bool_)
        if probe is not None:
            wanted = pairing.contained(keys, *probe)
            some = wanted.any(axis=1)
            ids, keys, wanted = ids[some], keys[some], wanted[some]
        held.append((ids, keys, wanted))
        count += len(ids)
        if count >= _HELD_DOCUMENTS:
            yield from _regroup(held, partitions, fresh)
            held, count = [], 0
    yield from _regroup(held, partitions, fresh)


def _regroup(held: list[_Keys], partitions: int, fresh: bool) -> Iterator[pa.RecordBatch]:
    """One row a partition: for each band a count (four bytes), then all hashes, then all ids."""
    if not sum(len(ids) for ids, _, _ in held):
        return
    ids, keys, wanted = (np.concatenate(parts) for parts in zip(*held, strict=True))
    counts, placed, owners = pairing.scatter(keys, ids, wanted, partitions)
    bounds = np.concatenate(([0], np.cumsum(counts.sum(axis=1))))
    blobs = [
        counts[p].astype(_HASH).tobytes()
        + placed[bounds[p] : bounds[p + 1]].astype(_HASH).tobytes()
        + owners[bounds[p] : bounds[p + 1]].astype(_ID).tobytes()
        for p in range(partitions)
    ]
    yield pa.RecordBatch.from_arrays(
        [
            pa.array(np.arange(partitions, dtype=np.int32)),
            pa.array(np.full(partitions, fresh)),
            pa.array(blobs, type=pa.binary()),
        ],
        schema=_ENTRY_SCHEMA,
    )


def pair_batches(
    batches: Iterable[pa.RecordBatch], *, bands: int, limits: BucketLimits
) -> Iterator[pa.RecordBatch]:
    """See `pairs_function`."""
    parts: list[tuple[bool, NDArray[np.int64], NDArray[np.uint32], NDArray[np.int64]]] = []
    size = 0
    for batch in batches:
        for fresh, blob in zip(batch.column("fresh").to_pylist(), batch.column("entries"), strict=True):
            data = np.frombuffer(blob.as_buffer(), dtype=np.uint8)
            counts = data[: bands * 4].view(_HASH).astype(np.int64)
            entries = int(counts.sum())
            end = bands * 4 + entries * 4
            # Copied, since the ids are not aligned to eight bytes.
            owners = np.frombuffer(data[end:].tobytes(), dtype=_ID)
            parts.append((fresh, counts, data[bands * 4 : end].view(_HASH), owners))
            size += len(data)
    found, buckets, biggest = [], 0, 0
    starts = [np.concatenate(([0], np.cumsum(counts))) for _, counts, _, _ in parts]
    for band in range(bands):
        slices = [slice(start[band], start[band + 1]) for start in starts]
        keys = [part[2][s] for part, s in zip(parts, slices, strict=True)]
        ids = [part[3][s] for part, s in zip(parts, slices, strict=True)]
        flags = [np.full(len(h), part[0]) for part, h in zip(parts, keys, strict=True)]
        if not sum(map(len, keys)):
            continue
        pairs, number, largest = _pairs(
            np.concatenate(keys), np.concatenate(ids), np.concatenate(flags), limits
        )
        found.append(pairs)
        buckets += number
        biggest = max(biggest, largest)
    yield from _pair_rows(found, size, buckets, biggest)


def _pairs(
    keys: NDArray[np.uint32], ids: NDArray[np.int64], fresh: NDArray[np.bool_], limits: BucketLimits
) -> tuple[NDArray[np.int64], int, int]:
    """The pairs of one band that have a fresh document; number of buckets, and the largest's size."""
    # Documents with a hash of their own are most of all: they are left out before the costly sort.
    # Sorting numbers that carry their place is several times faster than sorting places.
    placed = (keys.astype(np.uint64) << np.uint64(32)) | np.arange(len(keys), dtype=np.uint64)
    placed.sort()
    order = (placed & np.uint64(0xFFFFFFFF)).astype(np.int64)
    first = first_of_runs(placed >> np.uint64(32))
    alone = first & np.append(first[1:], True)
    order = order[~alone]
    # Old documents first: in a large bucket they are the ones to be compared with.
    order = order[np.lexsort((ids[order], fresh[order], keys[order]))]
    pairs, buckets, biggest = pairing.bucket_pairs(
        keys[order], ids[order], fresh[order], limits.largest, limits.representatives
    )
    return pairs, buckets, biggest


def _pair_rows(
    found: list[NDArray[np.int64]], size: int, buckets: int, biggest: int
) -> Iterator[pa.RecordBatch]:
    pairs = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
    a, b = unique_pairs(pairs[:, 0], pairs[:, 1])
    for start in range(0, len(a), _ROWS_OUT):
        part = slice(start, start + _ROWS_OUT)
        nulls = pa.nulls(len(a[part]), pa.int64())
        yield pa.RecordBatch.from_arrays(
            [pa.array(a[part]), pa.array(b[part]), nulls, nulls, nulls], schema=_PAIR_SCHEMA
        )
    figures = [pa.array([value], type=pa.int64()) for value in (None, None, size, buckets, biggest)]
    yield pa.RecordBatch.from_arrays(figures, schema=_PAIR_SCHEMA)


def unique_pairs(
    left: NDArray[np.int64], right: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct pairs of different ids, the smaller first, sorted."""
    a, b = np.minimum(left, right), np.maximum(left, right)
    apart = a != b
    a, b = a[apart], b[apart]
    order = np.lexsort((b, a))
    a, b = a[order], b[order]
    first = first_of_runs(a, b)
    return a[first], b[first]
