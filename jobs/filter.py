"""Apply the cheap rules to the documents: `spark-submit jobs/filter.py --config FILE --warehouse DIR`."""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    if code := job_main("filter"):
        sys.exit(code)
