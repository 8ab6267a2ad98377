"""Run a command of `benchmarks.commands`; errors that the user can correct are printed in one line."""

import pathlib
import runpy
import sys

PROCESS = pathlib.Path(__file__).parents[1] / "kseg/cli/_process.py"

if __name__ == "__main__":
    runpy.run_path(str(PROCESS))["prepare"](training=True)  # by its path: `import kseg` would import the backend
    try:
        from benchmarks.commands import app

        app(prog_name="python -m benchmarks")
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error} (to install what the benchmarks need: pip install -e '.[train,tensorflow]')")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
