"""Split long documents into passages.

`spark-submit jobs/segment.py --config FILE --warehouse DIR`
"""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    if code := job_main("segment"):
        sys.exit(code)
