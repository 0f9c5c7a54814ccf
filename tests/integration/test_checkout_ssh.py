"""salt-ssh from a fresh checkout, by a user without rights, through its Saltfile and conf/."""

import os
import pty
import re
import shutil
import subprocess

import pytest
import yaml

from lab.network import inside

# ./netboot ssh, which looks at fetches each second.
OFTEN = "import sys; from cli import __main__, applying; applying._EVERY_S = 0.3; "
OFTEN += "__main__.main(*sys.argv[1:])"


@pytest.fixture(scope="module")
def roster(lan, checkout):
    """Write a roster with the server; the arguments are of its entry."""
    key = checkout.base / "key"
    shutil.copy(lan.server.ssh_key, key)
    # As an installed one: .venv belongs to another checkout.
    program = checkout.base / "bin/salt-ssh"
    program.parent.mkdir()
    venv = checkout.venv / "bin"
    program.write_text(f'#!{venv}/python\nexec(open("{venv}/salt-ssh").read())\n')
    program.chmod(0o755)

    def write(**entry):
        known_hosts = checkout.base / "known_hosts"
        known_hosts.unlink(missing_ok=True)
        entry = {"host": lan.server.address, "user": "admin", "sudo": True, **entry}
        entry = {"priv": str(key), "ssh_options": [f"UserKnownHostsFile={known_hosts}"], **entry}
        (checkout.path / "conf/roster").write_text(yaml.safe_dump({"netboot1": entry}))
        checkout.give_away()

    return write


def test_salt_ssh_with_the_checkouts_own_configuration(lan, checkout, roster):
    roster()
    before = checkout.files()
    arguments = ["-i", "netboot*", "state.apply", "test=True"]
    done = checkout.run("salt-ssh", *arguments, inside=inside(lan.lab.name))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would be fetched from http://" in done.stdout
    assert "Failed:     0" in done.stdout
    assert checkout.files() - before <= {checkout.base / "known_hosts"}


def sees(lan, checkout, *words):
    """What a first `./netboot ssh` prints that fails."""
    done = checkout.launch("ssh", "netboot1", "test=True", *words, inside=inside(lan.lab.name))
    assert done.returncode, done.stdout
    assert done.stderr == ""
    *question, machine, said = done.stdout.splitlines()  # salt-ssh's own, answered for nobody
    assert machine.removeprefix("[Y/n] ") == "netboot1:"
    assert len(question) < 2
    return said


def test_host_key_that_is_not_known(lan, checkout, roster):
    roster()
    assert sees(lan, checkout).startswith("FAILED   its host key is not known here. Log in once")


def test_key_that_the_machine_refuses(lan, checkout, roster):
    other = checkout.base / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    roster(priv=str(other))
    assert sees(lan, checkout, "-i").startswith("FAILED   it refuses the key. Name the right one")


def test_user_whose_sudo_asks_for_a_password(lan, checkout, roster):
    makes = """useradd --create-home carol; echo 'carol ALL=(ALL) ALL' > /etc/sudoers.d/carol
    cp -r /home/admin/.ssh /home/carol; chown -R carol: /home/carol"""
    lan.server.run(["sh", "-ec", makes])
    roster(user="carol")
    assert sees(lan, checkout, "-i").startswith("FAILED   sudo asks for a password there. Allow")


def write_pillar(lan, checkout, web):
    image = {"url": f"{web.url}/{lan.iso.path.name}", "checksum": {"sha256": lan.iso.sha256}}
    pillar = {"netboot": {"interface": "eth0", "images": {"ALT p11": image}}}
    (checkout.path / "pillar/netboot.sls").write_text(yaml.safe_dump(pillar))


def test_first_apply_asks_and_shows_fetches(lan, checkout, roster):
    """On a terminal, to a machine that has a slow mirror."""
    roster()
    slow = lan.lab.web(lan.iso.path.parent, port=8001, rate=lan.iso.size // 6)
    write_pillar(lan, checkout, slow)
    python, program = checkout.venv / "bin/python", checkout.base / "bin/salt-ssh"
    command = [python, "-c", OFTEN, program, "ssh", "netboot1", "-i"]
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        checkout.as_nobody(command, inside(lan.lab.name)),
        cwd=checkout.path,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    text = answered(ours)
    assert running.wait() == 0, text
    question = f"netboot1 becomes a netboot server for clients on eth0 ({lan.server.address}), "
    assert f"{question}beside the network's DHCP server. Go on? [y/N] " in text
    fetches = re.findall(rf"netboot1: {lan.iso.path.name}: (\d+) %, [\d.]+ [kM]B/s, ", text)
    assert fetches, text
    assert sorted(map(int, fetches)) == list(map(int, fetches))
    assert "Ready to boot: ALT p11." in text
    # Its questions left the modules alone that the apply was loading.
    modules = "/var/tmp/.admin_*/running_data/var/cache/salt/minion/extmods/states"
    after = f"/srv/export/dist/{lan.iso.path.name}"
    sent = f"test -d {modules} && find {modules} -name '*.py' -newercc {after}"
    assert lan.server.run(["sh", "-ec", sent]).stdout == ""


@pytest.mark.long
def test_hosts_are_imported_for_a_machine_over_ssh(lan, checkout, roster):
    """Checked by the pillar and the facts of that machine."""
    roster(ssh_options=["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"])
    (checkout.base / "pcs.csv").write_text("name,mac\npc1,52:54:00:00:01:01\n")
    words = ["hosts", "import", f"{checkout.base}/pcs.csv", "--on", "netboot1"]
    done = checkout.launch(*words, "--yes", inside=inside(lan.lab.name))
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 host written. Next: ./netboot apply (or ./netboot ssh TARGET)" in done.stdout
    assert yaml.safe_load((checkout.path / "pillar/netboot_hosts.sls").read_text()) == {
        "netboot": {"hosts": {"pc1": {"mac": "52:54:00:00:01:01"}}}
    }
    (checkout.base / "pcs.csv").write_text("name,mac\npc2,52:54:00:00:01:01\n")
    done = checkout.launch(*words, "--yes", inside=inside(lan.lab.name))
    assert "netboot:hosts:pc2: has the same mac" in done.stderr


@pytest.mark.long
def test_another_machine_looks(lan, checkout, roster):
    """`check --from`: it sees that TFTP is dropped on its way, which the server itself cannot."""
    other = lan.lab.server("pc2", installed=["nftables"])
    shutil.copy(other.ssh_key, checkout.base / "key2")
    roster(ssh_options=["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"])
    file = checkout.path / "conf/roster"
    entries = yaml.safe_load(file.read_text())
    entries["pc2"] = {**entries["netboot1"], "host": other.address}
    entries["pc2"]["priv"] = str(checkout.base / "key2")
    file.write_text(yaml.safe_dump(entries))
    write_pillar(lan, checkout, lan.web)
    checkout.give_away()
    done = checkout.run("salt-ssh", "netboot1", "state.apply", inside=inside(lan.lab.name))
    assert done.returncode == 0, done.stdout + done.stderr
    words = ["check", "--from", "pc2", "--on", "netboot1"]
    good = checkout.launch(*words, inside=inside(lan.lab.name))
    assert (good.returncode, good.stderr) == (0, "")
    assert "netboot1 from pc2:" in good.stdout
    assert "bios gets all of" in good.stdout
    chain = "nft add chain inet lab out '{ type filter hook output priority 0; }'"
    drop = f"nft add table inet lab; {chain}; nft add rule inet lab out udp dport 69 drop"
    other.run(["sh", "-ec", drop])
    bad = checkout.launch(*words, inside=inside(lan.lab.name))
    assert bad.returncode == 2
    assert "no answer on UDP 69" in bad.stdout


def answered(terminal):
    """What is printed on a terminal until its end; the question is answered."""
    text = ""
    while True:
        try:
            piece = os.read(terminal, 4096).decode()
        except OSError:  # nobody has it open any more
            piece = ""
        if not piece:
            os.close(terminal)
            return text
        if "Go on?" in text + piece and "Go on?" not in text:
            os.write(terminal, b"y\n")
        text += piece
