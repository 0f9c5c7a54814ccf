"""
A mirror, two sites behind slow links, and a real master: one image crosses each link once.

The servers of the sites are mirrors with a site, which fetch and serve as all servers do, and need
nothing but a web server. The mirror is behind the links, as is where its ISOs come from.
"""

import contextlib
import hashlib
import os
import threading
import time
from types import SimpleNamespace

import pytest
import yaml

from lab import Lab
from lab.host import LabError
from lab.master import VENV, Master
from lab.relay import Relay
from lab.salt import CHECKOUT
from tests.accepting import wait_until
from tests.servers import INSTALLED

LONG = pytest.mark.long
SITES = {"msk": ("msk1", "msk2", "msk3"), "spb": ("spb1", "spb2")}
MIB = 1 << 20
#: Bytes a second over a link.
RATE = 6 * MIB


@contextlib.contextmanager
def made_fleet(tmp_path_factory, sites, mirror):
    """A master, these sites, and perhaps a mirror; all are minions and nothing was applied."""
    upstream = tmp_path_factory.mktemp("upstream")
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        web = lab.web(upstream)
        link = Relay(lab, 8100, lab.address, 8000, RATE)
        pillar = {"interface": "eth0", "mirror": "only", "images": {}}
        master = Master(lab, {"netboot": pillar})
        top = {"*": ["all"], **{f"{site}*": [site] for site in sites}}
        for site in sites:
            write(master, site, {"netboot": {"site": site}})
        write(master, "top", {"base": top})
        (master.directory / "states").mkdir()
        (master.directory / "states/top.sls").write_text("base: {'*': [netboot]}\n")
        names = [name for site in sites.values() for name in site] + ["mirror"] * mirror
        machines = {
            name: lab.server(name, installed=INSTALLED, binds=[CHECKOUT, VENV]) for name in names
        }
        for machine in machines.values():
            master.add_minion(machine)
        yield SimpleNamespace(
            lab=lab, web=web, link=link, master=master, machines=machines, upstream=upstream,
            pillar=pillar,
        )  # fmt: skip


def write(master, name, data):
    (master.directory / "pillar" / f"{name}.sls").write_text(yaml.safe_dump(data))


def publish(fleet, name, mib, url=None, **pillar):
    """A new image on the upstream server, and in the pillar; returns its bytes."""
    content = os.urandom(mib * MIB)
    (fleet.upstream / f"{name}.iso").write_bytes(content)
    image = {
        "url": f"{url or fleet.link.url}/{name}.iso",
        "checksum": {"sha256": hashlib.sha256(content).hexdigest()},
    }
    fleet.pillar = {**fleet.pillar, **pillar, "images": {**fleet.pillar["images"], name: image}}
    write(fleet.master, "all", {"netboot": fleet.pillar})
    return content


def apply(fleet, *names):
    """state.apply on all of these at once; their results by name."""
    found = {}

    def run(name):
        try:
            found[name] = fleet.master.apply(fleet.machines[name])
        except LabError as err:
            found[name] = err

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def right(found):
    return {
        name: one.failed if not isinstance(one, LabError) else one for name, one in found.items()
    }


def has(fleet, name, file, content):
    return (fleet.machines[name].files / f"srv/export/dist/{file}.iso").read_bytes() == content


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with made_fleet(tmp_path_factory, {"msk": SITES["msk"][:2]}, mirror=0) as found:
        yield found


def test_two_servers_of_a_site_cost_one_download(fleet):
    content = publish(fleet, "a", 32)
    before = fleet.link.crossed()
    found = apply(fleet, *fleet.machines)
    assert right(found) == dict.fromkeys(fleet.machines, {})
    assert fleet.link.crossed() - before < 1.02 * len(content)
    assert all(has(fleet, name, "a", content) for name in fleet.machines)
    publish(fleet, "aa", 1)
    assert right(apply(fleet, "msk1")) == {"msk1": {}}
    again = apply(fleet, "msk1")["msk1"]
    assert (again.failed, again.changed) == ({}, {})


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    with made_fleet(tmp_path_factory, SITES, mirror=1) as found:
        found.names = [name for site in SITES.values() for name in site]
        # The sites reach the mirror over a link of their own.
        found.to_mirror = Relay(found.lab, 8101, found.machines["mirror"].address, 80, RATE)
        write(found.master, "mirror", {"netboot": {"share_url": found.to_mirror.url}})
        top = {"mirror": ["mirror"], "*": ["all"], **{f"{site}*": [site] for site in SITES}}
        write(found.master, "top", {"base": top})
        yield found


@LONG
def test_mirror_fetches_and_each_site_fetches_once_from_it(company):
    content = publish(company, "b", 48)
    assert right(apply(company, "mirror")) == {"mirror": {}}
    before = company.link.crossed()
    assert right(apply(company, *company.names)) == dict.fromkeys(company.names, {})
    assert company.link.crossed() == before
    assert company.to_mirror.crossed() < 2 * 1.02 * len(content)
    assert all(has(company, name, "b", content) for name in company.names)


@LONG
def test_mirror_that_dies_in_the_middle_is_left_within_seconds(company):
    content = publish(company, "c", 96)
    assert right(apply(company, "mirror")) == {"mirror": {}}
    before = company.to_mirror.crossed(), company.link.crossed()
    done = {}
    thread = threading.Thread(target=lambda: done.update(apply(company, *SITES["msk"])))
    thread.start()
    wait_until(lambda: company.to_mirror.crossed() - before[0] > 30 * MIB, 120)
    company.to_mirror.cut()
    cut_at, crossed = time.monotonic(), company.to_mirror.crossed() - before[0]
    wait_until(lambda: company.link.crossed() > before[1], 60)
    lost = time.monotonic() - cut_at
    thread.join()
    again = crossed + company.link.crossed() - before[1] - len(content)
    print(f"{lost:.1f} s lost, {again / MIB:.1f} MiB fetched again")
    assert right(done) == dict.fromkeys(SITES["msk"], {})
    assert all(has(company, name, "c", content) for name in SITES["msk"])
    assert lost < 10
    assert again < 16 * MIB
    assert company.to_mirror.url in company_said(done)


def company_said(done):
    """What the states said that fetched."""
    return "\n".join(
        str([state["comment"], state.get("warnings")])
        for one in done.values()
        for name, state in one.states.items()
        if name.endswith("-fetched")
    )


@LONG
def test_server_that_dies_while_it_fetches_is_replaced(company):
    """Its bytes are lost with it, so the site's link carries the image once more, at most."""
    content = publish(company, "d", 96)
    before = company.link.crossed()
    done = {}
    thread = threading.Thread(target=lambda: done.update(apply(company, *SITES["msk"])))
    thread.start()
    wait_until(lambda: company.link.crossed() - before > 30 * MIB, 120)
    company.machines["msk1"].kill()
    thread.join()
    assert {name: right(done)[name] for name in SITES["msk"][1:]} == {"msk2": {}, "msk3": {}}
    assert all(has(company, name, "d", content) for name in SITES["msk"][1:])
    assert company.link.crossed() - before < len(content) + 40 * MIB
    company.machines["msk1"].start()
