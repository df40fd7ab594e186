"""Compare the pairs with benchmark items, and publish qa_pairs.

`spark-submit jobs/decontaminate.py --config FILE --warehouse DIR`
"""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    if code := job_main("decontaminate"):
        sys.exit(code)
