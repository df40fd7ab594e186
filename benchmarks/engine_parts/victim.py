"""An engine at work, to be killed: python -m benchmarks.engine_parts.victim MODEL ARGS < rows"""

from __future__ import annotations

import json
import sys
import threading
import time

from benchmarks.engine_parts.hosting import spec, through_arrow
from udfs.engines import worker


def main() -> None:
    rows = json.load(sys.stdin)
    function = worker.engine_function(spec(sys.argv[1], json.loads(sys.argv[2])))
    through_arrow(function, rows[:4])

    def tell() -> None:
        time.sleep(1)
        print("working", flush=True)

    threading.Thread(target=tell, daemon=True).start()
    while True:
        through_arrow(function, rows)


if __name__ == "__main__":
    main()
