"""The harness: suites of recipes in, leaderboards out. See `python -m benchmarks --help`."""

import time

START = time.perf_counter()
"""When this process began, near enough: imports count where time is short."""
