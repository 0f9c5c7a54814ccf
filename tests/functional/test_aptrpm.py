"""
Salt's own pkg states on ALT's os-release, with our provider and a stand-in for apt-rpm.

The stand-in keeps its packages with the real rpm; rpm's database is the test's own.
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from salt.utils.args import parse_input

from _modules import aptrpm
from lab.altlike import packages
from lab.host import require
from tests.conftest import CHECKOUT
from tests.functional.test_commands import EXAMPLE
from tests.unit.test_layers import functions

SERVER = """NAME="ALT Server"
VERSION="11.0"
ID=altlinux
VERSION_ID=11.0
PRETTY_NAME="ALT Server 11.0 (Mendelevium)"
ALT_BRANCH_ID="p11"
"""
ALT = {
    "ALT Server": SERVER,
    "ALT": 'NAME="ALT"\nID=altlinux\nVERSION_ID=11\nPRETTY_NAME="ALT Starterkit 11 (Salvia)"\n',
    "starter kit": "NAME='starter kit'\nID=altlinux\nVERSION_ID=p10\n",
    "ALT Regular": 'NAME="ALT Regular"\nID=altlinux\nVERSION_ID=20260316\n',
    "Sisyphus": "NAME=Sisyphus\nID=altlinux\nVERSION_ID=20201124\n",
    "Simply Linux": 'NAME="Simply Linux"\nID=altlinux\nVERSION_ID=10.2\n',
    "ALT Atomic": 'NAME="ALT Atomic"\nID=alt-atomic-onyx\nID_LIKE=altlinux\n',
}
OTHER = {
    "Debian": 'NAME="Debian GNU/Linux"\nID=debian\n',
    "Fedora": 'NAME="Fedora Linux"\nID=fedora\n',
    "openSUSE": 'NAME=openSUSE\nID=opensuse-leap\nID_LIKE="suse opensuse"\n',
}
NEW = "p11+400000.100.1.1@1754002425"


class Alt:
    """A minion whose os-release, apt-rpm stand-in and rpm database are not this machine's."""

    def __init__(self, folder, os_release):
        require("rpmbuild")
        self.folder, self.prefix = folder, folder / "machine"
        programs = packages.install_standin(self.prefix)
        (folder / "home").mkdir()
        (folder / "home/.rpmmacros").write_text(f"%_dbpath {folder}/rpmdb\n")
        (folder / "os-release").write_text(os_release)
        self.environment = {
            **os.environ,
            "HOME": str(folder / "home"),
            "LANG": "ru_RU.UTF-8",
            "PATH": f"{programs}:{os.environ['PATH']}",
        }
        self.environment.pop("LC_ALL", None)
        subprocess.run(["rpm", "--initdb"], check=True, env=self.environment)
        mount = 'mount --bind "$0" /etc/os-release && exec "$@"'
        driver = [sys.executable, CHECKOUT / "tests/altlike_minion.py", folder / "minion", CHECKOUT]
        self.log = folder / "log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", mount, folder / "os-release", *driver],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def end(self):
        self._process.stdin.close()
        self._process.wait(30)

    def __call__(self, function, *arguments, **keywords):
        self._process.stdin.write(json.dumps([function, arguments, keywords]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self.log.read_text()
        answer = json.loads(line)
        if "raised" in answer:
            raise RuntimeError(answer["raised"])
        return answer["returned"]

    def state(self, function, name, **keywords):
        (state,) = self("state.single", function, name, **keywords).values()
        return state["result"], state["changes"], state["comment"]

    def build(self, name, evr, *built, into=None, **more):
        return packages.build(into or packages.branch(self.prefix), name, evr, *built, **more)

    def rpm(self, *words):
        return subprocess.run(
            ["rpm", *words], check=False, env=self.environment, text=True, capture_output=True
        )

    def installed(self):
        told = self.rpm("-qa", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}\\n")
        return dict(line.split() for line in told.stdout.splitlines())


@pytest.fixture
def alt(tmp_path):
    machine = Alt(tmp_path, SERVER)
    yield machine
    machine.end()


@pytest.mark.parametrize("name", [*ALT, *OTHER])
def test_is_for_alt_alone_whatever_its_name(tmp_path, monkeypatch, name):
    require("rpmbuild")
    monkeypatch.setenv("PATH", f"{packages.install_standin(tmp_path)}:{os.environ['PATH']}")
    monkeypatch.setattr(aptrpm, "_OS_RELEASE", tmp_path / "os-release")
    (tmp_path / "os-release").write_text({**ALT, **OTHER}[name])
    assert (aptrpm.__virtual__() == "pkg") == (name in ALT)


@pytest.mark.parametrize("name", ["ALT Atomic", "Debian"])
def test_loads(tmp_path, name):
    machine = Alt(tmp_path, {**ALT, **OTHER}[name])
    loaded = machine("sys.list_functions", "pkg")
    assert ("pkg.add_repo" in loaded) == (name in ALT)
    if name in ALT:
        assert machine("pkg.list_pkgs") == {}
        assert "pkgrepo.managed" not in machine("sys.list_state_functions", "pkgrepo")
    machine.end()


def test_installed(alt):
    alt.build("dnsmasq", "2.90-alt1")
    alt.build("nginx", "1.26.2-alt1", tags=["Requires: nginx-spool"])
    alt.build("nginx-spool", "1.0-alt1")
    both = ["dnsmasq", "nginx"]
    assert alt("pkg.refresh_db")
    result, changes, _ = alt.state("pkg.installed", "servers", pkgs=both, refresh=True, test=True)
    assert (result, sorted(changes)) == (None, both)  # with versions since Salt 3007
    assert alt.installed() == {}
    result, changes, _ = alt.state("pkg.installed", "servers", pkgs=both, refresh=True)
    assert result is True
    assert changes == {
        "dnsmasq": {"new": "2.90-alt1", "old": ""},
        "nginx": {"new": "1.26.2-alt1", "old": ""},
        "nginx-spool": {"new": "1.0-alt1", "old": ""},
    }
    assert alt.installed() == {
        "dnsmasq": "2.90-alt1",
        "nginx": "1.26.2-alt1",
        "nginx-spool": "1.0-alt1",
    }
    for test in (True, False):
        assert alt.state("pkg.installed", "servers", pkgs=both, test=test)[:2] == (True, {})


def test_new_packages_are_known_after_refresh(alt):
    alt("pkg.refresh_db")
    alt.build("vsftpd", "3.0.5-alt1")
    assert alt("pkg.latest_version", "vsftpd", refresh=False) == ""
    result, _, comment = alt.state("pkg.installed", "vsftpd", refresh=False)
    assert result is False
    assert "vsftpd: E: Couldn't find package vsftpd" in comment
    assert alt.state("pkg.installed", "vsftpd", refresh=True)[:2] == (
        True,
        {"vsftpd": {"new": "3.0.5-alt1", "old": ""}},
    )


def test_versions(alt):
    """By exact version, pattern and condition; the epoch need not be named. Also downgrades."""
    for evr in ("4:8.2.5019-alt1", "4:8.2.5019-alt10", "4:9.1-alt1"):
        alt.build("vim", evr)
    alt("pkg.refresh_db")
    assert alt("pkg.list_repo_pkgs", "vim") == {
        "vim": ["4:9.1-alt1", "4:8.2.5019-alt10", "4:8.2.5019-alt1"]
    }
    assert alt("pkg.list_repo_pkgs", "v*<4:9", "nano") == {
        "vim": ["4:8.2.5019-alt10", "4:8.2.5019-alt1"]
    }
    for asked, got in (
        ("8.2.5019-alt1", "4:8.2.5019-alt1"),
        (">=4:8,<4:9", "4:8.2.5019-alt1"),
        ("4:8.2.5019-alt10", "4:8.2.5019-alt10"),
        (">4:9", "4:9.1-alt1"),
        ("4:8.2*", "4:8.2.5019-alt10"),
    ):
        result, changes, comment = alt.state("pkg.installed", "vim", version=asked)
        assert result is True, comment
        assert alt("pkg.version", "vim") == got
        assert alt.state("pkg.installed", "vim", version=asked, test=True)[:2] == (True, {})
    result, changes, comment = alt.state("pkg.installed", "vim", version="4:7.0-alt1")
    assert (result, changes) == (False, {})
    assert "There is no version 4:7.0-alt1 of vim; the repositories have 4:9.1-alt1, " in comment


def test_latest_and_uptodate(alt):
    alt.build("samba", "4.19.9-alt1")
    alt.build("nginx", "1.26.2-alt1")
    assert alt.state("pkg.latest", "samba", refresh=True)[:2] == (
        True,
        {"samba": {"new": "4.19.9-alt1", "old": ""}},
    )
    assert alt.state("pkg.latest", "samba", refresh=True)[:2] == (True, {})
    assert alt.state("pkg.uptodate", "all", refresh=True)[:2] == (True, {})
    alt.build("samba", "4.20.6-alt1", NEW)
    newer = {"samba": {"new": "4.20.6-alt1", "old": "4.19.9-alt1"}}
    for function in ("pkg.latest", "pkg.uptodate"):
        result, changes, _ = alt.state(function, "samba", refresh=True, test=True)
        assert result is None
        assert changes in (newer, {})  # Salt 3006 does not say which
    assert alt("pkg.upgrade_available", "samba") is True
    assert alt("pkg.list_upgrades") == {"samba": "4.20.6-alt1"}
    assert alt.installed() == {"samba": "4.19.9-alt1"}
    assert alt.state("pkg.uptodate", "all", refresh=True)[:2] == (True, newer)
    assert alt.installed() == {"samba": "4.20.6-alt1"}
    assert alt("pkg.upgrade_available", "samba") is False
    assert alt.state("pkg.latest", "nosuch", refresh=True)[:2] == (False, {})


def test_some_uptodate(alt):
    for name in ("samba", "nginx"):
        alt.build(name, "1.0-alt1")
    alt.state("pkg.installed", "both", pkgs=["samba", "nginx"], refresh=True)
    for name in ("samba", "nginx"):
        alt.build(name, "1.0-alt2", NEW)
    assert alt.state("pkg.uptodate", "one", pkgs=["nginx"], refresh=True)[:2] == (
        True,
        {"nginx": {"new": "1.0-alt2", "old": "1.0-alt1"}},
    )
    assert alt.installed() == {"nginx": "1.0-alt2", "samba": "1.0-alt1"}


def test_built_anew_is_the_same_version(alt):
    alt.build("nginx", "1.26.2-alt1")
    alt.state("pkg.installed", "nginx", refresh=True)
    (packages.branch(alt.prefix) / "nginx-1.26.2-alt1.noarch.rpm").unlink()
    alt.build("nginx", "1.26.2-alt1", NEW)
    assert alt("pkg.list_upgrades") == {}
    assert alt.state("pkg.latest", "nginx", refresh=True)[:2] == (True, {})
    assert alt.state("pkg.installed", "nginx", version="1.26.2-alt1")[:2] == (True, {})


@pytest.mark.parametrize("function", ["pkg.removed", "pkg.purged"])
def test_removed(alt, function):
    alt.build("nginx", "1.26.2-alt1")
    alt.build("nginx-perl", "1.26.2-alt1", tags=["Requires: nginx"])
    alt.state("pkg.installed", "nginx-perl", refresh=True)
    assert alt.state(function, "nginx", test=True)[0] is None
    assert sorted(alt.installed()) == ["nginx", "nginx-perl"]
    result, changes, _ = alt.state(function, "nginx")
    gone = {name: {"new": "", "old": "1.26.2-alt1"} for name in ("nginx", "nginx-perl")}
    assert result is True
    assert changes in (gone, {"installed": gone, "removed": {}})  # as removed and purged say it
    assert alt.installed() == {}
    assert alt.state(function, "nginx")[:2] == (True, {})


def test_exit_status_is_not_trusted(alt):
    """The stand-in says 0 when rpm refused the package."""
    alt.build("broken", "1.0-alt1", scripts="%pre -p <lua>\nerror(1)\n")
    alt.build("kept", "1.0-alt1", scripts="%preun -p <lua>\nerror(1)\n")
    result, changes, comment = alt.state("pkg.installed", "broken", refresh=True)
    assert (result, changes) == (False, {})
    assert "broken: error: " in comment
    assert "broken-1.0-alt1.noarch: install failed" in comment
    assert alt.state("pkg.installed", "kept")[0] is True
    result, changes, comment = alt.state("pkg.removed", "kept")
    assert (result, changes) == (False, {})
    assert "kept: error: " in comment
    # The half that went well is told, too.
    alt.build("fine", "1.0-alt1")
    result, changes, _ = alt.state("pkg.installed", "x", pkgs=["broken", "fine"], refresh=True)
    assert (result, changes) == (False, {"fine": {"new": "1.0-alt1", "old": ""}})
    alt.build("fine", "2.0-alt1", scripts="%pre -p <lua>\nerror(1)\n")
    result, changes, comment = alt.state("pkg.uptodate", "all", refresh=True)
    assert (result, changes) == (False, {})
    assert "fine: error: " in comment
    result, changes, comment = alt.state("pkg.installed", "fine", version="2.0-alt1")
    assert (result, changes) == (False, {})
    assert "fine: error: " in comment


def test_from_a_file_and_again(alt, tmp_path):
    file = alt.build("local", "1:2-alt3", into=tmp_path)
    keywords = {"sources": [{"local": str(file)}]}
    installed = {"local": {"new": "1:2-alt3", "old": ""}}
    result, changes, comment = alt.state("pkg.installed", "x", **keywords)
    assert (result, changes) == (True, installed), comment
    assert alt.state("pkg.installed", "x", **keywords)[:2] == (True, {})
    alt.build("local", "1:2-alt3")
    alt("pkg.refresh_db")
    assert alt("pkg.install", "local", reinstall=True) == {
        "local": {"new": "1:2-alt3", "old": "1:2-alt3"}
    }


def test_what_a_package_provides(alt):
    alt.build("postfix", "3.9-alt1", tags=["Provides: MTA"])
    alt("pkg.refresh_db")
    assert alt("pkg.install", "MTA") == {"postfix": {"new": "3.9-alt1", "old": ""}}


def test_several_versions_at_once(alt):
    files = [
        alt.build("kernel-image-un-def", evr, into=alt.folder)
        for evr in ("1:6.1-alt1", "1:6.6-alt1")
    ]
    assert alt.rpm("-i", *files).returncode == 0
    assert alt("pkg.version", "kernel-image-un-def") == "1:6.1-alt1,1:6.6-alt1"
    assert alt("pkg.list_pkgs", versions_as_list=True) == {
        "kernel-image-un-def": ["1:6.1-alt1", "1:6.6-alt1"]
    }


def test_repositories(alt):
    alt.build("hello", "1.0-alt1")
    alt.build("hello", "2.0-alt1", into=packages.task(alt.prefix, 281213))
    (branch,) = alt("pkg.list_repos")
    (added,) = alt("pkg.add_repo", 281213)
    assert added.startswith("rpm http://git.altlinux.org repo/281213/")
    assert alt("pkg.add_repo", "281213") == []
    assert alt("pkg.list_repos") == [branch, added]
    assert len(alt("pkg.refresh_db")) == 2
    assert alt("pkg.latest_version", "hello", refresh=False) == "2.0-alt1"
    assert alt("pkg.remove_repo", 281213) == [added]
    assert alt("pkg.remove_repo", 281213) == []
    assert alt("pkg.latest_version", "hello") == "1.0-alt1"
    with pytest.raises(RuntimeError, match="apt-repo did not add 99: E: Task 99 not found"):
        alt("pkg.add_repo", 99)
    line = "rpm  http://198.18.0.1/repo p11/branch/noarch classic"
    assert alt("pkg.add_repo", line) == [" ".join(line.split())]
    with pytest.raises(RuntimeError, match="apt-get update failed: E: Some index files failed"):
        alt("pkg.refresh_db")
    assert len(alt("pkg.remove_repo", "all")) == 2


def test_examples_run_and_nothing_is_removed_without_arguments(alt):
    for name in ("nginx", "samba"):
        alt.build(name, "4.20-alt1")
    alt.build("hello", "1.0-alt1", into=packages.task(alt.prefix, 281213))
    documented = alt("sys.doc", "pkg")
    for name in functions("_modules/aptrpm"):
        examples = EXAMPLE.findall(documented[f"pkg.{name}"])
        assert examples, name
        for function, rest in examples:
            assert function == f"pkg.{name}"
            positional, keywords = parse_input(shlex.split(rest), condition=False)
            alt(function, *positional, **keywords)
    alt("pkg.install", "nginx")
    before, repositories = alt.installed(), alt("pkg.list_repos")
    assert before
    for name in functions("_modules/aptrpm"):
        with contextlib.suppress(RuntimeError):  # an argument is missing
            alt(f"pkg.{name}")
    assert (alt.installed(), alt("pkg.list_repos")) == (before, repositories)


@pytest.mark.parametrize("name", ["ALT Server", "ALT", "Fedora"])
def test_states_render(tmp_path, name):
    machine = Alt(tmp_path, {**ALT, **OTHER}[name])
    image = {"url": "http://192.0.2.1/a.iso", "checksum": {"sha256": "0" * 64}}
    methods = ["http", "cifs", "nfs", "ftp"]
    netboot = {"interface": "lo", "images": {"a": image}, "methods": methods}
    shown = str(machine("state.show_sls", "netboot", pillar={"netboot": netboot}))
    (site,) = {"sites-enabled.d", "sites-enabled", "conf.d"} & set(re.split(r"[/']", shown))
    assert site == ("conf.d" if name == "Fedora" else "sites-enabled.d")
    assert ("vsftpd.socket" in shown) == (name != "Fedora")
    machine.end()


VERSIONS = [
    "1",
    "1.0",
    "1.0.1",
    "1.10",
    "1.9",
    "1.a",
    "1.0a",
    "1.0~rc1",
    "1.0~",
    "1.0^git1",
    "01.0",
]
VERSIONS += ["1:0.5", "0:1.0", "2.0", "1.0.0", "1_0", "a", "1.0rc2", "1.0.rc2", "20260316", "1.05"]


def test_compares_versions_as_rpm_does(alt):
    pairs = [(f"{a}-alt1", f"{b}-alt{n}") for a in VERSIONS for b in VERSIONS for n in (1, 2)]
    script = "".join(f'print(rpm.vercmp("{a}", "{b}") .. " ")' for a, b in pairs)
    told = [int(one) for one in alt.rpm("--eval", f"%{{lua: {script}}}").stdout.split()]
    assert len(told) == len(pairs)
    for (one, other), wanted in zip(pairs, told):
        assert alt("pkg.version_cmp", one, other) == wanted, (one, other)


@pytest.mark.parametrize(
    ("one", "other", "keywords", "wanted"),
    [
        ("1.0", "1.0-alt1", {}, 0),
        ("1:1.0-alt1", "1.0-alt1", {}, 1),
        ("1:1.0-alt1", "1.0-alt1", {"ignore_epoch": True}, 0),
        ("4:8.2-alt1:p10+300891.100.2.1@1654002425", "4:8.2-alt1", {}, 0),
    ],
)
def test_compares_versions(alt, one, other, keywords, wanted):
    assert alt("pkg.version_cmp", one, other, **keywords) == wanted
