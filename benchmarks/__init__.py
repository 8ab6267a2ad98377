"""The harness: it trains the models of suites and writes leaderboards. See `python -m benchmarks --help`."""

import time

START = time.time()
"""When this process began, approximately: imports count when time is short."""
