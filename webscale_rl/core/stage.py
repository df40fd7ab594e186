"""What a stage is: one object that says everything about itself once, and that everybody else asks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar, cast

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from webscale_rl.core.registry import Registry
from webscale_rl.core.settings import Section
from webscale_rl.core.table import Table
from webscale_rl.errors import ConfigError

SettingsT = TypeVar("SettingsT", bound=Section)
Body = dict[str, Any]


class Subject(Enum):
    """What one row of a stage's input is."""

    DOCUMENT = "document"
    PASSAGE = "passage"
    PAIR = "pair"

    @property
    def key(self) -> str:
        """The column that names such a row, in every table."""
        return f"{self.value}_key"

    @property
    def table(self) -> str:
        """The table in which such rows come into being."""
        return f"{self.value}s"


#: The columns that name a row's subject and what it was made from, finest first.
KEYS = tuple(subject.key for subject in reversed(Subject))


def kept(rows: DataFrame) -> DataFrame:
    """The rows with status kept."""
    return rows.where(F.col("status") == "kept")


class Stage(ABC, Generic[SettingsT]):
    """One step of the chain.

    Bases do the work for nearly all: `runtime.frame_stage.FrameStage` (rows to rows) and
    `runtime.model_stage.ModelStage` (rows, requests to a model, rows). The arguments ``context`` and ``flow``
    are `runtime.context.Context` and `runtime.flow.Flow`, which rest upon this module.

    Attributes:
        name: of the stage, of its section in the configuration, and of its script in jobs/.
        version: goes up when the same input and settings give another outcome.
        after: the stage whose kept rows it reads. Of two stages behind the same one, the one that was
        registered
            later comes first, so a stage can be put between two others.
        summary: what it does, in one line.
        subject: what one row of its input is.
        gives: what one row of its table is, where that is something else.
        table: its verdicts.
        side_tables: whatever else it keeps.
        settings: its section of the configuration.
        carries: columns of its table that the view `lineage` shows, and that the product has if it knows
        them.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    after: ClassVar[str | None]
    summary: ClassVar[str]
    subject: ClassVar[Subject]
    gives: ClassVar[Subject | None] = None
    table: ClassVar[Table]
    side_tables: ClassVar[tuple[Table, ...]] = ()
    settings: type[SettingsT]
    carries: ClassVar[tuple[str, ...]] = ()

    # -- settings and recipe -------------------------------------------------------------------

    def section(self, sections: Mapping[str, Section]) -> SettingsT:
        """Its own settings among those of all stages."""
        return cast(SettingsT, sections[self.name])

    def recipe(self, parts: Any) -> Body:
        """Everything that an outcome depends on, as plain data.

        Args:
            parts: `llm.parts.Parts`: settings, engines, prompts and their data.

        Raises:
            ConfigError: a file that the settings name is missing or wrong.
            EngineUnavailableError: an engine that they name cannot work here.
        """
        return {
            "stage": self.name,
            "version": self.version,
            "settings": self.section(parts.sections).model_dump(mode="json"),
        }

    def recipes(self, parts: Any) -> dict[str, Body]:
        """The recipes' bodies by name: its own, and those of steps within it (``stage.step``), its own
        last.
        """
        return {self.name: self.recipe(parts)}

    def engines(self, sections: Mapping[str, Section]) -> dict[str, str]:
        """The engines that it asks, by the name of the stage or step."""
        return {}

    # -- rows ----------------------------------------------------------------------------------

    def input_keys(self, flow: Any, given: DataFrame) -> DataFrame:
        """The keys of its current input rows.

        Args:
            given: the keys that the stage before keeps: columns of `KEYS`.

        Returns:
            The key of its subject and those of what that was made from, with any columns that make a row.
        """
        return given

    def inputs(self, flow: Any, keys: DataFrame) -> DataFrame:
        """The input rows of some keys with all that it works from."""
        return cast(DataFrame, flow.subjects(self.subject, keys))

    def verdicts(self, flow: Any) -> DataFrame:
        """The rows of its table under the recipe in force, also of subjects that are no longer current."""
        return cast(DataFrame, flow.of_recipe(self.name))

    def rows(self, flow: Any) -> DataFrame:
        """Its rows in force: those of its current input."""
        key = self.subject.key
        return self.verdicts(flow).join(flow.keys(self.name).select(key), key, "left_semi")

    def kept_keys(self, flow: Any) -> DataFrame:
        """The keys of the rows that it keeps, for the stage behind it."""
        given = flow.keys(self.name)
        passed = kept(self.verdicts(flow)).select(self.subject.key)
        columns = [column for column in KEYS if column in given.columns]
        return given.select(*columns).join(passed, self.subject.key, "left_semi")

    # -- work ----------------------------------------------------------------------------------

    @abstractmethod
    def run(self, context: Any, keys: DataFrame | None = None) -> None:
        """Bring its table up to date.

        Args:
            keys: only these rows (a column with the key of its subject); None for all that are pending.
        """

    @abstractmethod
    def plan(self, context: Any, planning: Any) -> Any:
        """What a run would do: a `runtime.planning.PlannedStage`."""

    @abstractmethod
    def apply(self, context: Any, rows: DataFrame) -> DataFrame:
        """The same on a frame of input rows, without a warehouse: rows of its table less recipe and run."""

    def describe(self, row: Mapping[str, Any]) -> list[tuple[str, str | None]]:
        """What `show` says of a row beside its status: names and values."""
        return []

    def brief(self, row: Mapping[str, Any]) -> str:
        """The same in a few words, for lists; empty for nothing."""
        return ""

    @property
    def tables(self) -> tuple[Table, ...]:
        """Every table that it writes."""
        return (self.table, *self.side_tables)

    @property
    def output(self) -> Subject:
        """What one row of its table is."""
        return self.gives or self.subject


class Chain(Registry[Stage[Any]]):
    """The stages in the order in which they work."""

    def __init__(self) -> None:
        super().__init__("stage")

    def register(self, thing: Stage[Any]) -> Stage[Any]:
        """Add a stage directly behind the one that it names in `after`. The same one again changes nothing.

        Raises:
            ConfigError: the name, a table or a carried column is another stage's, or no stage has the name
                that it is to stand behind.
        """
        if self._found.get(thing.name) is thing:
            return thing
        if thing.after is not None:
            self.get(thing.after)
        if clash := {table.name for table in thing.tables} & set(self.tables):
            raise ConfigError(f"stage {thing.name!r}: there is a table {min(clash)!r} already")
        if clash := set(thing.carries) & {name for stage in self for name in stage.carries}:
            raise ConfigError(f"stage {thing.name!r}: another stage carries {min(clash)!r} already")
        super().register(thing)
        others = [stage for stage in self if stage is not thing]
        at = 1 + [stage.name for stage in others].index(thing.after) if thing.after is not None else 0
        others.insert(at, thing)
        self._found = {stage.name: stage for stage in others}
        return thing

    def before(self, name: str) -> Stage[Any] | None:
        """The stage whose kept rows a stage reads; None for the first."""
        at = self.names.index(self.get(name).name)
        return tuple(self)[at - 1] if at else None

    @property
    def last(self) -> Stage[Any]:
        """The stage whose kept rows are the product."""
        return tuple(self)[-1]

    def source_of(self, subject: Subject) -> Stage[Any]:
        """The stage in whose table the rows of a subject come into being."""
        return next(stage for stage in self if stage.output is subject)

    def of(self, *subjects: Subject) -> Iterator[Stage[Any]]:
        """The stages whose input rows are such subjects."""
        return (stage for stage in self if stage.subject in subjects)

    def chosen(self, names: Sequence[str]) -> list[Stage[Any]]:
        """The stages of these names, in the chain's order.

        Raises:
            ConfigError: a name is no stage's.
        """
        wanted = {self.get(name).name for name in names}
        return [stage for stage in self if stage.name in wanted]

    @property
    def tables(self) -> dict[str, Table]:
        """The tables of all stages by name."""
        return {table.name: table for stage in self for table in stage.tables}
