"""A fresh checkout works as it is, for a user without rights, and writes only to its own cache."""

import os

import pytest


def test_show_top(checkout):
    done = checkout.run("salt-call", "state.show_top")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "- netboot" in done.stdout


def test_apply_in_test_mode_foretells_everything_and_writes_nothing_elsewhere(checkout):
    before = checkout.files()
    done = checkout.run("salt-call", "state.apply", "test=True")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would be fetched from http://" in done.stdout
    assert "Failed:     0" in done.stdout
    assert checkout.files() == before
    assert not os.path.exists("/srv/export")
    assert not os.path.exists("/var/lib/netboot")


def test_a_mistyped_key_is_named(checkout):
    pillar = 'pillar={"netboot": {"imags": {}, "interface": "lo"}}'
    for arguments in (["test=True"], []):
        done = checkout.run("salt-call", "state.apply", *arguments, pillar)
        assert done.returncode == 1
        assert "netboot:imags: unknown key, did you mean images?" in done.stdout
        assert "Failed:    1" in done.stdout
        assert "Succeeded: 0" in done.stdout


@pytest.mark.parametrize("arguments", [["demo"], ["test"], ["clean"]])
def test_what_needs_root_says_so_in_one_line(checkout, arguments):
    done = checkout.launch(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "run it as root" in done.stderr


def test_help_and_unknown_commands(checkout):
    assert "demo" in checkout.launch("help").stdout
    unknown = checkout.launch("dmeo")
    assert unknown.returncode == 2
    assert unknown.stderr == "netboot: unknown command 'dmeo', did you mean demo?\n"
