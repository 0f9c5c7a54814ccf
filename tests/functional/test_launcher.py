"""
./netboot on systems of several kinds, with stand-ins for package managers, Python and Salt.

The script is the real one. It sees another /etc/os-release and a PATH of this test, in a mount
namespace; the stand-ins say in a log what they were called with.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import CHECKOUT
from tests.systems import SYSTEMS

# What the script itself uses.
PROGRAMS = "sh id sha256sum cut cat readlink dirname sed cp rm mkdir env echo printf nproc".split()
LOG = 'echo "${0##*/} $*" >> "$LOG"\n'
PACKAGES_STANDIN = f"""#!/bin/sh
{LOG}case " $* " in *" install "*) /bin/ln -sf /bin/true "$BIN/gcc" ;; esac
"""
SALT_STANDIN = (
    """#!/bin/sh
[ "$1" != --version ] || { echo "${0##*/} $VERSION (Name)"; exit; }
"""
    + LOG
)
PIP_STANDIN = f"""#!/bin/sh
{LOG}echo "WARNING: of pip" >&2
exit "${{PIP_FAILS:-0}}"
"""
# Of Python as far as the script asks: its version, ensurepip, headers, venv.
PYTHON_STANDIN = """#!/bin/sh
case "$*" in
*version_info*) exit "${TOO_OLD:-0}" ;;
*"import ensurepip") exit 0 ;;
*sysconfig*) echo "$BIN" ;;
*"-m venv .venv")
    mkdir -p .venv/bin
    cp "$STANDINS/pip" .venv/bin/pip
    cp "$STANDINS/salt" .venv/bin/salt-call
    cp "$STANDINS/salt" .venv/bin/salt-ssh
    ;;
esac
"""
INSIDE = """
mount --bind "$RELEASE" "$(readlink -f /etc/os-release)"
mount --bind "$STANDINS/python3" "$(readlink -f /usr/bin/python3)"
exec "$@"
"""
ALT, DEBIAN, FEDORA = (SYSTEMS[name][0] for name in ("ALT Server 11.0", "Debian 12", "Fedora 41"))


@pytest.fixture
def folder():
    # Not below pytest's folder, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="netboot-launcher.") as path:
        os.chmod(path, 0o755)  # noqa: S103
        yield Path(path)


@pytest.fixture
def machine(folder):
    """A machine with a checkout on it, where root runs ./netboot."""
    checkout, bin_, standins = (folder / name for name in ("checkout", "bin", "standins"))
    for path in (checkout, bin_, standins):
        path.mkdir()
    for name in ("netboot", "requirements.lock"):
        shutil.copy2(CHECKOUT / name, checkout / name)
    for name in ("conf", "pillar"):
        shutil.copytree(
            CHECKOUT / name, checkout / name, ignore=shutil.ignore_patterns("*.sls", "roster")
        )
    for program in PROGRAMS:
        (bin_ / program).symlink_to(shutil.which(program, path="/usr/bin:/bin"))
    (bin_ / "Python.h").touch()
    scripts = {"python3": PYTHON_STANDIN, "pip": PIP_STANDIN, "salt": SALT_STANDIN}
    for name, text in scripts.items():
        (standins / name).write_text(text)
        (standins / name).chmod(0o755)

    def run(*argv, release=DEBIAN, has=(), user=0, **environment):
        """Run ./netboot with these arguments; `has`: programs that are installed."""
        for program in has:
            text = SALT_STANDIN if program.startswith("salt") else PACKAGES_STANDIN
            (bin_ / program).write_text(text)
            (bin_ / program).chmod(0o755)
        (folder / "release").write_text(release)
        log = folder / "log"
        log.write_text("")
        os.chmod(log, 0o666)  # noqa: S103 (of a test)
        places = {"LOG": log, "BIN": bin_, "STANDINS": standins, "RELEASE": folder / "release"}
        inner = ["sh", checkout / "netboot", *argv]
        if user:
            inner = [shutil.which("setpriv"), f"--reuid={user}", "--clear-groups", *inner]
        done = subprocess.run(
            [shutil.which("unshare"), "--mount", "/bin/sh", "-ec", INSIDE, "x"]
            + ["/usr/bin/env", f"PATH={bin_}", *inner],
            env={
                "PATH": os.environ["PATH"],
                **{k: str(v) for k, v in places.items()},
                **environment,
            },
            cwd="/",
            check=False,
            capture_output=True,
            text=True,
        )
        return SimpleNamespace(
            status=done.returncode,
            out=done.stdout,
            err=done.stderr.splitlines(),
            called=log.read_text().splitlines(),
        )

    return SimpleNamespace(run=run, checkout=checkout, bin=bin_)


@pytest.mark.parametrize("version", ["3006.9", "3007.1", "3008.3"])
@pytest.mark.parametrize("release", [ALT, DEBIAN, FEDORA], ids=["alt", "debian", "fedora"])
def test_salt_that_is_installed_is_used_as_it_is(machine, release, version):
    has = ["salt-call", "apt-get", "dnf"]
    done = machine.run("apply", "a=b", release=release, has=has, VERSION=version)
    assert done.status == 0
    assert done.called == ["salt-call state.apply a=b"]
    assert not (machine.checkout / ".venv").exists()


@pytest.mark.parametrize(
    ("version", "used"), [("3006.9", False), ("3007.1", True), ("3009.0", False)]
)
def test_salt_ssh_of_3006_does_not_send_libraries(machine, version, used):
    (machine.bin / "gcc").symlink_to("/bin/true")
    done = machine.run("ssh", "netboot*", has=["salt-ssh"], VERSION=version)
    assert done.status == 0
    assert done.called[-1] == "salt-ssh netboot* state.apply"
    assert (machine.checkout / ".venv").exists() != used


@pytest.mark.parametrize(
    ("release", "called"),
    [
        (ALT, "apt-get -qq -y install gcc glibc-devel"),
        (DEBIAN, "apt-get -qq -y --no-install-recommends install gcc libc6-dev"),
        (FEDORA, "dnf -q -y install gcc"),
    ],
    ids=["alt", "debian", "fedora"],
)
def test_venv_is_made_with_the_system_s_own_packages(machine, release, called):
    done = machine.run("apply", release=release, has=["apt-get", "dnf"])
    assert done.status == 0, done.err
    assert done.called[0] == called
    assert done.called[1].startswith("pip ")
    assert done.called[2] == "salt-call state.apply"
    again = machine.run("apply", release=release)
    assert (again.called, again.err) == (["salt-call state.apply"], [])


def test_warnings_of_pip_are_shown_only_if_it_fails(machine):
    (machine.bin / "gcc").symlink_to("/bin/true")
    done = machine.run("apply", PIP_FAILS="1")
    assert done.status == 1
    assert "WARNING: of pip" in done.err
    assert done.err[-1] == "netboot: pip could not install what requirements.lock lists."
    done = machine.run("apply")
    assert done.status == 0
    assert "WARNING: of pip" not in done.err


@pytest.mark.parametrize(
    ("release", "environment", "said"),
    [
        ('ID="plan9"\n', {}, "making .venv needs gcc; install what brings that, or salt-call of "),
        (DEBIAN, {"TOO_OLD": "1"}, "/usr/bin/python3 is missing or too old; install Python 3.11 "),
    ],
)
def test_one_sentence_says_what_to_install(machine, release, environment, said):
    done = machine.run("apply", release=release, **environment)
    assert done.status == 1
    assert done.err[-1].startswith(f"netboot: {said}")
    assert "salt-call of Salt 3006, 3007 or 3008" in done.err[-1]
    assert done.called == []


def test_without_root_only_a_look_is_possible(machine):
    machine.run("apply", has=["salt-call"], VERSION="3008.3")
    done = machine.run("apply", user=65534, VERSION="3008.3")
    assert done.status == 1
    assert done.err == ["netboot: 'apply' changes this machine: run it as root, or with test=True."]
    done = machine.run("apply", "test=True", user=65534, VERSION="3008.3")
    assert done.called == ["salt-call state.apply test=True"]


def test_samples_are_copied_once_and_are_the_user_s_then(machine):
    first = machine.run("ssh", "netboot*", has=["salt-ssh"], VERSION="3008.3")
    copied = "pillar/netboot.sls pillar/top.sls conf/roster"
    assert first.err == [f"netboot: copied from the samples, for you to edit: {copied}"]
    pillar = machine.checkout / "pillar/netboot.sls"
    pillar.write_text("netboot: {}\n")
    again = machine.run("ssh", "netboot*", VERSION="3008.3")
    assert again.err == []
    assert pillar.read_text() == "netboot: {}\n"
