"""A new revision crosses from a mirror to a server as what changed, by real nginx and zsync."""

import hashlib
import json
import os
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.salt import CHECKOUT, SaltCall
from tests.servers import INSTALLED

pytestmark = pytest.mark.long
MIB = 1 << 20
SIZE = 80 * MIB


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An upstream server, a mirror, and a server that asks the mirror."""
    upstream = tmp_path_factory.mktemp("upstream")
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        web = lab.web(upstream)
        machines = {
            name: lab.server(name, packages=["zsync"], installed=INSTALLED, binds=[CHECKOUT])
            for name in ("mirror", "server")
        }
        for machine in machines.values():
            machine.run(["apt-get", "-qq", "update"])
        salts = {name: SaltCall(machine, {}) for name, machine in machines.items()}
        yield SimpleNamespace(web=web, machines=machines, salts=salts, upstream=upstream)


def apply(site, content, name="a.iso"):
    """Publish a revision and apply to both; the state that fetched it on the server."""
    (site.upstream / name).write_bytes(content)
    image = {
        "url": f"{site.web.url}/{name}",
        "checksum": {"sha256": hashlib.sha256(content).hexdigest()},
    }
    pillar = {"interface": "eth0", "mirror": "only", "deltas": True, "images": {"A": image}}
    mirrors = {"mirrors": [f"http://{site.machines['mirror'].address}/dist"]}
    for machine, more in (("mirror", {}), ("server", {**mirrors, "fetch": {"from": ["mirrors"]}})):
        site.salts[machine].write_pillar({"netboot": {**pillar, **more}})
        done = site.salts[machine].apply(site.machines[machine])
        assert done.failed == {}, json.dumps(done.failed, indent=1)
    digest = site.machines["server"].run(["sha256sum", f"/srv/export/dist/{name}"]).stdout
    assert digest.split()[0] == image["checksum"]["sha256"]
    return done.states["netboot-image-a-fetched"]


def sent(site):
    """Bytes that went out of the mirror."""
    lines = site.machines["mirror"].run(["cat", "/proc/net/dev"]).stdout.splitlines()
    (line,) = (line for line in lines if line.strip().startswith("eth0:"))
    return int(line.partition(":")[2].split()[8])


def test_refreshed_iso_costs_what_changed(site):
    old = os.urandom(SIZE)
    assert "reused" not in apply(site, old)["comment"]
    new = old[: 10 * MIB] + os.urandom(2 * MIB) + old[12 * MIB :]
    before = sent(site)
    comment = apply(site, new)["comment"]
    assert "0.08 of 0.08 GB reused" in comment
    cost = sent(site) - before
    # 2.5 % changed; and the control file.
    assert 2 * MIB < cost < 4 * MIB, cost
    print(f"{cost / len(new):.1%} of the ISO crossed for {2 * MIB / len(new):.1%} changed")
    other = apply(site, old[: 5 * MIB] + new[5 * MIB :] + b"x", name="a-2.iso")
    assert "reused" in other["comment"]
    staging = site.machines["server"].run(["ls", "-A", "/srv/export/.staging"]).stdout
    assert staging == ""
