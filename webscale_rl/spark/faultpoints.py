"""Named points at which a test may stop or kill the process, to see that nothing is lost.

Inert unless ``WEBSCALE_RL_FAULT_POINT`` names a point: then the process waits there for a signal
(``NAME``) or for a file to appear (``NAME=FILE``), after writing ``NAME`` to standard error.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

ENV = "WEBSCALE_RL_FAULT_POINT"
_WAIT_SECONDS = 600.0


def reached(point: str) -> None:
    """Tell that the run has come to this point; waits when the environment asks for it."""
    wanted, _, release = os.environ.get(ENV, "").partition("=")
    if wanted != point:
        return
    print(f"fault point {point}", file=sys.stderr, flush=True)
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline and not (release and Path(release).exists()):
        time.sleep(0.05)
