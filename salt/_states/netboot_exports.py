"""
Keep what file servers export in step with the pillar and the images.
"""

import os
import tempfile

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "netboot_exports"


def __virtual__():
    return __virtualname__


def nfs(name, config):
    """
    Ensure that an exports(5) file names the folders and the loop mounts that clients may read.

    name
        Path of the file, in a folder of its own such as ``/etc/exports.d``.

    config
        The configuration, as ``netboot.config`` resolves it.

    ``changes`` has the difference.

    .. code-block:: yaml

        netboot-nfs-exports:
          netboot_exports.nfs:
            - name: /etc/exports.d/netboot.exports
            - config: {...}
    """
    labels = {image["label"] for image in config["images"]}
    mounts = [
        image["tree"]
        for image in __salt__["netboot.images"]()
        if image.get("form") == "mount" and image["label"] in labels
    ]
    return __states__["file.managed"](
        name, contents=__salt__["netboot_exports.nfs"](config, mounts), mode="0644", makedirs=True
    )


def smb(name, include, config):
    """
    Ensure that Samba shares the folders, beside whatever it shares already.

    Its own configuration only gets a line at the end that includes ours. Both are checked as Samba
    would read them before anything is written.

    name
        Path of smb.conf.

    include
        Path of the file with the shares.

    config
        The configuration, as ``netboot.config`` resolves it.

    ``changes`` has the files that became different. Fails when smb.conf has an option that keeps
    guests out, and names it.

    .. code-block:: yaml

        netboot-smb-shares:
          netboot_exports.smb:
            - name: /etc/samba/smb.conf
            - include: /etc/samba/netboot.conf
            - config: {...}
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "The shares are in place."}
    try:
        old = {path: __salt__["netboot_files.read"](path) for path in (name, include)}
        own = __salt__["netboot_exports.smb_included"](old[name] or "", "")
        if __opts__["test"] and not __salt__["cmd.which"]("testparm"):
            ret.update(result=None, changes={include: "new"}, comment="Shares would be added.")
            return ret
        effective = _effective(own)
        wrong = __salt__["netboot_exports.smb_contradictions"](own, effective)
        if wrong:
            raise CommandExecutionError(f"{name} can't serve clients: {'; '.join(wrong)}.")
        guests = effective["map to guest"].strip().lower() == "never"
        new = {
            include: __salt__["netboot_exports.smb"](config, guests),
            name: __salt__["netboot_exports.smb_included"](own, include),
        }
        ret["changes"] = {
            path: "changed" if old[path] is not None else "new"
            for path in new
            if old[path] != new[path]
        }
        if not ret["changes"]:
            return ret
        _check(new[name], include, new[include])
        if __opts__["test"]:
            ret.update(result=None, comment="Shares would be changed.")
            return ret
        for path, text in new.items():
            __salt__["netboot_files.write"](path, text)
        ret["comment"] = "The shares were added."
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret


def smb_absent(name, include):
    """
    Ensure that Samba no longer shares the folders.

    name
        Path of smb.conf.

    include
        Path of the file with the shares.

    ``changes`` has the files that became different.

    .. code-block:: yaml

        netboot-smb-shares:
          netboot_exports.smb_absent:
            - name: /etc/samba/smb.conf
            - include: /etc/samba/netboot.conf
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "There are no shares."}
    text = __salt__["netboot_files.read"](name)
    without = text and __salt__["netboot_exports.smb_included"](text, "")
    if text != without:
        ret["changes"][name] = "changed"
    if os.path.exists(include):
        ret["changes"][include] = "removed"
    if __opts__["test"]:
        ret["result"] = None if ret["changes"] else True
        return ret
    if text != without:
        __salt__["netboot_files.write"](name, without)
    if os.path.exists(include):
        os.unlink(include)
    return ret


def _testparm(argv):
    return __salt__["cmd.run_all"](
        ["testparm", "--suppress-prompt", *argv], python_shell=False, env={"LC_ALL": "C"}
    )


def _effective(text):
    """What Samba takes the options of [global] for, those not given too."""
    with tempfile.NamedTemporaryFile(
        "w", suffix=".conf", encoding="utf-8", errors="surrogateescape"
    ) as file:
        file.write(text)
        file.flush()
        said = _testparm(["--verbose", file.name])["stdout"]
    options = said.partition("[global]\n")[2].partition("\n[")[0].splitlines()
    pairs = (line.partition(" = ") for line in options)
    return {option.strip(): value for option, _, value in pairs}


def _check(text, include, shares):
    """Read a configuration as Samba would. testparm exits with 0 on unknown options too."""
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "netboot.conf")
        with open(copy, "w", encoding="utf-8") as file:
            file.write(shares)
        whole = os.path.join(folder, "smb.conf")
        with open(whole, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text.replace(f"include = {include}", f"include = {copy}"))
        said = _testparm([whole])
    bad = [
        line
        for line in said["stderr"].splitlines()
        if "nknown parameter" in line or "rror" in line or "can't find include" in line.lower()
    ]
    if said["retcode"] or bad:
        raise CommandExecutionError(f"testparm refuses the configuration: {(bad or ['?'])[0]}")
