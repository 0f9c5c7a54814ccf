"""
State that outlives a run: small JSON records in ``/var/lib/netboot`` (root, 0700, never served).

A record has a kind and a name, and is written atomically. The minion option ``netboot.state_dir``
sets another directory. ``schema.json`` contains the version of this table with which the records
were written:

=========  ===============  ==========================================  ======================
kind       name             shape                                       written by
=========  ===============  ==========================================  ======================
applied    config           netboot_shapes.Config                       netboot.config_applied
applied    hosts            netboot_shapes.Listed by host               netboot_tftp.menus_written
applied    run              netboot_shapes.Run                          netboot.applied, clean
applied    snapshot         see netboot_snapshot                        netboot.applied
images     LABEL            netboot_shapes.ImageRecord                  alt_image states
isos       FILE             netboot_shapes.IsoRecord                    alt_iso states
previous   LABEL            netboot_shapes.Previous                     alt_iso, alt_image states
services   SERVICE          files: text by path; written: mtime_ns      netboot_service.current
control    FACILITY         was: value; unread: bool                    netboot_control states
once       HOST             netboot_shapes.Boot                         netboot-once, netboot_arming
installs   HOST             see netboot_installing                      netboot-once
owned      menus            file names in the TFTP root                 netboot_tftp states
owned      firmware         file names in the TFTP root                 netboot_tftp states
owned      extracted        checksum, path, SHA-256 by boot loader      netboot_tftp states
owned      waiting          what for, by image                          alt_iso.fetched
owned      trees            paths of image trees                        alt_image states
owned      once             netboot_shapes.Arming by host               netboot_arming
owned      silenced         names of services                           netboot_packages states
owned      out-of-service   seconds since 1970, by path                 alt_image states
owned      admins           uid, keys, sudo, by account                 netboot_admins states
owned      firewalld        rules: by zone; copies: zones               netboot_firewalld
owned      machine          identity: of the machine; network           netboot_arming
owned      events           series, number of the last one sent         netboot_queue
owned      minion-keys      sent: by host; mine: what it has, by id     netboot_minion_keys
owned      deltas           SHA-256 of the ISO, by its file name          netboot_mirror
owned      metrics          file: path of the file of metrics           netboot_file.metrics
owned      probe            see netboot_bootable.tried                  netboot_bootable
owned      cached           boot: the kernel's id of it; files: digest  netboot_cache
owned      nginx            link of each disabled site, by path         netboot_http states
=========  ===============  ==========================================  ======================

No writer undoes another's work.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, cast

from salt.exceptions import CommandExecutionError, SaltInvocationError

import netboot_checks
import netboot_files
import netboot_values
from netboot_firmware import SECURE_BOOT
from netboot_names import ARCHES
from netboot_paths import STATE_DIR, paths
from netboot_shapes import (
    Arming,
    Boot,
    Config,
    Image,
    ImageRecord,
    IsoRecord,
    Listed,
    Previous,
    Run,
)

#: The version of the table above. It is increased when older records would be misread.
SCHEMA = 1

_FORETOLD = "netboot_records.foretold"

# The configuration last: as long as it is there, a clean that was killed can be repeated.
_KINDS = (
    "images",
    "isos",
    "previous",
    "services",
    "control",
    "once",
    "installs",
    "owned",
    "applied",
)
_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
# All files that these states and netboot-once write, with what a kill may leave.
_FILE = re.compile(
    rf"({'|'.join(_KINDS)})/({_NAME}\.json|\.netboot\.{_NAME}\.json\.new)|once/(lock|new|position|position\.new)"
    r"|installs/new|schema\.json|\.netboot\.schema\.json\.new"
)
# Records of the kind ``owned`` that are lists; all other records are maps.
_LISTS = ("menus", "firmware", "trees", "silenced")
# Keys that records of every schema have, and without which they are of no use.
_KEYS = {
    "schema": ("schema",),
    "applied/config": ("root",),
    "images": ("label",),
    "isos": ("digests", "identity"),
    "previous": ("image", "iso", "inode"),
    "control": ("was", "unread"),
    "once": ("arming", "entry", "booted_at"),
    "arming": ("arming", "host", "entry", "armed_at"),
}
# Types of keys in records of every schema, with words for them.
_TYPES: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("arming", "host", "entry", "label", "tree"), (str, "a string")),
    **dict.fromkeys(("armed_at", "booted_at"), (int, "an integer")),
    **dict.fromkeys(("facts", "digests", "boot_files"), (dict, "a map")),
}


class Records:
    """
    The records of this machine.

    directory
        Their directory.

    context : None
        The ``__context__`` of the run. It holds foretold records, which ``read`` returns for the
        rest of the run instead of the stored records. So a run under ``test=True`` looks ahead, and
        the states of an apply see the configuration before it is on record.
    """

    def __init__(self, directory: str, context: Any = None) -> None:
        self.directory = directory
        self._context = {} if context is None else context
        self._schema: int | None = None

    @classmethod
    def of(cls, opts: Mapping[str, Any], context: Any) -> Records:
        """
        Return the records for a module or state.

        opts, context
            Its ``__opts__`` and ``__context__``.

        Raises CommandExecutionError when the minion option ``netboot.state_dir`` is wrong.
        """
        directory = opts.get("netboot.state_dir", STATE_DIR)
        wrong = netboot_checks.state_dir(directory)
        if wrong:
            raise CommandExecutionError(f"{wrong}.")
        return cls(directory, context)

    # -- by shape ---------------------------------------------------------------------------------

    def applied(self) -> Config | None:
        """Return the applied configuration, during an apply the new configuration; or None."""
        return cast("Config | None", self.read("applied", "config"))

    def config(self) -> Config:
        """Return the same, or raise CommandExecutionError if nothing was applied yet."""
        applied = self.applied()
        if applied is None:
            raise CommandExecutionError(
                "Nothing was applied to this machine yet; run state.apply netboot first."
            )
        return applied

    def hosts(self) -> dict[str, Listed]:
        """Return the hosts of the pillar that was applied, by name."""
        return cast("dict[str, Listed]", self.read("applied", "hosts") or {})

    def on_record(self) -> Config | None:
        """Return the stored configuration, whatever this run resolved; or None."""
        return cast("Config | None", self._stored("applied", "config"))

    def resolve(self, config: Config) -> None:
        """
        Make ``config`` and ``applied`` return this for the rest of the run.

        Raises CommandExecutionError when the records are newer than these states.
        """
        self._version()  # before anything on the machine is changed
        self.foretell("applied", "config", config)

    def run(self) -> Run | None:
        """Return how the last apply ended that changed something; or None."""
        return cast("Run | None", self.read("applied", "run"))

    def out_of_service(self) -> int | None:
        """Return since when nothing is served, as ``netboot.clean`` was applied; or None."""
        run = self.run()
        return run["at"] if run and run.get("cleaned") else None

    def image_and_iso(self, label: str) -> tuple[Image, str]:
        """Return an image of the configuration, and the path of its ISO."""
        config = self.config()
        for image in config["images"]:
            if image["label"] == label:
                return image, os.path.join(config["paths"]["dist"], image["file"])
        raise SaltInvocationError(f"netboot:images has no image with the label {label!r}.")

    def image(self, label: str) -> ImageRecord | None:
        """Return the record of an image, or None."""
        return cast("ImageRecord | None", self.read("images", label))

    def images(self) -> list[ImageRecord]:
        """Return the records of all images that are ready to boot, in the pillar or not."""
        found = (self.image(name) for name in self.names("images"))
        return [image for image in found if image]

    def ready(self) -> list[ImageRecord]:
        """Return the configured images that clients can boot, including those of other servers."""
        config = self.config()
        labels = {image["label"] for image in config["images"]}
        # A tree below a root that the pillar had before is not served.
        served = f"{config['paths']['trees']}/"
        here = (image for image in self.images() if image["label"] in labels)
        return [
            *(image for image in here if image["tree"].startswith(served)),
            *config["elsewhere"],
        ]

    def iso(self, path: str) -> IsoRecord | None:
        """Return the record of an ISO, by its path or file name, or None."""
        return cast("IsoRecord | None", self.read("isos", os.path.basename(path)))

    def write_iso(self, path: str, record: IsoRecord) -> None:
        """Keep the record of an ISO, by its path or file name."""
        self.write("isos", os.path.basename(path), record)

    def remove_iso(self, path: str) -> None:
        """Drop the record of an ISO, by its path or file name."""
        self.remove("isos", os.path.basename(path))

    def previous(self, label: str) -> Previous | None:
        """Return what an image was before its last wave, or None."""
        return cast("Previous | None", self.read("previous", label))

    def armings(self) -> dict[str, Arming]:
        """Return the armings of hosts that boot an entry once, by host."""
        return cast("dict[str, Arming]", self.owned("once", {}))

    def boots(self) -> dict[str, Boot | None]:
        """Return the boots that netboot-once detected, by host."""
        return {host: self.read("once", host) for host in self.names("once")}

    def owned(self, name: str, default: Any) -> Any:
        """Return a record of the kind ``owned``, or a default."""
        return self.read("owned", name) or default

    # -- by kind and name -------------------------------------------------------------------------

    def directory_of(self, kind: str) -> str:
        """Return the directory with the records of a kind."""
        return os.path.join(self.directory, kind)

    def names(self, kind: str) -> list[str]:
        """List the names of the records of a kind, sorted."""
        path = self.directory_of(kind)
        try:
            files = os.listdir(path)
        except FileNotFoundError:
            return []
        except PermissionError as err:
            raise _unreadable(path) from err
        return sorted(file[: -len(".json")] for file in files if file.endswith(".json"))

    def read(self, kind: str, name: str) -> Any:
        """
        Return a record, or None if it does not exist.

        Raises CommandExecutionError when the file is damaged, or newer than these states, or when
        this user may not read it.
        """
        foretold = self._foretold()
        return foretold[kind, name] if (kind, name) in foretold else self._stored(kind, name)

    def _foretold(self) -> dict[tuple[str, str], Any]:
        found: dict[tuple[str, str], Any] = self._context.get(_FORETOLD, {})
        return found

    def _stored(self, kind: str, name: str) -> Any:
        path = self._path(kind, name)
        self._version()  # newer records are refused, whatever their shape
        value = _load(path, kind, name)
        if value is None:
            return None
        # Whatever the schema says: an older version may have been applied in between.
        return _migrated(kind, name, value, self.directory)

    def write(self, kind: str, name: str, value: Any) -> None:
        """Keep a record; records of an older schema are migrated first."""
        path = self._path(kind, name)
        self._migrate()
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        netboot_files.write(path, _dumped(value), mode=0o600)
        foretold = self._foretold()
        if foretold.get((kind, name)) == value:
            self._context[_FORETOLD] = {k: v for k, v in foretold.items() if k != (kind, name)}

    def foretell(self, kind: str, name: str, value: Any) -> None:
        """Make ``read`` return this for the rest of the run; None: as if removed."""
        # A new map: a run starts with a shallow copy of the context of its process.
        self._context[_FORETOLD] = {**self._foretold(), (kind, name): value}

    def remove(self, kind: str, name: str) -> None:
        """Drop a record, if it exists."""
        path = self._path(kind, name)
        self._version()  # newer records are refused
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass

    def is_record(self, file: str) -> bool:
        """Return whether a path below the directory is that of a record."""
        return bool(_FILE.fullmatch(file)) and file.endswith(".json")

    def files(self) -> list[str]:
        """List the files of all records, by their paths below the directory."""
        files = ["schema.json"] if os.path.exists(f"{self.directory}/schema.json") else []
        return files + [f"{kind}/{name}.json" for kind in _KINDS for name in self.names(kind)]

    def clear(self, test: bool) -> bool:
        """
        Remove all records, and their directories if these are empty then.

        test
            Remove nothing.

        Returns whether the directory of the records is gone, under ``test`` whether it would be.
        """
        self._version()  # newer records are refused
        kinds = [self.directory_of(kind) for kind in _KINDS]
        gone: set[str] = set()
        for directory in filter(os.path.isdir, (*kinds, self.directory)):
            there = {os.path.join(directory, file) for file in os.listdir(directory)}
            for path in there:
                if _FILE.fullmatch(os.path.relpath(path, self.directory)) and os.path.isfile(path):
                    gone.add(path)
                    if not test:
                        os.unlink(path)
            fixed = os.path.ismount(directory) or os.path.islink(directory)
            if there <= gone and not fixed:
                gone.add(directory)
                if not test:
                    os.rmdir(directory)
        return self.directory in gone

    def _path(self, kind: str, name: str) -> str:
        for part in (kind, name):
            if not re.fullmatch(_NAME, part):
                raise SaltInvocationError(f"{part!r} cannot be the kind or name of a record.")
        return os.path.join(self.directory_of(kind), name + ".json")

    def _version(self) -> int:
        """Return the schema of the stored records; 0: before schemas had numbers."""
        if self._schema is None:
            there = _load(os.path.join(self.directory, "schema.json"), "schema")
            self._schema = cast("int", there["schema"]) if there else 0
        if self._schema > SCHEMA:
            raise CommandExecutionError(
                f"The records in {self.directory} have schema {self._schema}, but this version of "
                f"netboot-alt knows schemas up to {SCHEMA}; update netboot-alt, or restore a "
                "backup of the records."
            )
        return self._schema

    def _migrate(self) -> None:
        if self._version() == SCHEMA:
            return
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        for kind in ("applied", "images", "owned"):
            for name in self.names(kind):
                path = self._path(kind, name)
                old = _load(path, kind, name)
                new = _migrated(kind, name, old, self.directory)
                if new != old:
                    netboot_files.write(path, _dumped(new), mode=0o600)
        # Last: after a kill the next run migrates again, which is idempotent.
        path = os.path.join(self.directory, "schema.json")
        netboot_files.write(path, _dumped({"schema": SCHEMA}), mode=0o600)
        self._schema = SCHEMA


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True)


def _load(path: str, kind: str, name: str = "") -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
        wrong = _wrong(kind, name, value)
    except FileNotFoundError:
        return None
    except PermissionError as err:
        raise _unreadable(path) from err
    except ValueError as err:
        wrong = str(err)
    if wrong:
        advice = "remove it and apply again"
        if kind == "once" or (kind, name) == ("owned", "once"):
            # Without it machines that have booted would be installed again.
            advice = "restore it from a backup; removing it arms hosts with once: true again"
        raise CommandExecutionError(f"{path} is damaged ({wrong}); {advice}.")
    return value


def _unreadable(path: str) -> CommandExecutionError:
    return CommandExecutionError(f"This user may not read {path}; run the command as root.")


def _wrong(kind: str, name: str, value: Any) -> str:
    """Return what is wrong with the shape of a record of any schema, or an empty string."""
    if kind == "owned" and name in _LISTS:
        strings = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return "" if strings else "it must be a list of strings"
    keys = _KEYS.get(kind) or _KEYS.get(f"{kind}/{name}", ())
    if not isinstance(value, dict) or any(key not in value for key in keys):
        return "it must be a map" + (f" with {' and '.join(keys)}" if keys else "")
    if kind == "schema" and type(value["schema"]) is not int:
        return "its schema must be an integer"
    if kind in _KEYS:
        for key, (of, words) in _TYPES.items():
            if not isinstance(value.get(key, of()), of):
                return f"its {key} must be {words}"
    if (kind, name) == ("owned", "nginx") and not all(
        isinstance(one, str) for one in value.values()
    ):
        return "it must be a map of strings"
    if (kind, name) == ("owned", "once"):
        return next(filter(None, (_wrong("arming", host, one) for host, one in value.items())), "")
    return ""


def _firmware(row: dict[str, Any]) -> dict[str, Any]:
    """Complete a kind of firmware as versions have it that knew no other loader than its file."""
    shim = SECURE_BOOT.get(row["kind"], {}).get("shim")
    secure = "ipxe" if row["file"] == shim else ""
    return {"http_file": row["file"], "plain": row["file"], "secure": secure, **row}


def _migrated(kind: str, name: str, value: Any, directory: str) -> Any:
    """Complete a record: add what those of schema 0 lack."""
    if (kind, name) == ("applied", "config"):
        over = netboot_values.default("kernel_over.*")
        return {
            "site": "",
            "mirror": "off",
            **value,
            "version": value.get("version", ""),
            "paths": value.get("paths") or paths(value["root"], directory),
            "kernel_over": {**dict.fromkeys(ARCHES, over), **value.get("kernel_over", {})},
            **(
                {"firmware": list(map(_firmware, value["firmware"]))} if "firmware" in value else {}
            ),
        }
    if kind == "images":
        # Trees from before forms existed are unpacked again.
        return {"form": "", "identities": {}, "contradictions": [], **value}
    if (kind, name) == ("owned", "once"):
        return {host: {"told_by": [], **arming} for host, arming in value.items()}
    return value
