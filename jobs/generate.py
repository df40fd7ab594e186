"""Write one question-answer pair per persona.

`spark-submit jobs/generate.py --config FILE --warehouse DIR`
"""

import sys

from webscale_rl.cli.main import job_main

if __name__ == "__main__":
    if code := job_main("generate"):
        sys.exit(code)
