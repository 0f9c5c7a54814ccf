"""A fresh checkout that belongs to a user without rights, and commands run as that user."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
# Nobody may not enter /root, where this checkout may lie, so its .venv is shown elsewhere.
SHOW = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", "-i"]


def copy_tracked(path):
    """Copy what git has of this checkout, with what is new and not ignored."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=SOURCE, check=True, capture_output=True, text=True)
    for name in filter(None, names.stdout.split("\0")):
        if os.path.lexists(SOURCE / name):
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCE / name, path / name, follow_symlinks=False)


class FreshCheckout:
    """What git has of this checkout, copied below `base` (a folder that all may enter)."""

    def __init__(self, base):
        self.base, self.path, self.venv = base, base / "netboot-alt", base / "venv"
        self.venv.mkdir()
        copy_tracked(self.path)
        for sample in self.path.glob("[cp]*/*.example"):  # as ./netboot does
            shutil.copy2(sample, sample.with_suffix(""))
        self.give_away()

    def give_away(self):
        """Make nobody the owner of all that is there."""
        nobody = pwd.getpwnam("nobody").pw_uid
        for folder, folders, files in os.walk(self.base):
            for name in [".", *folders, *files]:
                os.lchown(os.path.join(folder, name), nobody, -1)

    def run(self, program, *argv, inside=()):
        """Run one of Salt's programs in it as nobody; `inside`: words before, for a namespace."""
        return self._run([self.venv / "bin/python", self.venv / "bin" / program, *argv], inside)

    def launch(self, *argv, inside=()):
        """Run ./netboot in it as nobody, from elsewhere. What is in `base`/bin is on the PATH."""
        netboot = ["sh", "-c", 'cd / && exec "$@"', "-", self.path / "netboot", *argv]
        return self._run(netboot, inside)

    def as_nobody(self, words, inside=()):
        """The words that run a command as nobody, with the checkout's .venv at hand."""
        environment = [f"PATH={self.base}/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={self.base}"]
        show = ["unshare", "--mount", "sh", "-c", SHOW, "show", SOURCE / ".venv", self.venv]
        return [*inside, *show, *AS_NOBODY, *environment, *words]

    def _run(self, words, inside=()):
        return subprocess.run(
            self.as_nobody(words, inside),
            cwd=self.path,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def files(self):
        """All its files but those in its cache."""
        return {
            path
            for path in self.base.rglob("*")
            if ".cache" not in path.parts and "__pycache__" not in path.parts
        }
