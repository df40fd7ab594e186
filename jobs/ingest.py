"""Read the sources into documents: `spark-submit jobs/ingest.py --config FILE --warehouse DIR`."""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    if code := job_main("ingest"):
        sys.exit(code)
