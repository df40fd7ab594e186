"""The command `webscale-rl`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import webscale_rl
from webscale_rl.cli.errors import (
    EXIT_DONE,
    EXIT_STOPPED,
    EXIT_USER_ERROR,
    guarded,
)
from webscale_rl.cli.options import (
    _amount,
    _positive,
    add_common,
    add_input_options,
    add_limit_options,
    add_stage_options,
    chosen_stages,
    make_pipeline,
)
from webscale_rl.core.stage import Subject
from webscale_rl.distill.options import add_distill_options
from webscale_rl.distill.tables import steps
from webscale_rl.errors import UserError
from webscale_rl.exports.registry import EXPORTERS
from webscale_rl.stages.registry import STAGES

EPILOG = """\
examples:
  webscale-rl init ./mine                               a commented configuration to start from
  webscale-rl plan --config mine/config.yml             what a run would do and cost
  webscale-rl run --config mine/config.yml              documents in, checked pairs out
  webscale-rl run --input corpus/*.parquet --format parquet --warehouse ./wh --limit 50
  webscale-rl run --set generate.sampling.temperature=0.2 --from generate
  webscale-rl sql "SELECT question, answer FROM qa_pairs LIMIT 10"
  webscale-rl show 3f2a                                 the history of one pair or document
  webscale-rl distill judge --base ./small-model --out ./judge-adapter    a small judge from a large one

exit codes: 0 done, 1 failed, 2 something for you to fix, 3 stopped at a limit, 130 interrupted
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


def job_parser(stage: str | None = None) -> argparse.ArgumentParser:
    """The parser of a script in jobs/: of one stage, or of the whole chain."""
    about = STAGES.get(stage).summary if stage else "bring the stages up to date, in order"
    parser = argparse.ArgumentParser(description=f"{about[0].upper()}{about[1:]}.")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    add_common(parser)
    add_input_options(parser)
    if stage is None:
        add_stage_options(parser)
    add_limit_options(parser)
    return parser


def job_main(stage: str | None = None, arguments: Sequence[str] | None = None) -> int:
    """A script in jobs/, with the options of `webscale-rl run`; returns the exit code."""
    _print_anything()
    options = job_parser(stage).parse_args(arguments)
    return guarded(lambda: run_command(options, [stage] if stage else None), debug=options.debug)


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
    plan = command("plan", _plan, "show what a run would do and cost; change nothing")
    add_common(plan)
    add_input_options(plan)
    add_stage_options(plan)
    plan.add_argument(
        "--limit", type=_positive, metavar="N", help="only the N documents with the smallest keys"
    )
    plan.add_argument("--json", action="store_true", help="print JSON")
    status = command("status", _status, "show the funnel, the tokens, and who holds the warehouse")
    add_common(status)
    status.add_argument("--json", action="store_true", help="print JSON")
    sql = command("sql", _sql, "run a SQL query over the tables and views")
    add_common(sql)
    sql.add_argument("query", help='for example "SELECT * FROM funnel"')
    sql.add_argument("--format", choices=("table", "json", "csv"), default="table", help="of the result")
    sql.add_argument(
        "--engine",
        metavar="NAME",
        help=f"engine of complete(prompt[, schema]); default: that of {STAGES.source_of(Subject.PAIR).name}",
    )
    show = command("show", _show, "show the history of one pair, passage or document")
    add_common(show)
    show.add_argument("key", help="key of a pair, passage or document, or the beginning of one")
    export = command("export", _export, "write the accepted pairs in a trainer's format")
    add_common(export)
    export.add_argument("--to", required=True, metavar="NAME", help=_exporters())
    export.add_argument(
        "--out", required=True, metavar="DIR", help="folder for the files; it must not exist yet"
    )
    doctor = command("doctor", _doctor, "check that everything a run needs is in place")
    add_common(doctor)
    distill = command("distill", _distill, "train an adapter for a small model on the replies of a step")
    add_common(distill)
    add_distill_options(distill, steps(), _positive, _amount)
    init = command("init", _init, "write a commented configuration to start from")
    init.add_argument("folder", type=Path, help="folder to write it into")
    return parser


def _run(options: argparse.Namespace) -> int:
    return run_command(options)


def run_command(options: argparse.Namespace, stages: Sequence[str] | None = None) -> int:
    """Run some stages and print the funnel; shared with the scripts in jobs/."""
    from webscale_rl.errors import ConfigError
    from webscale_rl.report import text
    from webscale_rl.runtime.budget import Budget

    if options.dry_run:
        return _print_plan(options, stages, as_json=False)
    pipeline = make_pipeline(options)
    stages = stages or chosen_stages(options)
    if (
        STAGES.source_of(Subject.DOCUMENT).name in stages
        and not pipeline.settings.sources
        and not _has_documents(pipeline)
    ):
        raise ConfigError(
            "no documents: name them with --input PATH --format FORMAT, or under sources: in the "
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
        print(text.samples(pipeline.open(), options.samples))
    if result.outcome == "stopped":
        print(result.message, file=sys.stderr)
        return EXIT_STOPPED
    return EXIT_DONE


def _has_documents(pipeline: webscale_rl.Pipeline) -> bool:
    return pipeline.open().exists("documents")


def _plan(options: argparse.Namespace) -> int:
    return _print_plan(options, None, options.json)


def _print_plan(options: argparse.Namespace, stages: Sequence[str] | None, as_json: bool) -> int:
    from webscale_rl.report import text

    pipeline = make_pipeline(options)
    planned = pipeline.plan(stages=stages or chosen_stages(options), limit=options.limit)
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
    from webscale_rl.spark.errors import first_line

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

    print(show(_existing(make_pipeline(options)).open(), options.key))
    return EXIT_DONE


def _exporters() -> str:
    known = ", ".join(f"{exporter.name} ({exporter.summary})" for exporter in EXPORTERS)
    return known or "name of an exporter; none is shipped yet: CONTRIBUTING.md says how to add one"


def _export(options: argparse.Namespace) -> int:
    count = _existing(make_pipeline(options)).export(options.to, options.out)
    print(f"{count} pairs in {options.out}")
    return EXIT_DONE


def _doctor(options: argparse.Namespace) -> int:
    from webscale_rl.cli.doctor import examine

    findings = examine(options.config, options.warehouse, options.overrides)
    for finding in findings:
        print(finding)
    return EXIT_DONE if all(finding.good for finding in findings) else EXIT_USER_ERROR


def _distill(options: argparse.Namespace) -> int:
    from webscale_rl.distill.command import distill_command

    print(distill_command(options, lambda: _existing(make_pipeline(options))))
    return EXIT_DONE


def _init(options: argparse.Namespace) -> int:
    from webscale_rl.config.template import write_configuration

    for path in write_configuration(options.folder):
        print(path)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
