"""The harness: suites of recipes in, leaderboards out. See `python -m benchmarks --help`."""
