"""Apply the cheap rules to the documents: `spark-submit jobs/filter.py --config FILE --warehouse DIR`."""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    sys.exit(job_main("filter"))
