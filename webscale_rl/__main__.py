"""The command `webscale-rl`, also as `python -m webscale_rl`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from webscale_rl.errors import UserError
from webscale_rl.extras import require_spark


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code, 2 in an installation without Spark."""
    try:
        require_spark()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # What the command imports needs Spark.
    from webscale_rl.cli.main import main as command

    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
