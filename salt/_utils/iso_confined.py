"""
Run a program that reads what strangers send: as nobody, within limits, in a directory of its own.

It cannot start other programs, and ends with the thread that started it, even if that is killed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Callable

from salt.exceptions import CommandExecutionError

import netboot_run

#: Directories of such programs in the staging directory; a sweep removes those without a process.
PREFIX = "confined-"
_USER = "nobody"
_MEMORY = 1 << 30
_POLL_S = 0.25
_SAID = 4096
_SPACE = 1 << 20
_PATH = "/usr/local/bin:/usr/bin:/bin"


class Limits:
    """
    What a program may use.

    size
        Bytes of each file that it writes.

    seconds
        Until it must have ended; also of computing.

    stall_s
        Seconds in which it must compute or write something.
    """

    def __init__(self, size: int, seconds: float, stall_s: float) -> None:
        self.size, self.seconds, self.stall_s = size, seconds, stall_s


def can_run(program: str) -> bool:
    """
    Return whether a program can be run like this.

    program
        Its name.
    """
    return all(map(netboot_run.has, (program, "setpriv", "prlimit")))


@contextlib.contextmanager
def directory(staging: str) -> Iterator[str]:
    """
    Make a directory for such a program, which goes when the block ends.

    staging
        Directory for unverified files, closed to others.
    """
    path = tempfile.mkdtemp(prefix=PREFIX, dir=staging)
    # While it is open, a sweep of another run sees that it is in use.
    with open(os.path.join(path, ".open"), "w", encoding="ascii"):
        try:
            if os.geteuid() == 0:
                user = pwd.getpwnam(_USER)
                os.chown(path, user.pw_uid, user.pw_gid)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def run(
    argv: list[str],
    path: str,
    limits: Limits,
    environment: dict[str, str],
    meanwhile: Callable[[], object] = lambda: None,
) -> str:
    """
    Run a program to its end and return the last it printed.

    argv
        Its command line; no shell reads it. Other files than those in ``path`` by absolute paths.

    path
        Its directory, see ``directory``.

    limits
        What it may use.

    environment
        Its variables, besides PATH and LC_ALL.

    meanwhile
        Called several times a second while it runs.

    Raises CommandExecutionError when it fails or exceeds its limits.
    """
    root = os.geteuid() == 0
    command = ["setpriv", "--no-new-privs", "--pdeathsig=KILL"]
    if root:
        user = pwd.getpwnam(_USER)
        command += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    command += ["--", "prlimit", f"--fsize={limits.size + _SPACE}", "--core=0", "--nofile=64"]
    command += [f"--cpu={int(limits.seconds)}", f"--as={max(_MEMORY, limits.size // 8)}"]
    # Root is not limited in processes, nor does it need to be: this is for nobody.
    command += ["--nproc=0"] if root else []
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                [*command, "--", *argv],
                cwd=path,
                env={"PATH": _PATH, "LC_ALL": "C", **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as err:
            raise CommandExecutionError(f"{argv[0]} cannot be started: {err.strerror}") from err
        with process:
            try:
                _watch(process, path, limits, argv[0], meanwhile)
            finally:
                process.kill()
        said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID))
        text = said.read().decode("utf-8", "replace")
    if process.returncode:
        last = " ".join(re.sub(r"[^ -~\n]", " ", text).split()[-20:])
        raise CommandExecutionError(f"{argv[0]} ended with {process.returncode}: {last}")
    return text


def _watch(
    process: subprocess.Popen[bytes],
    path: str,
    limits: Limits,
    name: str,
    meanwhile: Callable[[], object],
) -> None:
    until = time.monotonic() + limits.seconds
    before, since = None, time.monotonic()
    while True:
        try:
            process.wait(_POLL_S)
            return
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        meanwhile()
        used = (_seconds(process.pid), _written(path))
        if used != before:
            before, since = used, now
        if now > until:
            raise CommandExecutionError(f"{name} took more than {limits.seconds:.0f} s")
        if now - since > limits.stall_s:
            raise CommandExecutionError(f"{name} did nothing for {limits.stall_s:.0f} s")


def _seconds(pid: int) -> str:
    """Return how long a process has computed, see proc_pid_stat(5): utime and stime."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return " ".join(fields[11:13])


def _written(path: str) -> int:
    total = 0
    for entry in os.scandir(path):
        with contextlib.suppress(FileNotFoundError):
            total += entry.stat(follow_symlinks=False).st_blocks
    return total
