"""
Run programs on this machine.
"""

from __future__ import annotations

import os
import subprocess

from salt.exceptions import CommandExecutionError
from salt.utils.path import which


def has(program: str) -> bool:
    """
    Return whether a program is installed.

    program
        Its name.
    """
    return bool(which(program))


def tried(*argv: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """
    Run a program and return its outcome, even if it fails.

    argv
        Its command line.

    text
        Its standard input.

    environment
        More variables. LC_ALL is C.

    Raises CommandExecutionError when it cannot be started.
    """
    try:
        return subprocess.run(
            argv,
            input=text,
            env={**os.environ, "LC_ALL": "C", **environment},
            cwd="/",
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except OSError as err:
        raise CommandExecutionError(f"{argv[0]} cannot be started: {err.strerror}.") from err


def output(*argv: str) -> str:
    """
    Run a program and return its output, without the last line's end.

    argv
        Its command line.

    Raises CommandExecutionError, with its error output, when it fails.
    """
    done = tried(*argv)
    if done.returncode:
        raise CommandExecutionError(f"`{' '.join(argv)}` failed: {said(done)}")
    return done.stdout.rstrip("\n")


def said(done: subprocess.CompletedProcess[str]) -> str:
    """
    Return the error output of a failed program.

    done
        Its outcome.
    """
    return (done.stderr or done.stdout).strip()
