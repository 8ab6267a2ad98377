"""Run a command of `benchmarks.commands`; errors that the user can correct are printed in one line."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # off by default on some CPUs
    try:
        from benchmarks.commands import app

        app(prog_name="python -m benchmarks")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error} (to install what the benchmarks need: pip install -e '.[train,tensorflow]')")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
