"""
The launcher on systems that are not at hand: which packages, which Python, which Salt it takes.

./netboot is the real one, in a copy of the checkout. Stand-ins, named as such, are the package
managers, /usr/bin/python3, pip and Salt's programs: each records how it was called. The system is
one by /etc/os-release alone, which is another file in a mount namespace of the test's own.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from cli.__main__ import COMMANDS
from tests.checkout import AS_NOBODY, SOURCE
from tests.systems import SYSTEMS

LIBRARIES = os.path.dirname(os.path.dirname(yaml.__file__))
DEBIAN_GET = "apt-get -qq -y --no-install-recommends install"
ALT_GET = "apt-get -qq -y install"
DNF_GET = "dnf -q -y install"

TOOLS = "cat chmod cp cut date dirname env id mkdir nproc printf readlink rm sed sh sha256sum touch"

# It brings what its arguments name; a package in `refused` never, and none before `update` if its
# lists are `stale`. Like apt-rpm it then may end with 0 all the same.
PACKAGE_MANAGER_STANDIN = """#!/bin/sh
cd "$STANDINS"
echo "${0##*/} $*" >> calls
for word in "$@"; do
    case $word in
    -* | install) continue ;;
    update) rm -f stale && exit ;;
    esac
    [ ! -e stale ] && [ ! -e "refused-$word" ] || { echo "E: no $word" >&2; continue; }
    case $word in
    gcc) touch bin/gcc && chmod +x bin/gcc ;;
    python3-dev | python3-devel) mkdir -p include && touch include/Python.h ;;
    python3-venv | python3-base | python3-libs) touch ensurepip ;;
    esac
done
"""
PYTHON3_STANDIN = """#!/bin/sh
case $* in
*version_info*) [ ! -e "$STANDINS/old" ] ;;
*ensurepip*) [ -e "$STANDINS/ensurepip" ] ;;
*sysconfig*) echo "$STANDINS/include" ;;
# What a system's own Salt brings its Python.
"-m cli"*) PYTHONHOME=/usr PYTHONPATH=LIBRARIES exec "$STANDINS/real" "$@" ;;
"-m venv .venv") mkdir -p .venv/bin && cp "$STANDINS/pip_standin" .venv/bin/pip ;;
*) exit 9 ;;
esac
"""
PIP_STANDIN = """#!/bin/sh
echo "WARNING: there is a newer pip, say" >&2
[ ! -e "$STANDINS/offline" ] || { echo "ERROR: no route to PyPI" >&2; exit 1; }
cp "$STANDINS/salt_standin" .venv/bin/salt-call
cp "$STANDINS/salt_standin" .venv/bin/salt-ssh
"""
# Its version is in a file beside it.
SALT_STANDIN = """#!/bin/sh
name=${0##*/}
[ "$*" != --version ] || { echo "$name $(cat "$0.version") (Chlorine)"; exit; }
echo "$0 $*" >> "$STANDINS/calls"
echo "$PWD" > "$STANDINS/folder"
"""
# $1 what /etc/os-release is, $2 what /usr/bin/python3 is, $3 what /run is, then the command.
ELSEWHERE = """
mount --bind "$1" /etc/os-release
mount --bind "$2" /usr/bin/python3
mount --bind "$3" /run
shift 3
exec "$@"
"""


class Bench:
    """A checkout, and stand-ins first and alone on the PATH."""

    def __init__(self, base):
        self.base, self.checkout, self.bin = base, base / "checkout", base / "bin"
        self.bin.mkdir()
        (base / "run").mkdir()
        listed = [
            "git",
            "ls-files",
            "netboot",
            "requirements.lock",
            "Saltfile",
            "conf",
            "pillar",
            "cli",
        ]
        for name in subprocess.run(
            listed, cwd=SOURCE, check=True, capture_output=True, text=True
        ).stdout.split():
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCE / name, self.checkout / name)
        for tool in TOOLS.split():
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.script(base / "pip_standin", PIP_STANDIN)
        self.script(base / "salt_standin", SALT_STANDIN)
        self.script(base / "python3", PYTHON3_STANDIN.replace("LIBRARIES", LIBRARIES))
        # The test mounts the stand-in over it.
        shutil.copy2(os.path.realpath("/usr/bin/python3"), base / "real")
        for name in ("apt-get", "dnf"):
            self.script(self.bin / name, PACKAGE_MANAGER_STANDIN)

    @staticmethod
    def script(path, text):
        path.write_text(text)
        path.chmod(0o755)

    def has(self, *marks):
        """Set marks that the stand-ins act on."""
        for mark in marks:
            (self.base / mark).touch()

    def complete(self):
        """Have all that .venv needs."""
        self.has("ensurepip")
        (self.base / "include").mkdir()
        self.has("include/Python.h")
        self.script(self.bin / "gcc", "#!/bin/sh\n")

    def salt(self, program, version):
        """Install one of Salt's programs."""
        self.script(self.bin / program, SALT_STANDIN)
        (self.bin / f"{program}.version").write_text(version)

    def run(self, *argv, system="Debian 12", user="root", netboot=None, folder="/"):
        """Run ./netboot, from another folder."""
        release = self.base / "os-release"
        release.write_text(SYSTEMS[system][0] if system in SYSTEMS else system)
        environment = [f"PATH={self.bin}", f"STANDINS={self.base}"]
        who = AS_NOBODY if user == "nobody" else ["env", "-i"]
        if argv[:1] == ("apply",) and "test=True" not in argv:
            argv = (*argv, "--yes")
        launch = [*who, *environment, "sh", netboot or self.checkout / "netboot", *argv]
        return subprocess.run(
            ["unshare", "--mount", "sh", "-ec", ELSEWHERE, "-", release, self.base / "python3"]
            + [self.base / "run", *launch],
            cwd=folder,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def calls(self):
        """What was called, without the folder of the checkout; then it is forgotten."""
        file = self.base / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        ours = "--out=netboot_apply --log-level=critical "
        lines = [line.replace(ours, "") for line in lines]
        return [line.replace(f"{self.bin}/", "") for line in lines]


@pytest.fixture
def bench():
    # Not below pytest's folder, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="netboot-launcher.") as base:
        os.chmod(base, 0o755)  # noqa: S103
        yield Bench(Path(base))


def failed(done, sentence, status=1):
    """It ended with one sentence."""
    assert (done.returncode, done.stderr) == (status, f"netboot: {sentence}\n")
    assert done.stdout == ""
    return True


# -- packages, by the system ---------------------------------------------------------------------

DEBIANS = f"{DEBIAN_GET} python3-venv gcc libc6-dev python3-dev"
ALTS = f"{ALT_GET} python3-base gcc glibc-devel python3-dev"
FEDORAS = f"{DNF_GET} python3-libs gcc python3-devel"
EXPECTED = {
    "Debian 12": DEBIANS,
    "Ubuntu 24.04": DEBIANS,
    "Linux Mint 22": DEBIANS,
    "ALT Workstation 10.1": ALTS,
    "ALT Server 11.0": ALTS,
    "ALT Sisyphus": ALTS,
    "ALT Atomic": ALTS,
    "Fedora 41": FEDORAS,
    "NAME=Rocky\nID=rocky\nID_LIKE='rhel centos fedora'\n": FEDORAS,
}


@pytest.mark.parametrize("system", EXPECTED)
def test_packages_are_the_systems_own(bench, system):
    done = bench.run("apply", "test=True", system=system)
    assert done.returncode == 0, done.stderr
    assert bench.calls() == [EXPECTED[system], ".venv/bin/salt-call state.apply test=True"]
    assert "WARNING" not in done.stderr


def test_what_is_there_is_not_installed(bench):
    bench.complete()
    bench.run("apply", system="ALT Server 11.0")
    assert bench.calls() == [".venv/bin/salt-call state.apply"]


def test_one_apply_at_a_time(bench):
    bench.salt("salt-call", "3008.3")
    with ThreadPoolExecutor() as pool, (bench.base / "run/netboot-apply.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waits = pool.submit(bench.run, "apply")
        time.sleep(1)
        assert not waits.done()
        fcntl.flock(lock, fcntl.LOCK_UN)
        done = waits.result()
    assert done.returncode == 0
    assert "netboot: another apply runs on this machine" in done.stderr
    assert len(bench.calls()) == 1
    assert "waiting" not in bench.run("apply").stderr


def test_only_what_is_missing_is_installed(bench):
    bench.complete()
    (bench.bin / "gcc").unlink()
    bench.run("apply", system="ALT Server 11.0")
    assert bench.calls()[0] == f"{ALT_GET} gcc glibc-devel"


@pytest.mark.parametrize("system", ["Debian 12", "ALT Server 11.0"])
def test_package_lists_are_updated_when_stale(bench, system):
    bench.has("stale")
    done = bench.run("apply", system=system)
    get = EXPECTED[system]
    assert bench.calls() == [
        get,
        "apt-get -qq update",
        get,
        ".venv/bin/salt-call state.apply",
    ]
    assert "E:" not in done.stderr


def test_package_that_does_not_come_is_named(bench):
    bench.has("refused-gcc")
    done = bench.run("apply", system="ALT Server 11.0")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "E: no gcc",
        "netboot: could not install gcc glibc-devel, which making .venv needs, "
        "or salt-call of Salt 3006, 3007 or 3008.",
    ]


def test_without_root_it_says_what_to_install(bench):
    done = bench.run("apply", "test=True", system="ALT Server 11.0", user="nobody")
    assert failed(
        done,
        "install python3-base gcc glibc-devel python3-dev to make .venv (or run this once as root)"
        ", or salt-call of Salt 3006, 3007 or 3008.",
    )
    assert bench.calls() == []


def test_unknown_system(bench):
    done = bench.run("ssh", "netboot*", system="ID=plan9\n")
    assert failed(
        done,
        "making .venv needs ensurepip gcc Python.h; install what brings that"
        ", or salt-ssh of Salt 3007 or 3008.",
    )
    assert bench.calls() == []


# -- Python and pip ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["apply", "demo"])
def test_python_that_is_too_old(bench, command):
    bench.has("old")
    done = bench.run(command, system="ALT Workstation 10.1")
    instead = ", or salt-call of Salt 3006, 3007 or 3008" if command == "apply" else ""
    assert failed(
        done,
        "/usr/bin/python3 is missing or too old; install Python 3.11 or newer" + instead + ".",
    )
    assert bench.calls() == []


def test_output_of_pip_is_shown_when_it_fails(bench):
    bench.complete()
    bench.has("offline")
    for _ in range(2):  # what is left of the first .venv does not count
        done = bench.run("apply")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-3:] == [
            "WARNING: there is a newer pip, say",
            "ERROR: no route to PyPI",
            "netboot: pip could not install what requirements.lock lists.",
        ]
    (bench.base / "offline").unlink()
    done = bench.run("apply")
    assert (done.returncode, "WARNING" in done.stderr) == (0, False)
    assert bench.calls() == [".venv/bin/salt-call state.apply"]


def test_venv_is_made_once_for_each_lock(bench):
    bench.complete()
    assert "making .venv" in bench.run("apply").stderr
    assert bench.run("apply").stderr == ""
    (bench.checkout / "requirements.lock").write_text("salt==3008.4\n")
    assert "making .venv" in bench.run("apply").stderr


def test_venv_is_made_again_where_the_checkout_was_moved_to(bench):
    bench.complete()
    bench.run("apply")
    bench.checkout = bench.checkout.rename(bench.base / "elsewhere")
    assert "making .venv" in bench.run("apply").stderr
    assert bench.run("apply").stderr == ""


# -- which Salt ----------------------------------------------------------------------------------

APPLY = ["apply", "saltenv=base"]
SSH = ["ssh", "netboot*", "test=True"]
CALLED = {
    "salt-call": "salt-call state.apply saltenv=base",
    "salt-ssh": "salt-ssh netboot* state.apply test=True",
}


@pytest.mark.parametrize(
    ("program", "version", "taken"),
    [
        ("salt-call", "3005.4", False),
        ("salt-call", "3006.0", True),
        ("salt-call", "3006.0+12.gabcdef", True),
        ("salt-call", "3007.1", True),
        ("salt-call", "3008.3", True),
        ("salt-call", "3009.0", False),
        ("salt-ssh", "3006.9", False),
        ("salt-ssh", "3007.1", True),
        ("salt-ssh", "3008.3", True),
    ],
)
def test_installed_salt_is_used_where_it_fits(bench, program, version, taken):
    system = "ALT Server 11.0"
    bench.salt(program, version)
    (bench.checkout / "conf/roster").write_text("netboot1: {host: 192.0.2.10}\n")
    done = bench.run(*(APPLY if program == "salt-call" else SSH), system=system)
    assert done.returncode == 0, done.stderr
    calls = bench.calls()
    if taken:
        assert calls == [CALLED[program]]
        assert not (bench.checkout / ".venv").exists()
    else:
        assert calls == [EXPECTED[system], f".venv/bin/{CALLED[program]}"]
    # It reads the checkout's Saltfile there.
    assert (bench.base / "folder").read_text() == f"{bench.checkout}\n"


def test_installed_salt_that_does_not_run_is_passed_over(bench):
    bench.complete()
    bench.script(bench.bin / "salt-call", "#!/bin/sh\nexit 1\n")
    assert bench.run("apply").returncode == 0
    assert bench.calls() == [".venv/bin/salt-call state.apply"]


def test_through_a_link_from_any_folder(bench):
    bench.salt("salt-call", "3007.1")
    (bench.base / "links").mkdir()
    link = bench.base / "links/netboot"
    link.symlink_to("../checkout/netboot")
    for folder, netboot in (("/", link), (bench.base, "checkout/netboot")):
        assert bench.run("apply", netboot=netboot, folder=folder).returncode == 0
        assert (bench.base / "folder").read_text() == f"{bench.checkout}\n"


# -- what users type -----------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["netboot.dhcp"], ["test=False"]])
def test_apply_without_root(bench, arguments):
    bench.salt("salt-call", "3007.1")
    done = bench.run("apply", *arguments, user="nobody")
    assert failed(done, "'apply' changes this machine: run it as root, or with test=True.")
    assert bench.calls() == []


def test_apply_in_test_mode_needs_no_root(bench):
    bench.salt("salt-call", "3007.1")
    os.chmod(bench.checkout / "pillar", 0o777)  # noqa: S103
    os.chmod(bench.base, 0o777)  # noqa: S103
    assert bench.run("apply", "test=True", user="nobody").returncode == 0
    assert bench.calls() == ["salt-call state.apply test=True"]


def test_ssh_without_a_target(bench):
    assert failed(bench.run("ssh"), "name a target of conf/roster: ./netboot ssh 'netboot*'")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("aply", "did you mean apply?"),
        ("--hepl", "see ./netboot help"),
        ("frobnicate", "see ./netboot help"),
        ("a b", "see ./netboot help"),
    ],
)
def test_unknown_command(word, hint):
    done = subprocess.run(
        [SOURCE / "netboot", word], check=False, capture_output=True, text=True, cwd="/"
    )
    assert failed(done, f"unknown command '{word}', {hint}", status=2)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["./netboot", "sta"], "status"),
        (["./netboot", "h"], "hosts hints"),
        (["./netboot", "status", "--j"], "--json"),
    ],
)
def test_completion_in_bash(words, found):
    script = """source cli/completion.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _netboot ./netboot; echo "${COMPREPLY[*]}" """
    done = subprocess.run(
        ["bash", "-c", script, "-", *words], cwd=SOURCE, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == set(found.split())


@pytest.mark.parametrize("command", sorted({name.partition(" ")[0] for name in COMMANDS}))
def test_each_command_is_known_and_helped(bench, command):
    bench.salt("salt-call", "3007.1")
    done = bench.run(command, "--help", user="nobody")
    assert failed(
        done,
        f"'{command}' reads what root alone may read: run it as root, or name a machine with --on.",
    )
    told = bench.run("help").stdout.replace(";", "\n")
    assert re.search(rf"^ +{command}( |$)", told, re.MULTILINE)


def test_mistyped_test_does_not_apply(bench):
    bench.salt("salt-call", "3007.1")
    done = bench.run("apply", "tset=True")
    assert failed(done_without_samples(done), "unknown argument 'tset=True', did you mean test=?")
    assert bench.calls() == []


def test_apply_is_not_queued_for_a_minion_that_is_not_there(bench):
    """Salt 3007 and 3008 say that it is queued, end with 0, and never run it."""
    bench.salt("salt-call", "3007.1")
    done = bench.run("apply", "queue=True")
    told = "queue=True: without a minion nobody runs what Salt queues; leave it out"
    assert failed(done_without_samples(done), told)
    assert bench.calls() == []
    bench.run("apply", "queue=9")  # the timer's, which waits
    assert bench.calls()[-1].endswith("state.apply queue=9")


def done_without_samples(done):
    done.stderr = "".join(
        line for line in done.stderr.splitlines(True) if "copied from the samples" not in line
    )
    return done


@pytest.mark.parametrize("command", ["demo", "rehearse", "clean", "test", "bench", "apply", "ssh"])
def test_help_of_a_command_runs_nothing(bench, command):
    bench.salt("salt-call", "3007.1")
    done = bench.run(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ./netboot COMMAND")
    assert bench.calls() == []


# -- the samples ---------------------------------------------------------------------------------


# The sample names no machine.
COPIED_ROSTER = "netboot: copied from the samples, for you to edit: conf/roster\n"
COPIED_ROSTER += "netboot: no machine in conf/roster is named netboot*.\n"


def test_missing_samples_are_copied_in_one_line(bench):
    bench.salt("salt-call", "3007.1")
    bench.salt("salt-ssh", "3007.1")
    done = bench.run("apply")
    assert done.stderr == (
        "netboot: copied from the samples, for you to edit: pillar/netboot.sls pillar/top.sls\n"
    )
    done = bench.run("ssh", "netboot*")
    assert done.stderr == COPIED_ROSTER
    for name in ("pillar/netboot.sls", "pillar/top.sls", "conf/roster"):
        sample = (bench.checkout / f"{name}.example").read_text()
        assert (bench.checkout / name).read_text() == sample


def test_files_of_the_user_stay(bench):
    bench.salt("salt-ssh", "3008.3")
    own = bench.checkout / "pillar/netboot.sls"
    own.write_text("netboot: {interface: eth7}\n")
    (bench.checkout / "pillar/top.sls").symlink_to("elsewhere")
    done = bench.run("ssh", "netboot*")
    assert done.stderr == COPIED_ROSTER
    assert own.read_text() == "netboot: {interface: eth7}\n"


# -- with real Salt ------------------------------------------------------------------------------


@pytest.fixture
def installed(checkout):
    """Salt on the PATH, as an installed one would be."""
    (checkout.base / "bin").mkdir(exist_ok=True)
    venv = f"{checkout.venv}/bin"
    program = f'#!{venv}/python\nexec(open("{venv}/salt-call").read())\n'
    Bench.script(checkout.base / "bin/salt-call", program)


@pytest.mark.usefixtures("installed")
def test_real_salt_takes_the_configuration_of_the_checkout(checkout):
    """.venv is not made, nothing else written."""
    before = checkout.files()
    done = checkout.launch("apply", "test=True")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would be fetched from http://" in done.stdout
    assert "Ready to boot now: no image yet." in done.stdout
    assert checkout.files() == before
    assert (checkout.path / ".cache/salt").is_dir()


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("{{ nothing.here }}", "line 3: Jinja variable 'nothing' is undefined; set it above, "),
        ("{{ 1 / 0 }}", "line 3: Jinja error: division by zero:"),
        ("{{ salt['no.such']() }}", "line 3: Jinja variable "),
        ("{{ 'a: b' }}", "line 3 of what its Jinja makes: mapping values are not allowed "),
        ("{{ nothing }", "line 3: has a {{ or {% that is not closed by }} or %}, "),
    ],
)
def test_what_real_salt_says_of_jinja_is_a_sentence(checkout, title, told):
    own = checkout.path / "pillar/netboot.sls"
    before = own.read_text()
    own.write_text(f"netboot:\n  menu:\n    title: {title}\n")
    done = checkout.launch("apply", "test=True")
    own.write_text(before)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"netboot: pillar/netboot.sls, {told}")
    assert len(done.stderr.splitlines()) < 3
