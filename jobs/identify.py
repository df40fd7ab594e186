"""Find each passage's domain and personas: `spark-submit jobs/identify.py --config FILE --warehouse DIR`."""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    if code := job_main("identify"):
        sys.exit(code)
