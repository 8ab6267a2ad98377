"""Runs a command of `benchmarks.commands`; what the user can mend is said in one line."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # off by default on some CPUs
    try:
        from benchmarks.commands import app

        app(prog_name="python -m benchmarks")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error} (pip install -e '.[train,tensorflow]' brings what the benchmarks need)")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
