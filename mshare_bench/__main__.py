"""`python -m mshare_bench`: the same as `mshare-bench`."""

import sys

from mshare_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
