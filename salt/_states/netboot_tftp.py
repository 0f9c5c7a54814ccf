"""
Keep the TFTP root in step with the pillar and the images: boot loaders, menus, scripts of hosts.
"""

import os
import tarfile
import zlib

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import iso_hashes
import netboot_files
import netboot_firmware
import netboot_scripts
import netboot_secure_boot
import netboot_templates
from iso_coming import Coming
from iso_download import Fetches
from netboot_names import has_digests
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_tftp"

# Of a file in an archive, in bytes: iPXE's with all drivers has less than 2 MB.
_LARGEST = 1 << 26


def __virtual__():
    return __virtualname__


def firmware_copied(name):
    """
    Ensure that the boot loaders are in the TFTP root: from packages, or fetched and verified; and
    none of those that these states installed for an earlier configuration.

    Of the paths that a package may provide, the first that exists is used; none need exist.
    Contents are compared.

    name
        What is copied; only shown. The files are those of the configuration.

    ``changes`` contains the changed files; under ``test=True`` also files whose package is still to
    be installed.

    .. code-block:: yaml

        netboot-firmware:
          netboot_tftp.firmware_copied:
            - name: boot loaders
    """
    with State(name, "All boot loaders are in place.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        files = records.config()["boot_files"]
        installed = any(_source(file) for file in files)
        if not installed and not state.test and not any("url" in file for file in files):
            paths = ", ".join(path for file in files for path in file.get("packaged", []))
            raise CommandExecutionError(
                f"The packages contain no boot loader: none of {paths} exists. "
                "Set netboot:firmware."
            )
        absent, archives = [], {}
        for file in files:
            of_package = "url" not in file and "copy_of" not in file
            if of_package and not _source(file) and (installed or not file["packaged"]):
                absent.append(file["kind"])
                continue
            try:
                change = _kept(records, file, archives)
            except (CommandExecutionError, OSError) as err:
                _unlink(archives)
                _stand_in(records, state)
                raise CommandExecutionError(
                    f"The boot loader for {file['kind']} cannot be installed: {err}"
                ) from err
            path = os.path.join(records.config()["paths"]["tftp"], file["file"])
            if netboot_files.opened([path], state.test) and not change:
                change = "changed"
            # Under test=True what it is copied of is not yet there.
            if state.test and not change and file.get("copy_of") in state.changes:
                change = "changed"
            if change:
                state.done(file["file"], change)
        _unlink(archives)
        _remove_others(records, files, state)
        if state.changes:
            state.comment = state.counted(len(state.changes), "boot loader", "installed")
        if state.changes and not installed and state.test:
            state.comment = (
                f"Of {len(files)} boot loaders those would be installed that the packages of this "
                "release have."
            )
        elif absent:
            state.comment += f" This system's packages have no boot loader for {', '.join(absent)}."
    return state.ret


def _source(file):
    return next((path for path in file.get("packaged", []) if os.path.exists(path)), None)


def _kept(records, file, archives):
    """Bring a boot loader to its place; return ``new``, ``changed`` or None."""
    paths = records.config()["paths"]
    path = os.path.join(paths["tftp"], file["file"])
    if "path" in file:
        return _keep_extracted(records, file, path, archives)
    if "url" in file:
        return _keep_fetched(records, file, path)
    copied = "copy_of" in file and os.path.join(paths["tftp"], file["copy_of"])
    return _keep_written(records, file["file"], netboot_files.read(copied or _source(file) or ""))


def _keep_written(records, name, wanted):
    paths = records.config()["paths"]
    path = os.path.join(paths["tftp"], name)
    there = netboot_files.read(path)
    if wanted == there and wanted is not None:
        return None
    if not __opts__["test"]:
        _own(records, name)
        netboot_files.write(path, wanted, staging=paths["staging"])
    return "new" if there is None else "changed"


def _keep_fetched(records, file, path):
    checksum = file["checksum"]
    there = os.path.exists(path)
    if there and has_digests(iso_hashes.digests(path, checksum)["digests"], checksum):
        return None
    if not __opts__["test"]:
        _own(records, file["file"])
        Fetches.of(records.config(), __context__).fetch([file["url"]], path, checksum)
    return "changed" if there else "new"


def _keep_extracted(records, file, path, archives):
    """The same of a file in an archive; ``archives``: paths of those that were fetched."""
    wanted = [file["checksum"], file["path"]]
    extracted = records.owned("extracted", {})
    there = os.path.exists(path)
    if there and extracted.get(file["file"]) == [*wanted, _sha256(path)]:
        return None
    if not __opts__["test"]:
        name = "-".join(file["checksum"].values())
        if name not in archives:
            staging = records.config()["paths"]["staging"]
            # A name that is swept after a kill.
            archive = os.path.join(staging, f".netboot.loaders-{name[:16]}.new")
            fetches = Fetches.of(records.config(), __context__)
            fetches.fetch([file["url"]], archive, file["checksum"])
            archives[name] = archive
        _keep_written(records, file["file"], _member(archives[name], file["path"]))
        records.write("owned", "extracted", {**extracted, file["file"]: [*wanted, _sha256(path)]})
    return "changed" if there else "new"


def _stand_in(records, state):
    """
    Give the names of shims that could not be fetched to unsigned boot loaders: DHCP names them
    nevertheless, to machines without Secure Boot, too.
    """
    config = records.config()
    for row in config["firmware"]:
        paths = [os.path.join(config["paths"]["tftp"], row[name]) for name in ("file", "plain")]
        if row["secure"] == "ipxe" and list(map(os.path.exists, paths)) == [False, True]:
            _keep_written(records, row["file"], netboot_files.read(paths[1]))
            state.done(row["file"], "new")


def _unlink(archives):
    for archive in archives.values():
        os.unlink(archive)


def _sha256(path):
    return iso_hashes.digests(path, ["sha256"])["digests"]["sha256"]


def _member(archive, path):
    """Return a file of an archive, as ``netboot_files.read`` does."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if os.path.normpath(member.name) != os.path.normpath(path):
                    continue
                if not member.isreg():
                    to = f" but a link to {member.linkname}; name that" if member.issym() else ""
                    raise CommandExecutionError(f"{path} in that archive is not a file{to}.")
                if member.size > _LARGEST:
                    raise CommandExecutionError(
                        f"{path} in that archive is too large for a boot loader."
                    )
                return tar.extractfile(member).read().decode(errors="surrogateescape")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as err:
        raise CommandExecutionError(f"That file is not a .tar.gz: {err}.") from err
    raise CommandExecutionError(f"That archive has no {path}.")


def _remove_others(records, files, state):
    """Remove boot loaders of ours that the configuration no longer has."""
    tftp, owned = records.config()["paths"]["tftp"], records.owned("firmware", [])
    kept = {file["file"] for file in (*files, *records.config()["firmware"])}
    gone = sorted(set(owned) - kept)
    for name in gone:
        if os.path.lexists(os.path.join(tftp, name)):
            state.done(name, "removed")
            if not state.test:
                os.unlink(os.path.join(tftp, name))
    if gone and not state.test:
        records.write("owned", "firmware", [name for name in owned if name not in gone])


def _own(records, name):
    """Put on record, before it is written, that these states own a boot loader."""
    owned = records.owned("firmware", [])
    if name not in owned:
        records.write("owned", "firmware", sorted([*owned, name]))


def firmware_complete(name):
    """
    Ensure that there is a boot loader for each image's architecture.

    To be run at the end: an image's architecture is known once its ISO was inspected. What Secure
    Boot would refuse is a warning, as machines without it boot all the same.

    name
        What is checked; only shown.

    Changes nothing.

    .. code-block:: yaml

        netboot-firmware-complete:
          netboot_tftp.firmware_complete:
            - name: boot loaders
    """
    comment = "There is a boot loader for every image."
    with State(name, comment, __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        config = records.config()
        if state.test and not any(_source(file) for file in config["boot_files"]):
            state.comment = "This can only be checked after the packages are installed."
            return state.ret
        there = {
            file["file"]
            for file in (*config["boot_files"], *config["firmware"])
            if (state.test and ("url" in file or _source(file)))
            or os.path.exists(os.path.join(config["paths"]["tftp"], file["file"]))
        }
        wanted = [
            (f"the image {image['name']}", image["facts"]["arch"]) for image in records.ready()
        ]
        wanted += [(f"netboot:default_image:{arch}", arch) for arch in config["default_image"]]
        missing = netboot_firmware.not_bootable(config, there, wanted)
        if missing:
            state.fail(f"Not bootable: {'; '.join(missing)}.")
        if not state.test:
            state.warn(*netboot_secure_boot.warnings(records))
    return state.ret


def menus_written(name, template, grub="", final=True):
    """
    Ensure that the TFTP root has the menus for the images that are ready, and no stale menus.

    This includes the scripts of hosts, and the shim and GRUB of an image that
    ``netboot:secure_boot`` names; hosts are read from the pillar, as thousands do not fit into
    a state. Files that these states did not write are left alone.

    name
        What is written; only shown.

    template
        ``salt://`` URL of the menu's template.

    grub : ""
        The same of GRUB's menu, for machines with Secure Boot that load an image's own GRUB.

    final : True
        False: a later state of this run writes them again, so that what images still lack is no
        failure yet.

    ``changes`` contains the changed scripts, and what killed runs left in the staging directory.
    Under ``test=True``, images that are still to be fetched are ignored.

    .. code-block:: yaml

        netboot-menus:
          netboot_tftp.menus_written:
            - name: menus
            - template: salt://netboot/files/menu.ipxe.jinja
            - grub: salt://netboot/files/grub.cfg.jinja
    """
    with State(name, "All menus are up to date.", __opts__["test"]) as state:
        pillar = __pillar__.get("netboot") or {}
        records = Records.of(__opts__, __context__)
        plan = netboot_scripts.plan(
            records,
            netboot_templates.read(template, __salt__["cp.cache_file"](template)),
            pillar.get("hosts") or {},
            pillar.get("groups") or {},
            state.test,
            netboot_templates.read(grub, __salt__["cp.cache_file"](grub)) if grub else "",
        )
        state.plan(plan.changes)
        if plan.foreign:
            state.warn(f"Foreign files, left unchanged: {', '.join(sorted(plan.foreign))}")
        if plan.changes:
            state.comment = state.counted(len(plan.changes), "menu", "written")
        if not state.test:
            netboot_scripts.carry_out(records, plan)
        state.warn(*plan.warnings)
        staging = records.config()["paths"]["staging"]
        if not state.test and os.path.isdir(staging):
            Coming(records.config()).show()  # what a killed fetch left is removed
            for left in netboot_files.sweep_directory(staging):
                state.done(os.path.join(staging, left), "removed")
        if plan.problems and final:
            state.fail("\n".join(plan.problems))
        elif plan.problems:
            number = len(plan.problems)
            lines = "1 line" if number == 1 else f"{number} lines"
            state.comment += f" Not ready yet: {lines} of the menu."
    return state.ret
