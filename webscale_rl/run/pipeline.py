"""The pipeline: the stages in order over one warehouse, for the command line, jobs and notebooks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

import webscale_rl
from webscale_rl.config.load import Config, load
from webscale_rl.core.files import conf_folder, find_file
from webscale_rl.core.fingerprint import canonical_json, recipe_hash
from webscale_rl.core.stage import Subject
from webscale_rl.errors import BudgetReachedError, ConfigError, InputError
from webscale_rl.exports.registry import EXPORTERS
from webscale_rl.llm.engines import Engines
from webscale_rl.llm.function import register_complete
from webscale_rl.llm.parts import Parts
from webscale_rl.llm.prompts import load_demonstrations, load_domains
from webscale_rl.report import views
from webscale_rl.report.status import StageStatus, stage_statuses
from webscale_rl.run import recipes
from webscale_rl.run.known_models import KnownModels
from webscale_rl.run.runner import publish, run_stages
from webscale_rl.runtime.budget import Budget
from webscale_rl.runtime.context import Context
from webscale_rl.runtime.flow import Flow
from webscale_rl.runtime.planning import PlannedStage, Planning
from webscale_rl.runtime.progress import LoggedProgress, Progress
from webscale_rl.runtime.result import RunResult
from webscale_rl.spark.errors import SPARK_ERRORS, first_line
from webscale_rl.spark.session import build_session, is_local
from webscale_rl.stages.ingest import sources as ingest
from webscale_rl.stages.publish import QA_PAIRS
from webscale_rl.stages.registry import STAGES, all_tables
from webscale_rl.storage.lease import Lease, holder
from webscale_rl.storage.migrations import migrate
from webscale_rl.storage.tables import RUNS
from webscale_rl.storage.warehouse import Warehouse

_CALLS_MODEL = re.compile(r"\bcomplete\s*\(", re.IGNORECASE)


@dataclass
class Pipeline:
    """Documents in, checked question-answer pairs out, in Delta tables.

    Example::

        from webscale_rl import Pipeline

        pipeline = Pipeline(warehouse="./warehouse", spark=spark)
        pipeline.run()
        pipeline.sql("SELECT question, answer FROM qa_pairs").show()

    Args:
        config: settings; a path, a mapping of the file's shape, or None for the defaults.
        warehouse: folder or catalog schema; overrides the configuration's.
        spark: the session to use; None takes the active one or starts one.
        progress: an object that is notified of progress; silent by default.
    """

    config: Config | str | Path | Mapping[str, Any] | None = None
    warehouse: str | None = None
    spark: SparkSession | None = None
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        if isinstance(self.config, str | Path):
            self.config = load(self.config)
        elif not isinstance(self.config, Config):
            self.config = load(values=self.config)
        self.settings: Config = self.config
        domains = load_domains(find_file(self.settings.domains, "", ".yml"))
        demonstrations = load_demonstrations(
            _folder(self.settings.demonstrations), [domain.id for domain in domains]
        )
        self._models = KnownModels(self.open)
        self.engines = Engines(self.settings.engines, self._models.identity)
        self.parts = Parts(self.settings.sections, self.engines, domains, demonstrations)

    # -- opening -------------------------------------------------------------------------------

    def session(self) -> SparkSession:
        """The Spark session, started at its first use."""
        if self.spark is None:
            spark = self.settings.spark
            self.spark = build_session(master=spark.master, conf=spark.conf, jars=spark.jars)
        return self.spark

    def open(self) -> Warehouse:
        """The warehouse, for reading; one of an older schema version is not changed.

        Raises:
            WarehouseError: a newer version of the package wrote it.
        """
        warehouse = Warehouse(self.session(), self.warehouse or self.settings.warehouse, all_tables())
        if warehouse.exists("lease"):
            warehouse.version = warehouse.schema_version("lease")
        return warehouse

    def bodies(self, stages: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The bodies of the stages' recipes; finds what is wrong with files and engines."""
        return recipes.bodies(self.parts, STAGES.chosen(stages))

    def _context(self, warehouse: Warehouse, bodies: dict[str, dict[str, Any]], **more: Any) -> Context:
        """The context with the recipes in force: those of ``bodies``, else the warehouse's active
        ones.
        """
        made = {name: recipe_hash(body) for name, body in bodies.items()}
        return Context(
            spark=self.session(),
            warehouse=warehouse,
            stages=STAGES,
            parts=self.parts,
            progress=LoggedProgress(self.progress),
            recipes=views.active_recipes(warehouse) | made,
            bodies=bodies,
            **more,
        )

    # -- working -------------------------------------------------------------------------------

    def run(
        self,
        stages: Sequence[str] | None = None,
        limit: int | None = None,
        budget: Budget | None = None,
        inputs: DataFrame | None = None,
        take_over: bool = False,
        rebuild_duplicates: bool = False,
    ) -> RunResult:
        """Bring the stages up to date, in order, and publish the accepted pairs.

        Args:
            stages: names of stages; None for all.
            limit: work only on this many documents, those with the smallest keys.
            budget: limits on requests, tokens and cost.
            inputs: a DataFrame of documents instead of the configured sources: text, and id, url, title,
                licence if it has them.
            take_over: take the warehouse even if its holder seems alive.
            rebuild_duplicates: deduplicate judges all documents again as if they had arrived at once: late
                bridges are applied, and an index of another kernel is rebuilt.

        Raises:
            WebscaleRLError: see webscale_rl.errors; nothing that was finished is lost.
        """
        chosen = STAGES.chosen(STAGES.names if stages is None else stages)
        # Everything that can be wrong is found before the warehouse is touched.
        bodies = recipes.bodies(self.parts, chosen)
        sources = self._sources(inputs) if STAGES.source_of(Subject.DOCUMENT) in chosen else None
        warehouse = self.open()
        warehouse.prepare()
        lease = Lease.take(warehouse, force=take_over)
        outcome, message, pairs = "failed", "", None
        context = None
        try:
            for migration in migrate(warehouse):
                note = f"the warehouse is now of schema version {migration.to}: {migration.meaning}"
                LoggedProgress(self.progress).note(note)
            context = self._context(
                warehouse,
                bodies,
                limit=limit,
                sources=sources,
                budget=budget or Budget(),
                rebuild_duplicates=rebuild_duplicates,
                # On one machine planning takes longer than the work; on a cluster what is kept in executors
                # could be lost with one of them.
                persist=is_local(self.session()),
            )
            _record_start(context, self.settings, lease)
            self._models.record(context)
            try:
                # All at once: where the run stops early, what it did not get to is pending.
                recipes.activate(context, list(context.bodies))
                run_stages(context, chosen)
                outcome = "done"
            except BudgetReachedError as error:
                outcome, message = "stopped", str(error)
            if STAGES.last in chosen:
                pairs = publish(context)
            lease.check()
        except KeyboardInterrupt:
            outcome, message = "interrupted", "interrupted by the user"
            raise
        except Exception as error:
            outcome, message = "failed", first_line(error)
            raise
        finally:
            if context is not None:
                _record_end(context, lease, outcome, message)
            lease.release()
        spent = context.budget
        return RunResult(lease.epoch, outcome, message, spent.requests, spent.tokens, spent.cost, pairs)

    def _sources(self, inputs: DataFrame | None) -> DataFrame | None:
        spark = self.session()
        if inputs is not None:
            source = ingest.SourceSettings(name="frame", paths=["frame"], format="delta")
            return ingest.from_frame(inputs, source)
        union = None
        names = [source.name for source in self.settings.sources]
        if len(set(names)) != len(names):
            raise ConfigError("sources: two have the same name")
        for source in self.settings.sources:
            for path in source.paths:
                _check_exists(source.name, path)
            rows = ingest.read_source(spark, source)
            union = rows if union is None else union.unionByName(rows)
        return union

    def plan(
        self,
        stages: Sequence[str] | None = None,
        limit: int | None = None,
        inputs: DataFrame | None = None,
    ) -> list[PlannedStage]:
        """What a run would do and cost; changes nothing (`runtime.planning`)."""
        chosen = STAGES.chosen(STAGES.names if stages is None else stages)
        bodies = recipes.bodies(self.parts, chosen)
        sources = self._sources(inputs) if STAGES.source_of(Subject.DOCUMENT) in chosen else None
        context = self._context(self.open(), bodies, limit=limit, sources=sources)
        planning = Planning(context)
        return [planning.of(stage) for stage in chosen]

    def apply(self, stage: str, rows: DataFrame) -> DataFrame:
        """Apply one stage to a DataFrame of its input rows, lazily and without a warehouse.

        Nothing is kept: for a stage that asks a model, each action on the result asks it again.

        Args:
            rows: the stage's input columns (docs/data-model.md): for filter document_key, title, text;
                for screen and identify passage_key, document_key, title, text; for generate also
                domain, persona, interest, ordinal, pair_key; for check question, answer, answer_type,
                quotation, passage, title, ...

        Raises:
            ConfigError: no such stage, or one that needs a warehouse (ingest).
        """
        found = STAGES.get(stage)
        warehouse = Warehouse(self.session(), "/nonexistent", all_tables())
        context = self._context(warehouse, recipes.bodies(self.parts, [found]))
        return found.apply(context, rows)

    # -- looking -------------------------------------------------------------------------------

    def status(self) -> list[StageStatus]:
        """The funnel, with each stage's requests and tokens."""
        warehouse = self.open()
        flow = Flow(STAGES, warehouse.read, views.active_recipes(warehouse), persist=True)
        return stage_statuses(warehouse, flow)

    def sql(self, query: str, engine: str | None = None) -> DataFrame:
        """Run a SQL query over the tables and views of the warehouse, by their names.

        A query may call a model: `complete(prompt[, schema])`, see `register_complete`.

        Args:
            engine: the engine of `complete`; None for that of generate.
        """
        warehouse = self.open()
        views.register(warehouse, STAGES, query)
        if _CALLS_MODEL.search(query):
            self.register_complete(engine)
        return self.session().sql(query)

    def export(self, to: str, folder: str) -> int:
        """Write the accepted pairs in a trainer's format; returns their number.

        Args:
            to: name of an exporter.
            folder: where the files go; it must not exist yet.

        Raises:
            ConfigError: no exporter has that name.
            InputError: there are no accepted pairs, or the folder exists already or cannot be written.
        """
        exporter = EXPORTERS.get(to)
        warehouse = self.open()
        if not warehouse.exists(QA_PAIRS.name):
            raise InputError(f"no accepted pairs in {warehouse.location}: run the pipeline first")
        rows = exporter.rows(warehouse.read(QA_PAIRS.name))
        seen = Observation()
        counted = rows.observe(seen, F.count("*").alias("rows"))
        try:
            counted.write.format(exporter.form).mode("error").save(folder)
        except SPARK_ERRORS as error:
            raise InputError(f"cannot export to {folder}: {first_line(error)}") from error
        return int(seen.get["rows"])

    def register_complete(self, engine: str | None = None, name: str = "complete", **sampling: Any) -> None:
        """Register the SQL function `complete(prompt[, schema])` in the session, for queries over any table.

        It returns a struct (text, error, finish_reason, prompt_tokens, cached_tokens, completion_tokens).
        Results are not kept: every evaluation calls the model.

        Args:
            engine: an engine of the configuration; None for that of generate.
            sampling: max_tokens, temperature, seed.

        Raises:
            ConfigError: no engine has that name.
            EngineUnavailableError: the engine cannot be used here.
        """
        found = self.engines.get(engine or self._default_engine())
        register_complete(self.session(), found, name, **sampling)

    def _default_engine(self) -> str:
        writer = STAGES.source_of(Subject.PAIR)
        return writer.engines(self.parts.sections)[writer.name]

    def holder(self) -> str | None:
        """Who holds the warehouse, in words; None when it is free."""
        return holder(self.open())


def _folder(name: str) -> Path:
    for candidate in (Path(name).expanduser(), conf_folder() / name):
        if candidate.is_dir():
            return candidate
    raise ConfigError(f"no such folder: {name}")


def _check_exists(source: str, path: str) -> None:
    # Globs, remote paths and table names are Spark's to judge.
    if "://" in path or any(c in path for c in "*?[{") or not ("/" in path or "." in path):
        return
    if path.count(".") in (1, 2) and "/" not in path and not Path(path).suffix[1:].islower():
        return
    if not Path(path).expanduser().exists():
        raise InputError(f"source {source}: no such file or folder: {path}")


def _record_start(context: Context, settings: Config, lease: Lease) -> None:
    row = {
        "run": lease.epoch,
        "run_id": lease.run_id,
        "version": webscale_rl.__version__,
        "outcome": "running",
        "settings": canonical_json(settings.model_dump(mode="json")),
    }
    frame = context.spark.createDataFrame([tuple(row.get(name) for name in RUNS.column_names)], RUNS.schema)
    context.warehouse.append("runs", frame.withColumn("started_at", F.current_timestamp()))


def _record_end(context: Context, lease: Lease, outcome: str, message: str) -> None:
    spent = context.budget
    quoted = message.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ")[:2000]
    try:
        lease.check()
        context.warehouse.execute(
            f"UPDATE {{runs}} SET ended_at = current_timestamp(), outcome = '{outcome}', "
            f"message = '{quoted}', requests = {spent.requests}, tokens = {spent.tokens}, "
            f"cost = {spent.cost} WHERE run = {lease.epoch}".replace("{", "{{")
            .replace("}", "}}")
            .replace("{{runs}}", "{runs}"),
            runs="runs",
        )
    except Exception as error:  # noqa: BLE001 - the run's own error must not be hidden by this one
        context.progress.warn(f"the end of the run could not be recorded: {first_line(error)}")
