"""salt-ssh from a fresh checkout, by a user without rights, through its Saltfile and conf/."""

import shutil

import yaml

from lab.network import inside


def test_salt_ssh_with_the_checkouts_own_configuration(lan, checkout):
    key = checkout.base / "key"
    shutil.copy(lan.server.ssh_key, key)
    roster = {
        "netboot1": {
            "host": lan.server.address,
            "user": "admin",
            "sudo": True,
            "priv": str(key),
            "ssh_options": [f"UserKnownHostsFile={checkout.base / 'known_hosts'}"],
        }
    }
    (checkout.path / "conf/roster").write_text(yaml.safe_dump(roster))
    checkout.give_away()
    before = checkout.files()
    arguments = ["-i", "netboot*", "state.apply", "test=True"]
    done = checkout.run("salt-ssh", *arguments, inside=inside(lan.lab.name))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would be fetched from http://" in done.stdout
    assert "Failed:     0" in done.stdout
    assert checkout.files() - before <= {checkout.base / "known_hosts"}
