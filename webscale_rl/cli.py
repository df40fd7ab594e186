"""The command `webscale-rl`."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import webscale_rl
from webscale_rl.distill.options import add_distill_options
from webscale_rl.errors import UserError, WebscaleRLError
from webscale_rl.flow import STAGES

EXIT_DONE, EXIT_FAILED, EXIT_USER_ERROR, EXIT_STOPPED, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

STAGE_HELP = "ingest, filter, deduplicate, segment, screen, identify, generate, check, decontaminate"

EPILOG = """\
examples:
  webscale-rl init ./mine                               a commented configuration to start from
  webscale-rl plan --config mine/config.yml             what a run would do and cost
  webscale-rl run --config mine/config.yml              documents in, checked pairs out
  webscale-rl run --input docs/*.parquet --format parquet --warehouse ./wh --limit 50
  webscale-rl run --set generate.sampling.temperature=0.2 --from generate
  webscale-rl sql "SELECT question, answer FROM qa_pairs LIMIT 10"
  webscale-rl show 3f2a                                 one pair's or document's whole life
  webscale-rl distill judge --base ./small-model --out ./judge-adapter    a small judge from a large one

exit codes: 0 done, 1 failed, 2 something for you to mend, 3 stopped at a limit, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    _print_anything()
    parser = build_parser()
    options = parser.parse_args(arguments)
    return guarded(lambda: int(options.command(options)), debug=options.debug)


def _print_anything() -> None:
    """What the terminal's encoding lacks is printed as an escape, not as a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def job_main(stages: Sequence[str] = STAGES, arguments: Sequence[str] | None = None) -> int:
    """A script in jobs/: some stages with the options of `webscale-rl run`; returns the exit code."""
    parser = argparse.ArgumentParser(description=f"Run {', '.join(stages)}.")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    add_common(parser)
    add_input_options(parser)
    add_limit_options(parser)
    _print_anything()
    options = parser.parse_args(arguments)
    return guarded(lambda: run_command(options, stages), debug=options.debug)


def guarded(action: Callable[[], int], debug: bool = False) -> int:
    """Run an action; its errors become one line on standard error and an exit code."""
    from webscale_rl.sparkerrors import LOST_JVM_ERRORS, SPARK_ERRORS, first_line

    if not debug:
        # Py4J logs a traceback of its own for a call that Ctrl-C has cut off.
        logging.getLogger().addHandler(logging.NullHandler())
        _mute_query_logs()
    try:
        return action()
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept, run again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing to say to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except UserError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except WebscaleRLError as error:
        if debug:
            raise
        print(f"failed: {error}", file=sys.stderr)
        return EXIT_FAILED
    except LOST_JVM_ERRORS as error:
        if debug:
            raise
        print(
            f"failed: Spark's Java process has gone (killed, or out of memory; {first_line(error)}): what "
            "was finished is kept, run again to go on",
            file=sys.stderr,
        )
        return EXIT_FAILED
    except SPARK_ERRORS as error:
        if debug:
            raise
        line = first_line(error)
        if "DATA_SOURCE_NOT_FOUND" in line and "delta" in line:
            print(
                "error: Spark has no Delta: start it with --packages (or with Delta's jars), see the "
                "README's section on clusters",
                file=sys.stderr,
            )
            return EXIT_USER_ERROR
        print(f"failed: {line} (--debug shows everything)", file=sys.stderr)
        return EXIT_FAILED


def _mute_query_logs() -> None:
    """Keep Spark from printing the Java stack of a wrong query beside our one line."""
    from pyspark.logger import PySparkLogger

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).disabled = True


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="webscale-rl",
        description="Turn documents into verifiable question-answer pairs for reinforcement learning.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=webscale_rl.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, function: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.set_defaults(command=function)
        sub.add_argument("--debug", action="store_true", help="show tracebacks")
        return sub

    run = command("run", _run, "bring the stages up to date, in order")
    add_common(run)
    add_input_options(run)
    add_stage_options(run)
    add_limit_options(run)
    plan = command("plan", _plan, "what a run would do, touching nothing")
    add_common(plan)
    add_input_options(plan)
    add_stage_options(plan)
    plan.add_argument("--limit", type=_positive, metavar="N", help="only the N smallest document keys")
    plan.add_argument("--json", action="store_true", help="as JSON")
    status = command("status", _status, "the funnel and the tokens as they stand")
    add_common(status)
    status.add_argument("--json", action="store_true", help="as JSON")
    sql = command("sql", _sql, "query the tables and views by their bare names")
    add_common(sql)
    sql.add_argument("query", help='for example "SELECT * FROM funnel"')
    sql.add_argument("--format", choices=("table", "json", "csv"), default="table")
    sql.add_argument(
        "--engine", metavar="NAME", help="what answers complete(prompt[, schema]); default: generate's engine"
    )
    show = command("show", _show, "one pair's or document's whole life")
    add_common(show)
    show.add_argument("key", help="key of a pair, passage or document, or its beginning")
    doctor = command("doctor", _doctor, "whether everything that a run needs is there")
    add_common(doctor)
    distill = command("distill", _distill, "hand a step to a small model: train an adapter on its replies")
    add_common(distill)
    add_distill_options(distill, _positive, _amount)
    init = command("init", _init, "write a commented configuration to start from")
    init.add_argument("folder", type=Path, help="folder to write it into")
    return parser


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options of every command that opens a warehouse."""
    parser.add_argument("--config", type=Path, help="your YAML file; the rest has defaults")
    parser.add_argument(
        "--warehouse", metavar="DIR", help="folder of the tables, or a catalog schema (main.rl)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="SECTION.KEY=VALUE",
        help="override one setting (may be repeated)",
    )


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """Options that name documents on the command line."""
    parser.add_argument(
        "--input", nargs="+", metavar="PATH", help="documents, in place of the configured sources"
    )
    parser.add_argument(
        "--format",
        choices=("parquet", "json", "csv", "text", "lines", "delta"),
        help="format of --input; guessed from the ending when left out",
    )
    parser.add_argument("--text-column", metavar="NAME", help="column of --input with the text")
    parser.add_argument(
        "--source",
        default="input",
        metavar="NAME",
        help="source name of --input (part of every key)",
    )
    parser.add_argument("--licence", default="unknown", help="licence of --input where rows name none")


def add_stage_options(parser: argparse.ArgumentParser) -> None:
    """Options that choose stages and documents."""
    parser.add_argument("--stage", action="append", metavar="NAME", help=f"only this: {STAGE_HELP}")
    parser.add_argument("--from", dest="first", metavar="NAME", help="from this stage on")
    parser.add_argument("--until", dest="last", metavar="NAME", help="up to and with this stage")


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Options that bound a run, and what it prints."""
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the N smallest document keys")
    parser.add_argument("--max-requests", type=_positive, metavar="N", help="stop after N requests")
    parser.add_argument("--max-tokens", type=_positive, metavar="N", help="stop before N tokens")
    parser.add_argument("--max-cost", type=_amount, metavar="X", help="stop before this cost (needs prices)")
    parser.add_argument("--take-over", action="store_true", help="take the warehouse from a run that is dead")
    parser.add_argument(
        "--rebuild-duplicates",
        action="store_true",
        help="judge all documents again in deduplicate, as if they came in at once",
    )
    parser.add_argument("--dry-run", action="store_true", help="the same as plan")
    parser.add_argument("--samples", type=_positive, default=0, metavar="N", help="print N accepted pairs")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number over 0, not {text!r}")
    return value


def make_pipeline(options: argparse.Namespace) -> webscale_rl.Pipeline:
    """The pipeline that the options describe.

    Raises:
        ConfigError: a configuration file or override is wrong.
    """
    from webscale_rl.config import load
    from webscale_rl.progress import Progress, TextProgress
    from webscale_rl.stages.ingest import guess_format

    values = {}
    if getattr(options, "input", None):
        source = {
            "name": options.source,
            "paths": options.input,
            "format": options.format or guess_format(options.input[0]),
            "licence": options.licence,
        }
        if options.text_column:
            source["columns"] = {"text": options.text_column}
        values["sources"] = [source]
    if options.warehouse:
        values["warehouse"] = options.warehouse
    config = load(options.config, options.overrides, values)
    progress = Progress() if getattr(options, "quiet", False) else TextProgress()
    return webscale_rl.Pipeline(config=config, progress=progress)


def chosen_stages(options: argparse.Namespace) -> list[str]:
    """The stages that --stage, --from and --until leave.

    Raises:
        ConfigError: an unknown stage, or none left.
    """
    from webscale_rl.errors import ConfigError

    for name in [*(options.stage or []), options.first, options.last]:
        if name is not None and name not in STAGES:
            raise ConfigError(f"no stage {name!r}: known are {', '.join(STAGES)}")
    first = STAGES.index(options.first) if options.first else 0
    last = STAGES.index(options.last) if options.last else len(STAGES) - 1
    chosen = [stage for stage in STAGES[first : last + 1] if not options.stage or stage in options.stage]
    if not chosen:
        raise ConfigError("no stage is left by --stage, --from and --until")
    return chosen


def _run(options: argparse.Namespace) -> int:
    return run_command(options, chosen_stages(options))


def run_command(options: argparse.Namespace, stages: Sequence[str]) -> int:
    """Run some stages and print the funnel; shared with the scripts in jobs/."""
    from webscale_rl.budget import Budget
    from webscale_rl.errors import ConfigError
    from webscale_rl.report import text

    if options.dry_run:
        return _print_plan(options, stages, as_json=False)
    pipeline = make_pipeline(options)
    if "ingest" in stages and not pipeline.settings.sources and not _has_documents(pipeline):
        raise ConfigError(
            "no documents: name some with --input PATH --format FORMAT, or under sources: in the "
            "configuration"
        )
    budget = Budget(options.max_requests, options.max_tokens, options.max_cost)
    result = pipeline.run(
        stages=stages,
        limit=options.limit,
        budget=budget,
        take_over=options.take_over,
        rebuild_duplicates=options.rebuild_duplicates,
    )
    print(text.funnel(pipeline.status()))
    print(text.run_line(result))
    if options.samples:
        print(text.samples(pipeline, options.samples))
    if result.outcome == "stopped":
        print(result.message, file=sys.stderr)
        return EXIT_STOPPED
    return EXIT_DONE


def _has_documents(pipeline: webscale_rl.Pipeline) -> bool:
    return pipeline.open().exists("documents")


def _plan(options: argparse.Namespace) -> int:
    return _print_plan(options, chosen_stages(options), options.json)


def _print_plan(options: argparse.Namespace, stages: Sequence[str], as_json: bool) -> int:
    from webscale_rl.report import text

    pipeline = make_pipeline(options)
    planned = pipeline.plan(stages=stages, limit=options.limit)
    print(text.plan_json(planned) if as_json else text.plan(planned))
    return EXIT_DONE


def _status(options: argparse.Namespace) -> int:
    from webscale_rl.report import text

    pipeline = _existing(make_pipeline(options))
    statuses, held = pipeline.status(), pipeline.holder()
    print(text.status_json(statuses, held) if options.json else text.status(statuses, held))
    return EXIT_DONE


def _existing(pipeline: webscale_rl.Pipeline) -> webscale_rl.Pipeline:
    from webscale_rl.errors import WarehouseError

    warehouse = pipeline.open()
    if not warehouse.exists("lease"):
        raise WarehouseError(
            f"no warehouse in {warehouse.location}: name it with --warehouse, or make one with run"
        )
    return pipeline


def _sql(options: argparse.Namespace) -> int:
    from pyspark.errors import AnalysisException, ParseException

    from webscale_rl.report import text
    from webscale_rl.sparkerrors import first_line

    pipeline = _existing(make_pipeline(options))
    try:
        frame = pipeline.sql(options.query, options.engine)
        output = text.frame(frame, options.format)
    except (AnalysisException, ParseException) as error:
        raise UserError(f"the query cannot be run: {first_line(error)}") from error
    print(output)
    return EXIT_DONE


def _show(options: argparse.Namespace) -> int:
    from webscale_rl.report.show import show

    print(show(_existing(make_pipeline(options)), options.key))
    return EXIT_DONE


def _doctor(options: argparse.Namespace) -> int:
    from webscale_rl.doctor import examine

    findings = examine(options.config, options.warehouse, options.overrides)
    for finding in findings:
        print(finding)
    return EXIT_DONE if all(finding.good for finding in findings) else EXIT_USER_ERROR


def _distill(options: argparse.Namespace) -> int:
    from webscale_rl.distill.command import distill_command

    print(distill_command(options, lambda: _existing(make_pipeline(options))))
    return EXIT_DONE


def _init(options: argparse.Namespace) -> int:
    from webscale_rl.initialise import write_configuration

    for path in write_configuration(options.folder):
        print(path)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
