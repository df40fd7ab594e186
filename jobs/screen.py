"""Ask a model which passages are worth asking about.

`spark-submit jobs/screen.py --config FILE --warehouse DIR`
"""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    if code := job_main("screen"):
        sys.exit(code)
