"""Running programs, and making a folder whole or not at all."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from lab.host import PACKAGES, LabError, require


class IsoError(LabError):
    """A test image could not be made; the message says why and what to do."""


def run(*command, cwd=None, stdin="", epoch=0, environment=None):
    """Output (str) of a program that must succeed.

    command: the program and its arguments. cwd: folder to run in. stdin: text for it.
    epoch: the time it takes for now, in seconds, so that its output can be made again.
    environment: its variables, by default those of this process.
    Raises LabError when it is missing and cannot be installed, IsoError when it fails or takes more
    than 15 minutes.
    """
    if command[0] in PACKAGES:
        require(command[0])
    environment = {
        **(environment or os.environ),
        "LC_ALL": "C",
        "SOURCE_DATE_EPOCH": str(epoch),
    }
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            env=environment,
            timeout=900,
        )
    except subprocess.TimeoutExpired as error:
        raise IsoError(f"{' '.join(command)} took over {error.timeout} seconds") from error
    if done.returncode:
        raise IsoError(f"{' '.join(command)} failed: {done.stderr.strip()[-1000:]}")
    return done.stdout


@contextmanager
def unfinished(path):
    """A folder to fill (Path), which becomes path when the block ends well, and vanishes otherwise.

    When somebody else has made path meanwhile, theirs is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield work
        work.chmod(0o755)
        try:
            work.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
