"""
Keep the exports of file servers in step with the pillar and the images.
"""

import os
import tempfile

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import netboot_files
import netboot_run
import netboot_shares
import netboot_templates
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_exports"


def __virtual__():
    return __virtualname__


def nfs(name):
    """
    Ensure that an exports(5) file lists the directories and loop mounts that clients may read.

    name
        Path of the file, in a directory such as ``/etc/exports.d``.

    ``changes`` contains the difference.

    .. code-block:: yaml

        netboot-nfs-exports:
          netboot_exports.nfs:
            - name: /etc/exports.d/netboot.exports
    """
    with State(name, "The exports are in place.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        config = records.config()
        mounts = [image["tree"] for image in records.ready() if image.get("form") == "mount"]
        text = netboot_shares.nfs(config, mounts)
        if not state.test:
            os.makedirs(os.path.dirname(name), mode=0o755, exist_ok=True)
        netboot_templates.in_step(state, name, text, config["paths"]["etc"])
    return state.ret


def smb(name, include):
    """
    Ensure that Samba shares the directories, besides its existing shares.

    Samba's own configuration only gets a line at its end that includes the netboot shares. Both
    files are checked with testparm before anything is written.

    name
        Path of smb.conf.

    include
        Path of the file with the shares.

    ``changes`` contains the changed files. Fails if an option in smb.conf keeps guests out, with
    the option's name.

    .. code-block:: yaml

        netboot-smb-shares:
          netboot_exports.smb:
            - name: /etc/samba/smb.conf
            - include: /etc/samba/netboot.conf
    """
    with State(name, "The shares are in place.", __opts__["test"]) as state:
        old = {path: netboot_files.read(path) for path in (name, include)}
        own = netboot_shares.smb_included(old[name] or "", "")
        if state.test and not netboot_run.has("testparm"):
            state.plan({include: "new"})
            state.comment = "The shares would be added."
            return state.ret
        effective = _effective(own)
        wrong = netboot_shares.smb_contradictions(own, effective)
        if wrong:
            raise CommandExecutionError(f"{name} keeps clients out: {'; '.join(wrong)}.")
        guests = effective["map to guest"].strip().lower() == "never"
        config = Records.of(__opts__, __context__).config()
        new = {
            include: netboot_shares.smb(config, guests),
            name: netboot_shares.smb_included(own, include),
        }
        changes = {
            path: "changed" if old[path] is not None else "new"
            for path in new
            if old[path] != new[path]
        }
        if changes:
            _check(new[name], include, new[include])
            state.comment = f"The shares {'would be' if state.test else 'were'} changed."
        if state.plan(changes):
            staging = config["paths"]["etc"]
            for path, text in new.items():
                netboot_files.sweep(path)
                netboot_files.write(path, text, staging=staging)
    return state.ret


def smb_absent(name, include):
    """
    Ensure that Samba no longer shares the directories.

    name
        Path of smb.conf.

    include
        Path of the file with the shares.

    ``changes`` contains the changed files.

    .. code-block:: yaml

        netboot-smb-shares:
          netboot_exports.smb_absent:
            - name: /etc/samba/smb.conf
            - include: /etc/samba/netboot.conf
    """
    with State(name, "There are no shares.", __opts__["test"]) as state:
        text = netboot_files.read(name)
        without = text and netboot_shares.smb_included(text, "")
        changes = {name: "changed"} if text != without else {}
        if os.path.exists(include):
            changes[include] = "removed"
        if state.plan(changes):
            if name in changes:
                netboot_files.write(name, without)
            if include in changes:
                os.unlink(include)
            netboot_files.sweep(name)
            netboot_files.sweep(include)
    return state.ret


def _testparm(*argv):
    return netboot_run.tried("testparm", "--suppress-prompt", *argv)


def _effective(text):
    """Return Samba's effective options of [global], including defaults."""
    with tempfile.NamedTemporaryFile(
        "w", suffix=".conf", encoding="utf-8", errors="surrogateescape"
    ) as file:
        file.write(text)
        file.flush()
        said = _testparm("--verbose", file.name).stdout
    options = said.partition("[global]\n")[2].partition("\n[")[0].splitlines()
    pairs = (line.partition(" = ") for line in options)
    return {option.strip(): value for option, _, value in pairs}


def _check(text, include, shares):
    """Check a configuration with testparm, which exits with 0 even on unknown options."""
    with tempfile.TemporaryDirectory() as directory:
        copy = os.path.join(directory, "netboot.conf")
        with open(copy, "w", encoding="utf-8") as file:
            file.write(shares)
        whole = os.path.join(directory, "smb.conf")
        with open(whole, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text.replace(f"include = {include}", f"include = {copy}"))
        said = _testparm(whole)
    bad = [
        line
        for line in said.stderr.splitlines()
        if "nknown parameter" in line or "rror" in line or "can't find include" in line.lower()
    ]
    if said.returncode or bad:
        raise CommandExecutionError(f"testparm rejects the configuration: {(bad or ['?'])[0]}")
