"""A stand-in for ALT's repository: what the apt-get of installed test systems fetches Salt from.

Packages are archives, made from what PyPI has; lab/iso/install2/files/apt-get unpacks them.
"""

import shutil
from importlib.metadata import version
from pathlib import Path

from . import roots

BRANCH = "p11/branch/x86_64"
MODULES = "usr/lib/python3/dist-packages"
# What no minion needs, half of all.
WITHOUT = ["bin", "cherrypy", "git", "google", "libcloud", "pydantic", "pydantic_core", "pygments"]
WITHOUT += ["rich", "setuptools", "tzdata", "virtualenv"]
PROGRAM = "#!/usr/bin/python3\nfrom salt.scripts import {0}\n\n{0}()\n"
# Like the package of ALT, it enables nothing.
FILES = {
    "usr/bin/salt-call": PROGRAM.format("salt_call"),
    "usr/bin/salt-minion": PROGRAM.format("salt_minion"),
    "usr/lib/systemd/system/salt-minion.service": "[Unit]\nDescription=Salt minion\n"
    "After=network.target\n[Service]\nKillMode=process\nExecStart=/usr/bin/salt-minion\n"
    "[Install]\nWantedBy=multi-user.target\n",
    "etc/salt/minion": "# Nothing is set here.\n",
}


def make_repository(folder):
    """Makes a repository with salt-minion below folder, in the version that this checkout uses.

    Returns what follows the address of folder in a line of sources.list.
    """
    branch = Path(folder, BRANCH)
    for name in ("base", "RPMS.classic"):
        (branch / name).mkdir(parents=True)
    (branch / "base/pkglist.classic.standin").write_text("salt-minion\n")
    archive = roots.python_archive(f"salt=={version('salt')}", MODULES, FILES, WITHOUT)
    shutil.copy(archive, branch / "RPMS.classic/salt-minion.tar.gz")
    return f"{BRANCH} classic"
