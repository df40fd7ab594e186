"""Run the gates on the pairs: `spark-submit jobs/check.py --config FILE --warehouse DIR`."""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    if code := job_main("check"):
        sys.exit(code)
