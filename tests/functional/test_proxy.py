"""The proxy of the pillar: for ISOs, and for the programs that install packages."""

import os

import pytest
from salt.exceptions import CommandExecutionError

import iso_sources
import netboot_proxy
from iso_download import Fetches, How

from .sources import BadWeb, serving
from .test_iso_fetch import BODY, DIGESTS

DIRECT = ["192.0.2.0/30", "198.18.0.0/15"]


@pytest.fixture
def bad():
    with serving(BadWeb()) as server:
        server.files["/a.iso"] = BODY
        yield server


@pytest.fixture
def config(bad):
    """That of a pillar with the server as the proxy; it is used."""
    config = {"proxy": {"url": bad.url, "direct": DIRECT}}
    netboot_proxy.use(config)
    yield config
    netboot_proxy.use({})


def test_pillar_resolves_to_it(configured):
    config = configured({"proxy": "http://192.0.2.9:3128/"})
    assert config["proxy"]["url"] == "http://192.0.2.9:3128"
    assert f"{config['network']}/24" in config["proxy"]["direct"]
    assert configured()["proxy"] == {"url": "", "direct": []}


@pytest.mark.parametrize("host", ["mirror.invalid", "mirror.invalid:8080", "203.0.113.1"])
def test_iso_comes_through_it(bad, config, tmp_path, host):
    (tmp_path / "staging").mkdir()
    fetches = Fetches(How(str(tmp_path / "staging"), 1, 60), {})
    fetches.fetch([f"http://{host}/a.iso"], str(tmp_path / "a.iso"), {"sha256": DIGESTS["sha256"]})
    assert bad.asked == [(f"http://{host}/a.iso", None, None)]


def test_pillar_wins_over_the_environment(bad, config, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "mirror.invalid")
    assert iso_sources.open_source("http://mirror.invalid/a.iso", 5).total == len(BODY)
    assert len(bad.asked) == 1
    netboot_proxy.use({})
    assert netboot_proxy.of("http://other.invalid/a.iso") == "http://127.0.0.1:9"
    assert netboot_proxy.of("http://mirror.invalid/a.iso") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "192.0.2.1", "198.19.255.1:80"])
def test_neighbours_are_asked_without_it(bad, config, host):
    assert netboot_proxy.of(f"http://{host}/a.iso") is None
    assert netboot_proxy.bypassed(host)


def test_iso_of_a_neighbour_comes_without_it(config, tmp_path):
    with serving(BadWeb()) as near:
        near.files["/a.iso"] = BODY
        assert iso_sources.open_source(f"{near.url}/a.iso", 5).total == len(BODY)
        assert [path for path, *_ in near.asked] == ["/a.iso"]


def test_ftp_goes_through_it(bad, config):
    bad.files["/p11/a.iso"] = BODY
    assert iso_sources.open_source("ftp://mirror.invalid/p11/a.iso", 5).total == len(BODY)
    assert bad.asked[0][0] == "ftp://mirror.invalid/p11/a.iso"


# Notes the variables that it gets, and installs nothing.
APT_GET = """#!/bin/sh
env >>{log}
"""


def test_packages_come_through_it(states, configured, tmp_path, monkeypatch):
    configured({"proxy": "http://192.0.2.9:3128"}, proxy={"url": "http://p", "direct": DIRECT})
    program, log = tmp_path / "bin/apt-get", tmp_path / "log"
    program.parent.mkdir()
    program.write_text(APT_GET.format(log=log))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("no_proxy", "before")
    with pytest.MonkeyPatch.context() as without:
        without.delenv("http_proxy", raising=False)
        done = states.netboot_packages.installed(name="x", pkgs=["no-such-package-netboot"])
        assert done.result is False  # as the stand-in installs nothing
        assert "http_proxy" not in os.environ
    seen = dict(line.split("=", 1) for line in log.read_text().splitlines() if "=" in line)
    assert seen["http_proxy"] == seen["https_proxy"] == "http://p"
    without = seen["no_proxy"].split(",")
    assert {"127.0.0.1", "192.0.2.0/30", "192.0.2.1", "198.18.0.0/15"} <= set(without)
    assert "198.18.0.1" not in without
    assert os.environ["no_proxy"] == "before"


def test_proxy_that_does_not_answer_is_named(config, tmp_path):
    netboot_proxy.use({"proxy": {"url": "http://127.0.0.1:9", "direct": []}})
    (tmp_path / "staging").mkdir()
    fetches = Fetches(How(str(tmp_path / "staging"), 1, 60), {})
    with pytest.raises(CommandExecutionError, match="Connection refused"):
        fetches.fetch(["http://mirror.invalid/a.iso"], str(tmp_path / "a.iso"), {"sha256": "0"})
