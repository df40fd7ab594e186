"""Options that several commands share, and what they mean."""

from __future__ import annotations

import argparse
from pathlib import Path

import webscale_rl
from webscale_rl.stages.registry import STAGES


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options of every command that opens a warehouse."""
    parser.add_argument("--config", type=Path, help="your YAML file; other settings have defaults")
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
        "--input", nargs="+", metavar="PATH", help="documents, instead of the configured sources"
    )
    parser.add_argument(
        "--format",
        choices=("parquet", "json", "csv", "text", "lines", "delta"),
        help="format of --input; default: by its file extension",
    )
    parser.add_argument("--text-column", metavar="NAME", help="column of --input with the text")
    parser.add_argument(
        "--source",
        default="input",
        metavar="NAME",
        help="source name of --input (part of every key)",
    )
    parser.add_argument(
        "--licence", "--license", default="unknown", help="licence of --input where rows name none"
    )


def add_stage_options(parser: argparse.ArgumentParser) -> None:
    """Options that choose stages and documents."""
    parser.add_argument(
        "--stage",
        action="append",
        metavar="NAME",
        help=f"run only this (may be repeated): {', '.join(STAGES.names)}",
    )
    parser.add_argument("--from", dest="first", metavar="NAME", help="first stage to run")
    parser.add_argument("--until", dest="last", metavar="NAME", help="last stage to run")


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """Options that bound a run, and what it prints."""
    parser.add_argument(
        "--limit", type=_positive, metavar="N", help="only the N documents with the smallest keys"
    )
    parser.add_argument("--max-requests", type=_positive, metavar="N", help="stop after N requests")
    parser.add_argument("--max-tokens", type=_positive, metavar="N", help="stop at about N tokens")
    parser.add_argument(
        "--max-cost", type=_amount, metavar="X", help="stop at about this cost (needs prices)"
    )
    parser.add_argument(
        "--take-over", action="store_true", help="take the warehouse even if its holder seems alive"
    )
    parser.add_argument(
        "--rebuild-duplicates",
        action="store_true",
        help="in deduplicate, judge all documents again as if they had arrived at once",
    )
    parser.add_argument("--dry-run", action="store_true", help="the same as plan")
    parser.add_argument("--samples", type=_positive, default=0, metavar="N", help="print N accepted pairs")
    parser.add_argument("--quiet", action="store_true", help="do not show progress")


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
    from webscale_rl.config.load import load
    from webscale_rl.runtime.progress import Progress, TextProgress
    from webscale_rl.stages.ingest.sources import guess_format

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

    names = STAGES.names
    wanted = [STAGES.get(name).name for name in options.stage or names]
    first = names.index(STAGES.get(options.first).name) if options.first else 0
    last = names.index(STAGES.get(options.last).name) if options.last else len(names) - 1
    chosen = [name for name in names[first : last + 1] if name in wanted]
    if not chosen:
        raise ConfigError("no stage is left by --stage, --from and --until")
    return chosen
