"""What `webscale-rl distill` does with its options."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from webscale_rl.distill.examples import Example, read_jsonl
from webscale_rl.distill.tables import steps
from webscale_rl.errors import ConfigError
from webscale_rl.llm.engines import Engine
from webscale_rl.stages.registry import STAGES

if TYPE_CHECKING:
    from webscale_rl import Pipeline
    from webscale_rl.distill.tables import Teacher


def distill_command(options: argparse.Namespace, pipeline: Callable[[], Pipeline]) -> str:
    """Gather examples, train, compare; returns what to print.

    Args:
        pipeline: gives the warehouse's pipeline, where a step is named.

    Raises:
        ConfigError: wrong options, no examples, or a package is missing.
    """
    from webscale_rl.distill.card import comparison
    from webscale_rl.distill.distilling import distill
    from webscale_rl.distill.training import Hyperparameters, require

    require()
    if not 0 <= options.held_out < 1:
        raise ConfigError("--held-out must be at least 0 and below 1")
    if options.step is None and not options.examples:
        raise ConfigError("name a step of the warehouse, or --examples")
    base = _base(options.base)
    end = options.end.encode().decode("unicode_escape") if options.end else None
    hyperparameters = Hyperparameters(
        rank=options.rank,
        alpha=2 * options.rank,
        learning_rate=options.learning_rate,
        epochs=options.epochs,
        max_tokens=options.max_tokens,
        end=end,
        seed=options.seed,
        max_minutes=options.max_minutes,
    )
    examples: list[Example] = [example for path in options.examples for example in read_jsonl(path)]
    about = {"data": ", ".join(path.name for path in options.examples)} if options.examples else {}
    schema, each = None, 0.0
    told: list[str] = []
    if options.step is not None:
        from webscale_rl.distill.tables import teacher

        opened = pipeline()
        taught = teacher(opened.open(), options.step)
        taught.rows.persist()  # Collected and counted.
        schema = taught.schema
        found = _collected(taught, options.most)
        examples += _rendered(found, options.step, base)
        about |= {"step": options.step, "teacher": f"{taught.engine['engine']} {taught.engine['model']}"}
        if found:
            each = replies_a_document(taught)
            told.append(teacher_cost(_engine(opened, options.step), each, found))
    done = distill(
        examples,
        base,
        options.out,
        hyperparameters,
        schema,
        options.held_out,
        options.compare,
        about,
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    if each and done.tuned is not None:
        hours = done.tuned.seconds * each / 3.6
        told.append(
            f"the tuned model takes {hours:.1f} hours for them on this machine, one request at a time"
        )
    lines = [comparison(done), *told, f"adapter: {options.out}" + (f", {done.gguf}" if done.gguf else "")]
    return "\n".join(line for line in lines if line)


def _base(name: str) -> str:
    if name != "packaged":
        return name
    from udfs.engines.errors import EngineError
    from udfs.engines.llamacpp.files import packaged_model

    try:
        return packaged_model()
    except EngineError as error:
        raise ConfigError(str(error)) from error


def _collected(taught: Teacher, maximum: int) -> list[Any]:
    """Replies up to a maximum, the same ones each time."""
    rows = taught.rows.orderBy(F.sha2("request", 256)).limit(maximum)
    return list(rows.toLocalIterator())


def _rendered(rows: Iterable[Any], step: str, base: str) -> list[Example]:
    """Examples as the base's chat template renders them."""
    from webscale_rl.distill.training import load_tokenizer

    tokenizer = load_tokenizer(base)
    found = []
    for row in rows:
        request = json.loads(row["request"])
        if request["prompt_format"] == "raw":
            prompt = "\n\n".join(message["content"] for message in request["messages"])
        else:
            prompt = tokenizer.apply_chat_template(
                request["messages"], tokenize=False, add_generation_prompt=True
            )
        found.append(Example(prompt, row["text"], row["document_key"], step, tuple(request["choices"] or ())))
    return found


def _engine(pipeline: Pipeline, step: str) -> Engine:
    """The engine that a step is asked of, with its prices; it need not run here."""
    step = steps()[step]
    name = STAGES.get(step.partition(".")[0]).engines(pipeline.parts.sections)[step]
    return Engine(name, pipeline.engines.settings(name), {})


def replies_a_document(taught: Teacher) -> float:
    """How many replies a document has, of those that have any."""
    counted = taught.rows.agg(F.count("*") / F.count_distinct("document_key"))
    return float(counted.collect()[0][0])


def teacher_cost(engine: Engine, each: float, rows: Sequence[Any]) -> str:
    """What the teacher's replies take for a thousand documents; in money where its engine has prices.

    Args:
        each: replies a document.
        rows: some of the teacher's rows.
    """
    sums = [sum(row[f"{kind}_tokens"] or 0 for row in rows) for kind in ("prompt", "cached", "completion")]
    scale = 1000 * each / len(rows)
    cost = engine.cost(*sums)
    priced = "" if cost is None else f", {scale * cost:.2f} in its prices"
    return (
        f"1,000 documents with {each:.1f} such replies each take the teacher "
        f"{scale * (sums[0] - sums[1] + sums[2]):,.0f} tokens{priced}"
    )
