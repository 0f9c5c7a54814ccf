"""The libraries carry types, checked strictly; mypy's settings are in pyproject.toml."""

import subprocess
import sys

from tests.conftest import CHECKOUT


def test_libraries_are_typed():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-incremental"],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
