"""A real master that accepts the keys of hosts that its netboot server installs."""

import subprocess
import time

import yaml

from lab.master import Master
from lab.salt import PROGRAMS


def accepting_master(lab, server, pillar, **minion):
    """Start a master with our reactor, and on this server a minion of it, with these arguments.

    pillar: of the netboot server, what is below `netboot`. The machine must see VENV of lab.master.
    """
    master = Master(
        lab,
        {"netboot": pillar},
        auto_accept=False,
        gather_job_timeout=5,
        module_dirs=[],  # as with gitfs
        reactor=[{"netboot/minion/key": ["salt://reactor/netboot_minions.sls"]}],
    )
    # Nobody else has the pillar of a netboot server.
    top = {"base": {server.name: ["all"], "netboot2": ["hostile"]}}
    (master.directory / "pillar/top.sls").write_text(yaml.safe_dump(top))
    (master.directory / "pillar/hostile.sls").write_text(yaml.safe_dump({}))
    accept(master, server.name, _server_key(server))
    config = f"--config-dir={master.directory}"
    lab.run([str(PROGRAMS / "salt-run"), config, "saltutil.sync_runners"])
    master.add_minion(server, **minion)
    return master


def keys_of(master):
    """The directory of its keys."""
    return master.directory / "etc/salt/pki/master"


def accept(master, name, public):
    """As an admin does with salt-key."""
    accepted = keys_of(master) / "minions"
    wait_until(accepted.is_dir)
    (accepted / name).write_text(public)


def _server_key(server):
    """Make the keys of the netboot server's minion; returns the public one."""
    pem, public = new_key()
    pki = "/etc/salt/pki/minion"
    server.run(["mkdir", "-p", pki])
    server.run(["tee", f"{pki}/minion.pub"], input=public)
    server.run(["install", "-m", "0400", "/dev/stdin", f"{pki}/minion.pem"], input=pem)
    return public


def new_key(bits=2048):
    """A private key, and its public half."""
    pem = openssl("genrsa", str(bits))
    return pem, openssl("rsa", "-pubout", input=pem)


def openssl(*words, input=None):
    done = subprocess.run(
        ["openssl", *words], input=input, check=True, capture_output=True, text=True
    )
    return done.stdout


def wait_until(condition, timeout=30):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not so after {timeout} s"
        time.sleep(0.3)
