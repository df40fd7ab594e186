"""Run the whole chain, or a part of it, in one job.

`spark-submit jobs/pipeline.py --config FILE --warehouse DIR [--from STAGE] [--until STAGE]`
"""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    if code := job_main():
        sys.exit(code)
