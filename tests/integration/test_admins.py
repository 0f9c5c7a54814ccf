"""Accounts of admins: people who log in by ssh, with real sshd and sudo."""

import subprocess
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.demo import PACKAGES
from lab.salt import CHECKOUT, SaltCall, SaltSsh

LOOK = "cat /etc/passwd /etc/shadow /etc/group; ls -l /etc/sudoers.d; "
LOOK += "cat ~root/.ssh/authorized_keys ~admin/.ssh/authorized_keys"


def new_key(path):
    """A new key pair; its public half."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", path]
    subprocess.run(argv, check=True)
    return path.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """A machine with an account `admin` of its own; keys of two people."""
    with Lab(logs=tmp_path_factory.mktemp("logs"), router=False) as lab:
        server = lab.server("netboot1", packages=PACKAGES, binds=[CHECKOUT])
        folder = tmp_path_factory.mktemp("keys")
        keys = {name: new_key(folder / name) for name in ("one", "two")}
        salt = SaltCall(server, {})

        def apply(sls, *arguments, admins=None, check=True):
            salt.write_pillar({"netboot": {"admins": admins} if admins else {}})
            done = salt.apply(server, sls, *arguments)
            assert not check or done.failed == {}
            return done

        def ssh(user, key, command="true"):
            """What a command says; None where one cannot log in or may not run it."""
            options = [f"UserKnownHostsFile={lab.known_hosts}", "BatchMode=yes", f"User={user}"]
            argv = ["ssh", "-i", str(folder / key), *(f"-o{option}" for option in options)]
            done = lab.run([*argv, server.address, command], check=False, capture_output=True)
            return None if done.returncode else done.stdout

        def look():
            return server.run(["sh", "-c", LOOK]).stdout

        yield SimpleNamespace(
            lab=lab, server=server, keys=keys, salt=salt, apply=apply, ssh=ssh, look=look
        )
        subprocess.run(["rm", "-r", folder], check=True)


def test_login_sudo_and_clean(lan):
    admins = {
        "alice": {"keys": [lan.keys["one"], lan.keys["two"]]},
        "bob": {"keys": [lan.keys["two"]], "sudo": False},
        "admin": {"keys": [lan.keys["one"]]},
    }
    lan.apply("netboot")  # packages bring accounts of their own
    before = lan.look()
    assert "netboot-admins" in lan.apply("netboot.admins", "test=True", admins=admins).changed
    assert lan.look() == before
    assert lan.ssh("alice", "one") is None

    # It belongs to the whole, as the pillar has some.
    assert set(lan.apply("netboot", admins=admins).changed["netboot-admins"]) == {
        "/etc/sudoers.d/netboot",
        *admins,
    }
    assert lan.ssh("alice", "one", "sudo -n id -u") == "0\n"
    assert lan.ssh("alice", "two", "sudo -n id -u") == "0\n"
    assert lan.ssh("bob", "two") == ""
    assert lan.ssh("bob", "one") is None
    assert lan.ssh("bob", "two", "sudo -n id -u") is None
    assert lan.ssh("admin", "one") == ""
    # admin was there before, with a line for sudo of its own
    sudoers = lan.server.run(["cat", "/etc/sudoers.d/netboot"]).stdout
    assert [line.split()[0] for line in sudoers.splitlines()[1:]] == ["alice"]
    for arguments in ((), ("test=True",)):
        assert lan.apply("netboot.admins", *arguments, admins=admins).changed == {}

    # A key less, in whatever line it stands, and somebody less.
    lan.ssh("alice", "one", f"echo '{lan.keys['two']} own' >> .ssh/authorized_keys")
    fewer = {"alice": {"keys": [lan.keys["one"]]}, "admin": admins["admin"]}
    changed = lan.apply("netboot.admins", admins=fewer).changed["netboot-admins"]
    assert set(changed) == {"alice", "bob"}
    assert lan.ssh("alice", "two") is None
    assert lan.ssh("alice", "one", "sudo -n id -u") == "0\n"
    assert lan.ssh("bob", "two") is None

    applied = lan.look()
    assert "netboot-clean-admins" in lan.apply("netboot.clean", "test=True").changed
    assert lan.look() == applied
    lan.apply("netboot.clean")
    assert lan.look() == before
    assert lan.ssh("alice", "one") is None
    assert lan.ssh("admin", "one") is None
    assert lan.server.run(["test", "-d", "/home/alice/.ssh"]).returncode == 0
    assert "netboot-clean-admins" not in lan.apply("netboot.clean").changed


@pytest.mark.long
def test_who_applies_stays(lan):
    """In the home that was left."""
    # The key that salt-ssh uses.
    key = lan.server.ssh_key.with_suffix(".pub").read_text().strip()
    admins = {"alice": {"keys": [key]}, "bob": {"keys": [lan.keys["two"]]}}
    lan.apply("netboot.admins", admins=admins)
    alice = SaltSsh(lan.lab, [lan.server], {"netboot": {}}, user="alice")
    done = alice.apply(lan.server, "netboot.clean")
    assert done.failed == {}
    clean = done.states["netboot-clean-admins"]
    assert "bob" in clean["changes"]
    assert "alice" not in clean["changes"]
    stays = "alice stays, as it applies these states; apply from another account."
    assert clean["warnings"] == [stays]
    assert alice.call(lan.server, "cmd.run", "id -u") == "0"
    assert lan.apply("netboot.clean").changed["netboot-clean-admins"]["alice"] == "removed"
    assert lan.server.run(["id", "alice"], check=False).returncode != 0
    assert lan.server.run(["test", "-e", "/var/lib/netboot"], check=False).returncode != 0


def test_home_of_somebody_else_is_not_handed_over(lan):
    lan.server.run(["install", "-d", "-o", "admin", "/home/carol"])
    done = lan.apply("netboot.admins", admins={"carol": {"keys": [lan.keys["one"]]}}, check=False)
    assert "/home/carol belongs to another account" in done.failed["netboot-admins"]["comment"]
    assert lan.server.run(["id", "carol"], check=False).returncode != 0

    # Somebody makes the account by hand: it is theirs, and gets keys alone.
    lan.server.run(["useradd", "--no-create-home", "carol"])
    lan.server.run(["chown", "carol", "/home/carol"])
    lan.apply("netboot.admins", admins={"carol": {"keys": [lan.keys["one"]]}})
    assert lan.server.run(["test", "-e", "/etc/sudoers.d/netboot"], check=False).returncode != 0
    lan.apply("netboot.clean")
    assert lan.server.run(["id", "carol"]).returncode == 0


def test_nobody_keeps_himself_or_others_in(lan):
    """By what is in a home, or by being logged in."""
    keys = {"keys": [lan.keys["one"]]}
    lan.apply("netboot.admins", admins={"dave": keys, "erin": keys})
    lan.ssh("dave", "one", "mkdir .ssh/authorized_keys.netboot; nohup sleep 600 >/dev/null 2>&1 &")
    lan.ssh("erin", "one", "rm .ssh/authorized_keys; mkfifo .ssh/authorized_keys")
    done = lan.apply("netboot.admins", admins={"erin": keys, "frank": keys}, check=False)
    assert "The keys of erin cannot be" in done.failed["netboot-admins"]["comment"]
    assert lan.server.run(["id", "dave"], check=False).returncode != 0
    assert lan.ssh("frank", "one", "sudo -n id -u") == "0\n"
    lan.apply("netboot.clean")
    for user in ("erin", "frank"):
        assert lan.server.run(["id", user], check=False).returncode != 0


@pytest.mark.long
def test_sudoers_of_somebody_else_stay(lan):
    line, path = "%ops ALL=(ALL) ALL\n", "/etc/sudoers.d/netboot"
    lan.server.run(["tee", path], input=line)
    lan.apply("netboot.clean")
    done = lan.apply("netboot.admins", admins={"gina": {"keys": [lan.keys["one"]]}}, check=False)
    assert f"{path} is a foreign file" in done.failed["netboot-admins"]["comment"]
    assert lan.server.run(["cat", path]).stdout == line
    lan.server.run(["rm", path])
    lan.apply("netboot.clean")


@pytest.mark.long
def test_sudoers_that_visudo_refuses_is_not_put_in_place(lan):
    visudo = "/usr/local/sbin/visudo"
    lan.apply("netboot.admins", admins={"henry": {"keys": [lan.keys["one"]]}})
    before = lan.look()
    lan.server.run(["tee", visudo], input="#!/bin/sh\nexit 1\n")
    lan.server.run(["chmod", "755", visudo])
    without = {"henry": {"keys": [lan.keys["one"]]}, "ivan": {"keys": [lan.keys["two"]]}}
    done = lan.apply("netboot.admins", admins=without, check=False)
    lan.server.run(["rm", visudo])
    assert "visudo rejects" in done.failed["netboot-admins"]["comment"]
    assert "ivan ALL" not in lan.server.run(["cat", "/etc/sudoers.d/netboot"]).stdout
    assert lan.ssh("henry", "one", "sudo -n id -u") == "0\n"
    lan.apply("netboot.admins", admins=without)
    assert lan.ssh("ivan", "two", "sudo -n id -u") == "0\n"
    assert before != lan.look()
    lan.apply("netboot.clean")
