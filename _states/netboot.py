"""
Keep what clients are offered in step with the pillar and the images.
"""

import os
import shutil

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "netboot"


def __virtual__():
    return __virtualname__


def config_valid(name, problems):
    """
    Fail with all that is wrong in the pillar, one line each; also under ``test=True``.

    name
        What is checked; only shown.

    problems
        List of one-line texts, as ``netboot.config`` returns them.

    Changes nothing.

    .. code-block:: yaml

        netboot-config-valid:
          netboot.config_valid:
            - name: pillar netboot
            - problems: ["netboot:imags: unknown key, did you mean images?"]
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "The pillar is valid."}
    if problems:
        ret["result"] = False
        ret["comment"] = "The pillar has mistakes; nothing was changed:\n" + "\n".join(
            f"- {problem}" for problem in problems
        )
    return ret


def config_applied(name, config, warnings=()):
    """
    Ensure that the applied configuration is on record on the machine itself.

    name
        Name of the record.

    config
        The configuration, as ``netboot.config`` resolves it.

    warnings
        List of one-line texts that are shown with the result.

    ``changes`` has the keys that became different.

    .. code-block:: yaml

        netboot-config-applied:
          netboot.config_applied:
            - name: config
            - config: {root: /srv/export}
    """
    ret = {
        "name": name,
        "result": True,
        "changes": {},
        "comment": "The configuration on record is up to date.",
    }
    if warnings:
        ret["warnings"] = list(warnings)
    try:
        old = __salt__["netboot_records.read"]("applied", name) or {}
        if old == config:
            return ret
        ret["changes"] = {
            key: "changed" if key in old else "new"
            for key in sorted({*old, *config})
            if old.get(key) != config.get(key)
        }
        if __opts__["test"]:
            ret["result"] = None
            ret["comment"] = "The configuration would be put on record."
            return ret
        __salt__["netboot_records.write"]("applied", name, config)
        ret["comment"] = "The configuration was put on record."
    except (CommandExecutionError, OSError) as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret


def packages_installed(name, pkgs):
    """
    Ensure that packages are installed, as ``pkg.installed`` does; ``test=True`` only looks.

    Salt's own state asks the package mirror under ``test=True`` and needs root for it
    (``aptpkg.latest_version`` refreshes).

    name
        What the packages are for; only shown.

    pkgs
        Names of packages.

    ``changes`` is that of ``pkg.installed``; foretold are the names only.

    .. code-block:: yaml

        netboot-http-packages:
          netboot.packages_installed:
            - name: web server
            - pkgs: [nginx]
    """
    missing = [package for package in pkgs if not __salt__["pkg.version"](package)]
    if not missing:
        return {"name": name, "result": True, "changes": {}, "comment": "All are installed."}
    if __opts__["test"]:
        return {
            "name": name,
            "result": None,
            "changes": dict.fromkeys(missing, "would be installed"),
            "comment": f"{', '.join(missing)} would be installed.",
        }
    return __states__["pkg.installed"](name, pkgs=pkgs, refresh=True)


def firmware_copied(name, firmware, staging):
    """
    Ensure that the boot loaders that the platform's packages bring lie in the TFTP root.

    name
        The TFTP root (absolute path).

    firmware
        Maps by kind of firmware (bios, efi-x86_64, ...) with ``source`` (absolute path of the
        package's file) and ``file`` (its name in the TFTP root).

    staging
        Folder on the same filesystem, closed to others, for files being written.

    Contents are compared. ``changes`` has the files that became different.

    .. code-block:: yaml

        netboot-firmware:
          netboot.firmware_copied:
            - name: /srv/export/tftp
            - firmware:
                bios: {source: /usr/lib/ipxe/undionly.kpxe, file: undionly.kpxe}
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "All boot loaders are in place."}
    for kind, one in sorted(firmware.items()):
        path = os.path.join(name, one["file"])
        wanted, there = _content(one["source"]), _content(path)
        if wanted is None and not __opts__["test"]:
            ret["result"] = False
            ret["comment"] = f"{one['source']} is missing: its package did not bring it."
            return ret
        if wanted is None or wanted != there:
            ret["changes"][one["file"]] = "new" if there is None else "changed"
            if not __opts__["test"]:
                temporary = os.path.join(staging, one["file"])
                try:
                    shutil.copyfile(one["source"], temporary)
                    os.chmod(temporary, 0o644)
                    os.replace(temporary, path)
                except OSError as err:
                    ret["result"] = False
                    ret["comment"] = f"The boot loader for {kind} cannot be kept as {path}: {err}"
                    return ret
    if ret["changes"]:
        ret["result"] = None if __opts__["test"] else True
        would = "would be" if __opts__["test"] else "were"
        ret["comment"] = f"{len(ret['changes'])} boot loaders {would} copied."
    return ret


def _content(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def menus_written(name, config, template, staging):
    """
    Ensure that the TFTP root has the menus for the images that are ready, and no stale ones.

    The scripts of hosts are among them; hosts are read from the pillar, as thousands don't fit
    into a state.

    name
        The TFTP root (absolute path).

    config
        The configuration, as ``netboot.config`` resolves it.

    template
        ``salt://`` address of the menu's template.

    staging
        Folder on the same filesystem, closed to others, for files being written.

    Files that these states did not write are left alone. ``changes`` has the scripts that became
    different. Under ``test=True``, images that are still to be fetched count for nothing.

    .. code-block:: yaml

        netboot-menus:
          netboot.menus_written:
            - name: /srv/export/tftp
            - config: {...}
            - template: salt://netboot/files/menu.ipxe.jinja
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "All menus are up to date."}
    try:
        labels = {image["label"] for image in config["images"]}
        ready = [image for image in __salt__["netboot.images"]() if image["label"] in labels]
        built = __salt__["netboot_entries.build"](config, [*ready, *config["elsewhere"]])
        isos = {image["label"]: image["iso"] for image in ready}
        bootable = []
        for entry in built["entries"]:
            iso = isos.get(entry["label"])
            if entry["needs_iso"] and iso and not os.path.exists(iso):
                built["problems"].append(f"{entry['id']}: {iso} is not there")
            else:
                bootable.append(entry)
        cached = __salt__["cp.cache_file"](template)
        if not cached:
            raise CommandExecutionError(f"{template} is not in the state tree.")
        pillar = __pillar__.get("netboot", {})
        scripts = {
            **__salt__["netboot_hosts.scripts"](
                pillar.get("hosts") or {}, pillar.get("groups") or {}, config
            ),
            **__salt__["netboot_menus.render"](cached, config, bootable),
        }
        pillar = __pillar__.get("netboot", {})
        scripts.update(
            __salt__["netboot_hosts.scripts"](
                pillar.get("hosts") or {}, pillar.get("groups") or {}, config
            )
        )
        owned = __salt__["netboot_records.read"]("owned", "menus") or []
        ret["changes"] = __salt__["netboot_menus.difference"](name, scripts, owned)
        if __opts__["test"]:
            if ret["changes"]:
                ret["result"] = None
                ret["comment"] = "Menus would be written."
        else:
            if sorted(owned) != sorted(scripts):
                # Before the scripts, so that a run that is killed here still knows its files.
                __salt__["netboot_records.write"]("owned", "menus", sorted({*owned, *scripts}))
            if ret["changes"]:
                __salt__["netboot_menus.write"](name, scripts, ret["changes"], staging)
                ret["comment"] = f"{len(ret['changes'])} menus were written."
            if set(owned) - set(scripts):
                __salt__["netboot_records.write"]("owned", "menus", sorted(scripts))
        if built["problems"]:
            ret["result"] = False
            ret["comment"] += "\nNot in the menu: " + "; ".join(built["problems"])
    except (CommandExecutionError, SaltInvocationError) as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret
