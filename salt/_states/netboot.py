"""
Keep what clients are offered in step with the pillar and the images.
"""

import os

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
            __salt__["netboot_records.foretell"]("applied", name, config)
            ret["result"] = None
            ret["comment"] = "The configuration would be put on record."
            return ret
        __salt__["netboot_records.write"]("applied", name, config)
        ret["comment"] = "The configuration was put on record."
    except (CommandExecutionError, OSError) as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret


def packages_installed(name, pkgs, silence=()):
    """
    Ensure that packages are installed, as ``pkg.installed`` does; ``test=True`` only looks.

    Salt's own state asks the package mirror under ``test=True`` and needs root for it
    (``aptpkg.latest_version`` refreshes).

    name
        What the packages are for; only shown.

    pkgs
        Names of packages.

    silence
        Services that such a package starts by itself and that must not run: they are stopped and
        disabled, but only when the package was not there before.

    ``changes`` is that of ``pkg.installed``; foretold are the names only.

    .. code-block:: yaml

        netboot-http-packages:
          netboot.packages_installed:
            - name: web server
            - pkgs: [nginx]
    """
    missing = [package for package in pkgs if not __salt__["pkg.version"](package)]
    if missing and __opts__["test"]:
        return {
            "name": name,
            "result": None,
            "changes": dict.fromkeys(missing, "would be installed"),
            "comment": f"{', '.join(missing)} would be installed.",
        }
    ret = {"name": name, "result": True, "changes": {}, "comment": "All are installed."}
    if missing:
        # Before they are installed: a run that is killed then still knows whose services they are.
        _remember_silenced(silence)
        # Samba's recommended ones are a domain controller's and as large as all the rest.
        ret = __states__["pkg.installed"](name, pkgs=pkgs, refresh=True, install_recommends=False)
    for service in _silenced(silence):
        if __salt__["service.status"](service) or __salt__["service.enabled"](service):
            ret["changes"][service] = "stopped and disabled"
            if __opts__["test"]:
                ret["result"] = None
            else:
                __salt__["service.stop"](service)
                __salt__["service.disable"](service)
    return ret


def _silenced(services):
    known = __salt__["netboot_records.read"]("owned", "silenced") or []
    return [service for service in services if service in known]


def _remember_silenced(services):
    known = __salt__["netboot_records.read"]("owned", "silenced") or []
    if set(services) - set(known):
        __salt__["netboot_records.write"]("owned", "silenced", sorted({*known, *services}))


def firmware_copied(name, files, staging):
    """
    Ensure that the boot loaders lie in the TFTP root: from packages, or fetched and verified.

    name
        The TFTP root (absolute path).

    files
        List of maps with ``kind`` (of firmware), ``file`` (name in the TFTP root), and either
        ``packaged`` (list of absolute paths, of which the first that exists is taken; none need
        exist) or ``url`` and ``checksum`` (digests by algorithm).

    staging
        Folder on the same filesystem, closed to others, for files being written.

    Contents are compared. ``changes`` has the files that became different; under ``test=True`` also
    those whose package is still to be installed.

    .. code-block:: yaml

        netboot-firmware:
          netboot.firmware_copied:
            - name: /srv/export/tftp
            - files:
              - {kind: bios, packaged: [/usr/lib/ipxe/undionly.kpxe], file: undionly.kpxe}
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "All boot loaders are in place."}
    installed = any(_source(one) for one in files)
    if not installed and not __opts__["test"] and not any("url" in one for one in files):
        ret["result"] = False
        ret["comment"] = "The packages brought no boot loader: none of {} is there.".format(
            ", ".join(path for one in files for path in one.get("packaged", []))
        )
        return ret
    absent = []
    for one in files:
        path = os.path.join(name, one["file"])
        try:
            if "url" in one:
                change = _keep_fetched(one, path, staging)
            elif _source(one) or not installed and one["packaged"]:
                change = _keep_copied(one, path, staging)
            else:
                absent.append(one["kind"])
                continue
        except (CommandExecutionError, OSError) as err:
            ret["result"] = False
            ret["comment"] = f"The boot loader for {one['kind']} is not there: {err}"
            return ret
        if change:
            ret["changes"][one["file"]] = change
    if ret["changes"]:
        ret["result"] = None if __opts__["test"] else True
        would = "would be" if __opts__["test"] else "were"
        ret["comment"] = f"{len(ret['changes'])} boot loaders {would} brought."
    if absent:
        ret["comment"] += f" This system's packages have none for {', '.join(absent)}."
    return ret


def _source(file):
    return next((path for path in file.get("packaged", []) if os.path.exists(path)), None)


def _keep_copied(file, path, staging):
    """Have the package's file under its name; returns ``new``, ``changed`` or None."""
    source = _source(file)
    wanted = source and __salt__["netboot_files.read"](source)
    there = __salt__["netboot_files.read"](path)
    if wanted == there and wanted is not None:
        return None
    if not __opts__["test"]:
        _own_firmware(file["file"])
        __salt__["netboot_files.write"](path, wanted, staging=staging)
    return "new" if there is None else "changed"


def _own_firmware(name):
    """Put on record, before it is written, that a boot loader is ours to remove."""
    owned = __salt__["netboot_records.read"]("owned", "firmware") or []
    if name not in owned:
        __salt__["netboot_records.write"]("owned", "firmware", sorted([*owned, name]))


def _keep_fetched(file, path, staging):
    """Have the file of an address under its name; returns ``new``, ``changed`` or None."""
    checksum = file["checksum"]
    there = os.path.exists(path)
    if there:
        found = __salt__["iso_fetch.digests"](path, list(checksum))["digests"]
        if all(found[kind] == digest for kind, digest in checksum.items()):
            return None
    if not __opts__["test"]:
        _own_firmware(file["file"])
        __salt__["iso_fetch.fetch"]([file["url"]], path, checksum, staging)
    return "changed" if there else "new"


def firmware_complete(name, config):
    """
    Ensure that each image can be booted by some firmware whose boot loader is there.

    name
        The TFTP root (absolute path).

    config
        The configuration, as ``netboot.config`` resolves it.

    To be run at the end: an image's architecture is known once it was looked into. Changes nothing.

    .. code-block:: yaml

        netboot-firmware-complete:
          netboot.firmware_complete:
            - name: /srv/export/tftp
            - config: {...}
    """
    ret = {
        "name": name,
        "result": True,
        "changes": {},
        "comment": "There is a boot loader for every image.",
    }
    if __opts__["test"] and not any(_source(one) for one in config["boot_files"]):
        ret["comment"] = "What can be booted shows when the packages are installed."
        return ret
    coming = {one["file"] for one in config["boot_files"] if __opts__["test"] and "url" in one}
    arches, kinds = set(), {}
    for one in config["firmware"]:
        for arch in one["boots"]:
            kinds.setdefault(arch, []).append(one["kind"])
        if one["file"] in coming or os.path.exists(os.path.join(name, one["file"])):
            arches.update(one["boots"])
    labels = {image["label"] for image in config["images"]}
    images = [image for image in __salt__["netboot.images"]() if image["label"] in labels]
    wanted = [
        (f"the image {image['name']}", image["facts"]["arch"])
        for image in [*images, *config["elsewhere"]]
    ]
    wanted += [(f"netboot:default_image:{arch}", arch) for arch in config["default_image"]]
    missing = [
        f"{what} is for {arch}, and no boot loader here starts that; give one in "
        f"netboot:firmware:{kinds[arch][0]}"
        for what, arch in wanted
        if arch not in arches
    ]
    if missing:
        ret["result"] = False
        ret["comment"] = "Not bootable: " + "; ".join(missing) + "."
    return ret


def menus_written(name, template, staging, config=None):
    """
    Ensure that the TFTP root has the menus for the images that are ready, and no stale ones.

    The scripts of hosts are among them; hosts are read from the pillar, as thousands don't fit
    into a state.

    name
        The TFTP root (absolute path).

    template
        ``salt://`` address of the menu's template.

    staging
        Folder on the same filesystem, closed to others, for files being written.

    config
        The configuration, as ``netboot.config`` resolves it. Default: the one on record.

    Files that these states did not write are left alone. ``changes`` has the scripts that became
    different. Under ``test=True``, images that are still to be fetched count for nothing.

    .. code-block:: yaml

        netboot-menus:
          netboot.menus_written:
            - name: /srv/export/tftp
            - template: salt://netboot/files/menu.ipxe.jinja
            - staging: /srv/export/.staging
            - config: {...}
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "All menus are up to date."}
    try:
        config = config or __salt__["netboot_records.read"]("applied", "config")
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
        menus = __salt__["netboot_menus.render"](cached, config, bootable)
        scripts = {
            **__salt__["netboot_hosts.scripts"](
                pillar.get("hosts") or {}, pillar.get("groups") or {}, config
            ),
            **menus,
        }
        owned = __salt__["netboot_records.read"]("owned", "menus") or []
        changes = __salt__["netboot_menus.difference"](name, scripts, owned)
        foreign = [
            script
            for script, change in changes.items()
            if change == "changed" and script not in owned and script not in menus
        ]
        if foreign:
            ret["warnings"] = [f"Not ours, and left as they are: {', '.join(sorted(foreign))}"]
        for script in foreign:
            del scripts[script], changes[script]
        ret["changes"] = changes
        if __opts__["test"]:
            if ret["changes"]:
                ret["result"] = None
                ret["comment"] = "Menus would be written."
        else:
            if sorted(owned) != sorted(scripts):
                # Before the scripts, so that a run that is killed here still knows its files.
                __salt__["netboot_records.write"]("owned", "menus", sorted({*owned, *scripts}))
            if ret["changes"]:
                # Hosts first: a run that is killed leaves no host to a default that is new.
                for part in (set(scripts) - set(menus), set(menus), set(owned) - set(scripts)):
                    some = {script: changes[script] for script in part if script in changes}
                    __salt__["netboot_menus.write"](name, scripts, some, staging)
                ret["comment"] = f"{len(ret['changes'])} menus were written."
            if set(owned) - set(scripts):
                __salt__["netboot_records.write"]("owned", "menus", sorted(scripts))
        unmet = __salt__["netboot_menus.unmet_defaults"](config, bootable)
        if built["problems"] or unmet:
            ret["result"] = False
            problems = [f"Not in the menu: {one}" for one in built["problems"]]
            ret["comment"] = "\n".join([ret["comment"], *problems, *unmet])
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret
