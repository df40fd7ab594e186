"""The stage deduplicate over a warehouse: new documents against the kept index, withdrawals, rebuilds.

An old verdict never changes because of a new document. A document that is similar to two clusters that were
kept apart joins the older one, and the bridge is recorded; a rebuild, which judges everything again, applies
it. Band keys stay in `band_index` for all documents that were ever looked at, removed ones too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from udfs.dedup.bands import BAND_DDL, ENTRY_DDL, BandSettings, bands_function, regroup_function, unpack_bands
from webscale_rl.errors import ConfigError, WarehouseError
from webscale_rl.runtime.context import Context
from webscale_rl.spark.faultpoints import reached
from webscale_rl.spark.session import is_local
from webscale_rl.stages.deduplicate import copies as deduplicate
from webscale_rl.stages.deduplicate.copies import DeduplicateSettings
from webscale_rl.stages.deduplicate.near import (
    Work,
    describe_recall,
    entry_partitions,
    fresh_node,
    join_ids,
    near_verdicts,
    send_few,
)

# The maximum of documents of a batch that sends its band keys (100 bytes each) to every worker and has the
# index scanned in place; a larger one has the index shuffled with it. docs/measurements.md says where that
# pays.
PROBE_DOCUMENTS = 200_000
_DOCUMENT = ("document_key", "content_hash", "ingest_commit")


@dataclass(frozen=True)
class _Standing:
    """What there is before the stage's work.

    Attributes:
        rows: `stages.deduplicate.standing`, with is_wanted: not left out by a limit.
        known, wanted: how many documents have a verdict, and how many the stage has to judge.
        written: rows of the verdict table that this rests on.
        orphans: members of clusters whose representative is gone; None where none is gone.
    """

    rows: DataFrame
    known: int
    wanted: int
    written: int
    orphans: DataFrame | None


@dataclass(frozen=True)
class _Judged:
    """What a run finds out.

    Attributes:
        verdicts: the stage's columns less recipe and run.
        near: verdicts on near duplicates with the bridges they found; None for the method exact.
    """

    verdicts: DataFrame
    near: DataFrame | None


def run_deduplicate(ctx: Context, write: Callable[[DataFrame], int]) -> None:
    """Judge the documents without a verdict, and the clusters whose representative is gone.

    Args:
        write: appends verdicts to the stage's table; how many of them are kept.

    Raises:
        ConfigError: a rebuild of a part of the documents.
        WarehouseError: the kept index is another kernel's.
    """
    if ctx.rebuild_duplicates and ctx.limit is not None:
        raise ConfigError("a rebuild judges all documents: leave out --limit or --rebuild-duplicates")
    keeper = _Keeper(ctx)
    work = Work(keep=keeper, note=lambda text: ctx.progress.note(f"deduplicate  {text}"))
    try:
        found = _standing(ctx, work)
        if not found.wanted:
            return
        ctx.warehouse.claim("deduplicated")
        if _written(ctx) != found.written:
            # A run that was taken for dead has written before the claim.
            found = _standing(ctx, work)
        ctx.progress.begin("deduplicate", found.wanted)
        judged = _judge(ctx, found, work)
        reached("duplicates_judged")
        # Before the verdicts: a document that has one is not looked at again.
        if judged.near is not None and work.counted("clusters", "bridges"):
            _write_bridges(ctx, judged.near)
        kept = write(judged.verdicts)
        if ctx.rebuild_duplicates and ctx.warehouse.exists("bridges"):
            # What was apart is one cluster now.
            recipe = ctx.recipes["deduplicate"]
            found_until_now = f"DELETE FROM {{bridges}} WHERE recipe = '{recipe}' AND run <= {ctx.run}"
            ctx.warehouse.execute(found_until_now, bridges="bridges")
        _write_figures(ctx, work)
        ctx.progress.advance(found.wanted, kept)
    finally:
        keeper.close()
        ctx.progress.end()


def _settings(ctx: Context) -> DeduplicateSettings:
    return cast(DeduplicateSettings, ctx.parts.sections["deduplicate"])


def _written(ctx: Context) -> int:
    recipe = ctx.recipes["deduplicate"]
    return ctx.warehouse.read("deduplicated").where(F.col("recipe") == recipe).count()


def _standing(ctx: Context, work: Work) -> _Standing:
    written = _written(ctx)
    flow = ctx.flow
    documents, verdicts = flow.inputs("deduplicate"), flow.stages.get("deduplicate").verdicts(flow)
    rows = deduplicate.standing(documents, verdicts.limit(0) if ctx.rebuild_duplicates else verdicts)
    if ctx.limit is None:
        rows = rows.withColumn("is_wanted", F.col("is_current"))
    else:
        chosen = flow.limited(documents).select("document_key", F.lit(True).alias("is_wanted"))
        rows = rows.join(chosen, "document_key", "left").na.fill(False, ["is_wanted"])
    has_verdict = F.col("status").isNotNull()
    is_current = F.col("is_current")
    seen: dict[str, int] = {}
    rows = work.keep_counting(
        rows,
        "standing",
        seen,
        known=F.count_if(is_current & has_verdict),
        gone=F.count_if(~is_current & (F.col("status") == "kept")),
        fresh=F.count_if(F.col("is_wanted") & ~has_verdict),
    )
    orphans = None
    if seen["gone"]:
        left: dict[str, int] = {}
        orphans = work.keep_counting(deduplicate.orphans(rows), "orphans", left, orphans=F.count(F.lit(1)))
        if not left["orphans"]:
            orphans = None
        seen["fresh"] += left["orphans"]
    return _Standing(rows, seen["known"], seen["fresh"], written, orphans)


def _judge(ctx: Context, found: _Standing, work: Work) -> _Judged:
    settings = _settings(ctx)
    asked = deduplicate.fresh(found.rows).where("is_wanted").select(*_DOCUMENT)
    known = deduplicate.known(found.rows).select(*_DOCUMENT, "status", *deduplicate.VERDICT_COLUMNS)
    changed = None
    if found.orphans is not None:
        orphans = found.orphans.select(*known.columns)
        known = known.join(orphans.select("document_key"), "document_key", "left_anti")
        if settings.chain:
            changed = work.keep(deduplicate.succession(orphans), "heirs")
            known = known.unionByName(changed.select(*known.columns))
        else:
            # Where only direct similarity counts, an orphaned cluster's members are judged again.
            asked = asked.unionByName(found.orphans.where("is_wanted").select(*_DOCUMENT))
        known = work.keep(known, "verdicts")
    rest, old_copies = asked, None
    if found.known:
        with work.step("known copies") as seen:
            copies = deduplicate.copies_of_known(asked, known, found.wanted)
            old_copies = work.keep_counting(copies, "old_copies", seen, rejected=F.count(F.lit(1)))
        if seen["rejected"]:
            rest = rest.join(old_copies.select("document_key"), "document_key", "left_anti")
    linked = deduplicate.link_copies(
        rest.select(F.col("document_key").alias("key"), F.col("ingest_commit").alias("age"), "content_hash"),
        work,
    )
    near = None
    if settings.method == "near":
        leaders = linked.where("linked_key is null").select("key", "age")
        near = _near(ctx, leaders, known if found.known else None, found.known, work)
    verdicts = deduplicate.verdicts_of(linked, near, work, carry=("content_hash", "age"))
    verdicts = verdicts.withColumnsRenamed({"key": "document_key", "age": "ingest_commit"})
    if old_copies is not None:
        verdicts = verdicts.unionByName(old_copies)
    if changed is not None:
        verdicts = verdicts.unionByName(changed.select(*verdicts.columns))
    return _Judged(verdicts, near)


def _near(
    ctx: Context, leaders: DataFrame, known: DataFrame | None, known_count: int, work: Work
) -> DataFrame:
    """Verdicts on the fresh documents that are no exact copies.

    Args:
        leaders: key, age.
        known: verdicts in force, so many; None where there are none.
    """
    how = _settings(ctx).near()
    work.note(describe_recall(how.bands.bands, how.bands.rows))
    seen: dict[str, int] = {}
    ids = work.keep_counting(
        leaders.select(*fresh_node(F.col("key"), F.col("age"))),
        "fresh",
        seen,
        documents=F.count(F.lit(1)),
        oldest=F.min("age"),
    )
    count = seen["documents"]
    index = ctx.warehouse.read("band_index").where(F.col("kernel") == how.bands.identity())
    if known is not None and index.isEmpty():
        raise WarehouseError(
            f"the kept index of {ctx.warehouse.location} was not made by this kernel "
            f"({how.bands.identity()}), and cannot be compared with: run once more with "
            "--rebuild-duplicates, which makes it anew from the texts, or with the package and Python that "
            "made it"
        )
    documents = ctx.warehouse.read("documents").where(F.col("status") == "kept")
    texts = documents.select(F.xxhash64("document_key").alias("id"), "text")
    # Delta opens no file that holds older documents only.
    recent = documents.where(F.col("ingest_commit") >= seen["oldest"])
    recent = recent.select(F.xxhash64("document_key").alias("id"), "text")
    _extend_index(ctx, recent, ids.select("id"), count, index, how.bands, work)
    index = (
        ctx.warehouse.read("band_index").where(F.col("kernel") == how.bands.identity()).select("id", "bands")
    )
    fresh = join_ids(index, ids.select("id"), count, "left_semi")
    partitions = entry_partitions(texts, count, how.bands.bands)
    bands = how.bands.bands

    def nodes(some: DataFrame, number: int) -> DataFrame:
        of_fresh = join_ids(ids, some, number, "left_semi")
        return of_fresh if known is None else of_fresh.unionByName(_known_nodes(known, some, number))

    old, only = None, None
    if known is not None:
        old = join_ids(index, ids.select("id"), count, "left_anti")
        if count <= PROBE_DOCUMENTS:
            keys = fresh.toArrow().column("bands").cast(pa.binary()).chunks
            only = unpack_bands(pa.concat_arrays([*keys, pa.array([], pa.binary())]), bands)
        else:
            partitions = entry_partitions(texts, known_count + count, bands)
    entries = fresh.mapInArrow(regroup_function(bands, partitions, fresh=True), ENTRY_DDL)
    if old is not None:
        probed = regroup_function(bands, partitions, fresh=False, only=only)
        entries = entries.union(old.mapInArrow(probed, ENTRY_DDL))
    return near_verdicts(texts, nodes, entries, partitions, how, work)


def _known_nodes(known: DataFrame, ids: DataFrame, count: int) -> DataFrame:
    """Those documents with a verdict, of so many ids, as nodes (see `near_verdicts`); less exact copies,
    which have no band keys.
    """
    stays = known.where("status = 'kept'")
    marked = known.where("status = 'kept' or method = 'near'").withColumn("id", F.xxhash64("document_key"))
    some = join_ids(marked, ids, count, "left_semi")
    wanted = (
        some.select("representative_key").distinct().withColumnRenamed("representative_key", "document_key")
    )
    ages = stays.join(send_few(wanted, count), "document_key", "left_semi").select(
        F.col("document_key").alias("representative_key"), F.col("ingest_commit").alias("representative_age")
    )
    return some.join(send_few(ages, count), "representative_key").select(
        "id",
        F.col("document_key").alias("key"),
        F.col("ingest_commit").alias("age"),
        F.lit(False).alias("fresh"),
        F.col("cluster_key").alias("cluster"),
        F.col("representative_key").alias("representative"),
        "representative_age",
    )


def _extend_index(
    ctx: Context,
    texts: DataFrame,
    ids: DataFrame,
    count: int,
    index: DataFrame,
    bands: BandSettings,
    work: Work,
) -> None:
    """Append the band keys of so many fresh documents, less those that a killed run has left."""
    ctx.warehouse.claim("band_index")
    with work.step("band keys") as seen:
        there = join_ids(index.select("id"), ids, count, "left_semi")
        missing = work.keep_counting(
            join_ids(ids, there, count, "left_anti"), "missing", seen, documents=F.count(F.lit(1))
        )
        # A rebuild under the same kernel has nothing to add.
        if seen["documents"]:
            rows = join_ids(texts, missing, seen["documents"], "left_semi").mapInArrow(
                bands_function(bands), BAND_DDL
            )
            ctx.warehouse.append(
                "band_index",
                rows.withColumn("kernel", F.lit(bands.identity())).withColumn("run", F.lit(ctx.run)),
            )
    reached("bands_written")


class _Keeper:
    """Computes frames once: on one machine in its executors, which are not lost, else in scratch tables."""

    def __init__(self, ctx: Context) -> None:
        self._warehouse = None if is_local(ctx.spark) else ctx.warehouse
        self._names: list[str] = []

    def __call__(self, frame: DataFrame, name: str) -> DataFrame:
        if self._warehouse is None:
            return frame.localCheckpoint()
        self._names.append(f"deduplicate_{len(self._names)}_{name}")
        return self._warehouse.write_scratch(self._names[-1], frame, [])

    def close(self) -> None:
        if self._warehouse is not None:
            for name in self._names:
                self._warehouse.drop_scratch(name)


def _write_bridges(ctx: Context, near: DataFrame) -> None:
    recipe = ctx.recipes["deduplicate"]
    earlier = ctx.warehouse.read("bridges").where(F.col("recipe") == recipe).select("document_key")
    bridges = (
        near.where(F.col("bridged").isNotNull())
        .select(F.col("key").alias("document_key"), F.col("bridged").alias("clusters"))
        # A run that was killed before its verdicts has left its own.
        .join(earlier, "document_key", "left_anti")
    )
    marked = bridges.withColumn("recipe", F.lit(recipe)).withColumn("run", F.lit(ctx.run))
    ctx.warehouse.append("bridges", marked)


def _write_figures(ctx: Context, work: Work) -> None:
    rows = [
        (
            number,
            str(step["step"]),
            float(step["seconds"]),
            {name: int(value) for name, value in step.items() if isinstance(value, int)},
        )
        for number, step in enumerate(work.figures, 1)
    ]
    frame = ctx.spark.createDataFrame(
        rows, "number int, step string, seconds double, counts map<string,bigint>"
    )
    ctx.warehouse.append(
        "deduplicate_figures",
        frame.withColumn("recipe", F.lit(ctx.recipes["deduplicate"])).withColumn("run", F.lit(ctx.run)),
    )
