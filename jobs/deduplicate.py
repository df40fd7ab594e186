"""Find exact and near copies among the documents that filter kept.

`spark-submit jobs/deduplicate.py --config FILE --warehouse DIR`
"""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    if code := job_main("deduplicate"):
        sys.exit(code)
