"""Runs a command of `benchmarks.commands`; what the user can mend is said in one line."""

import sys

if __name__ == "__main__":
    try:
        from benchmarks.commands import app

        app(prog_name="python -m benchmarks")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error} (pip install -e '.[train,tensorflow]' brings what the benchmarks need)")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
