"""./netboot rehearse: a user's pillar applied on the virtual LAN, each line of its menu booted.

What is booted is in rehearsal_plan.py, what differs from the user's pillar in rehearsal_pillar.py.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import yaml
from salt.exceptions import CommandExecutionError

import netboot_dhcp
import netboot_entries
import netboot_pillar
import netboot_trees
import netboot_values
from netboot_labels import LABELS, language, latin

from . import Lab, LabError, personas
from .client import FIRMWARE
from .demo import IN_GUEST, INSTALLED
from .disk import MARKER
from .host import say, tail
from .ipxe import boot_loaders
from .iso.debian import DEBIAN_ARCHES
from .rehearsal_pillar import (
    PASSWORD,
    USER,
    Iso,
    arch_of,
    fitted,
    images_of,
    methods_of,
    needs_kernel,
)
from .rehearsal_plan import Chosen, plan
from .rehearsal_source import isos_of, pillar_of, sha256, wrong_sums
from .results import BOOTED, FAILED, Result, as_json, junit, line, matrix, passed, table, widths
from .salt import CHECKOUT, GuestSaltCall, SaltCall

OUT = CHECKOUT / ".cache" / "rehearse"
PLATFORMS = CHECKOUT / "salt" / "netboot" / "platforms.yaml"
# Of the plan before there is a lab; any number does.
_PREFIX, _WEB = "198.18.0", "http://198.18.0.1:8000"
#: Seconds for firmware until its menu, with an emulated processor.
_TO_MENU_S = 240
#: How often one boot may come to the menu: over PXE, over HTTP, and the last time.
_MENUS = 3
_IPXE = "iPXE initialising devices"
#: Boot loaders that the lab's Debian lacks, with the file's name in a newer one.
_NEWER = {
    "efi-aarch64": ("aarch64", "ipxe-arm64.efi"),
    "efi-riscv64": ("riscv64", "ipxe-riscv64.efi"),
    "efi-loongarch64": ("loongarch64", "ipxe-loong64.efi"),
}
#: What firmware says on the serial port when it gives up, by what that means.
_GAVE_UP = {
    "refused": r"Access Denied|Security Violation",
    "nothing": r"No bootable device|failed to load Boot\d+.*\n(?!.*BdsDxe: (?:load|start))"
    r"[\s\S]*(?:No bootable option|Shell>)",
}


def arguments(words=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="./netboot rehearse",
        description="Boot each line of your menu on a virtual LAN on this machine (root).",
    )
    several = {"action": "append", "default": [], "type": lambda text: text.split(",")}
    add = parser.add_argument
    add("--pillar", default=CHECKOUT / "pillar", help="file, or folder with top.sls")
    add("--minion", default="netboot1", help="the minion's name for top.sls (default: netboot1)")
    add("--isos", type=Path, metavar="DIR", help="folder of ISOs, by their file names")
    add("--fetch", action="store_true", help="fetch ISOs that are not there from their URLs")
    add("--out", type=Path, default=OUT, help="where results go (default: .cache/rehearse)")
    add("--firmware", **several, help="only these: " + ", ".join(FIRMWARE))
    add("--image", **several, help="only images with these names or labels (patterns)")
    add("--method", **several, help="only http, cifs, nfs, ftp")
    add("--host", **several, help="hosts of the pillar instead of the menu (patterns)")
    add("--persona", **several, help="these machines instead of the plain ones; all: every one")
    add("--personas", type=Path, metavar="DIR", help="a folder with more personas")
    add("--list", action="store_true", help="print what would be booted")
    add("--jobs", type=int, choices=(1, 2), default=min(2, max(1, (os.cpu_count() or 1) // 2)))
    add("--timeout", type=int, default=0, help="seconds from the menu to the end of a boot")
    found = parser.parse_args(words)
    for name in ("firmware", "image", "method", "host", "persona"):
        setattr(found, name, tuple(one for words in getattr(found, name) for one in words if one))
    return found


def chosen_personas(given):
    """The personas that the command line names. Raises LabError for one that is not there."""
    known = personas.load() | (personas.load(given.personas) if given.personas else {})
    found = list(known.values())
    if "all" not in given.persona:
        patterns = given.persona
        missing = [one for one in patterns if not fnmatch.filter(known, one)]
        if missing:
            raise LabError(f"No persona {missing[0]!r}; there are {', '.join(sorted(known))}.")
        named = [one for one in found if any(fnmatch.fnmatch(one.name, p) for p in patterns)]
        found = named or [one for one in found if one.plain]
    unknown = [one for one in given.firmware if one not in FIRMWARE]
    if unknown:
        raise LabError(f"No firmware {unknown[0]!r}; there are {', '.join(FIRMWARE)}.")
    if given.firmware:
        # Those of a kind that has no plain one are named by their firmware alone.
        pool = found if given.persona else list(known.values())
        found = [one for one in pool if one.firmware in given.firmware]
        if not given.persona:
            found = [one for one in found if one.plain or one.name == one.firmware]
    return found


# -- before there is a lab -------------------------------------------------------------------------


def prepared(given, folder):
    """The user's pillar below ``netboot``, its ISOs and boot loaders on this machine.

    Raises SystemExit after printing what is wrong, as the apply does.
    """
    pillar, wrong = pillar_of(given.pillar, given.minion)
    _refuse(wrong, given.pillar)
    user = pillar.get("netboot")
    if isinstance(user, dict):
        _refuse(_wrong_values(user), given.pillar)
    else:
        _refuse(_problems(user, set(pillar)), given.pillar)
    fetch = given.out / "isos" if given.fetch else None
    isos = isos_of(user, folder, given.isos, fetch)
    if not given.list:  # it reads each ISO
        _refuse(wrong_sums(user, isos), given.pillar)
    return user, isos, loaders_of(user, folder, given.isos)


def _wrong_values(user):
    """What is wrong with single values and boot loaders, those that the lab leaves out too."""
    if isinstance(user.get("images"), list):
        images = {
            name: {key: value for key, value in image.items() if key != "name"}
            for name, image in images_of(user).items()
        }
        user = {**user, "images": images}
    # The lab leaves out boot loaders whose files are not here.
    return netboot_values.problems(user) or netboot_dhcp.loader_problems(
        netboot_values.completed(user)
    )


def loaders_of(pillar, folder, isos):
    """Name and SHA-256 (None: the pillar's) of the boot loaders that this machine has, by key."""
    found = {}
    urls = {f"firmware.{k}": v for k, v in (pillar.get("firmware") or {}).items()}
    for kind, parts in (pillar.get("secure_boot") or {}).items():
        for part in ("shim", "ipxe"):
            urls[f"secure_boot.{kind}.{part}"] = parts.get(part) or {}
    for key, settings in urls.items():
        url = str(settings.get("url", ""))
        places = [Path(isos, url.rpartition("/")[2])] if isos else []
        places += [Path(url.removeprefix("file://"))] if url.startswith("file://") else []
        for place in filter(Path.is_file, places):
            shutil.copy(place, folder)
            found[key] = (place.name, None)
    arches = {arch_of(name, image) for name, image in images_of(pillar).items()}
    for kind, (arch, file) in _NEWER.items():
        if arch in arches and f"firmware.{kind}" not in found:
            shutil.copy(boot_loaders() / file, folder)
            found[f"firmware.{kind}"] = (file, sha256(Path(folder, file)))
    return found


def fit(user, isos, loaders, prefix, web):
    """The user's pillar as the lab applies it, see rehearsal_pillar.Fitted."""
    there = {
        name: Iso(
            f"{web}/{one.path.name}",
            one.made.sha256 if one.made else _own(user, name, one),
            one.how,
        )
        for name, one in isos.items()
    }
    urls = {key: (f"{web}/{file}", digest) for key, (file, digest) in loaders.items()}
    return fitted(user, prefix, there, urls)


def _own(user, name, iso):
    """A real ISO keeps the pillar's checksum; one with a sum file gets its own."""
    return None if images_of(user)[name].get("checksum") else sha256(iso.path)


def _problems(pillar, keys=(), prefix=_PREFIX):
    return resolved(pillar, keys, prefix)["problems"]


def resolved(pillar, keys=(), prefix=_PREFIX):
    """What the fitted pillar resolves to on the lab's machine, see netboot_pillar.resolve."""
    target = {
        "platform": ["debian"],
        "interfaces": {"eth0": [f"{prefix}.10/24"]},
        "addresses": ["127.0.0.1", f"{prefix}.10"],
        "default_interface": "eth0",
        "selinux": False,
        "state_dir": "/var/lib/netboot",
    }
    return netboot_pillar.resolve(pillar, target, yaml.safe_load(PLATFORMS.read_text()), keys)


def _refuse(wrong, path):
    if wrong:
        print(f"The pillar in {path} has mistakes; nothing was built or booted:", file=sys.stderr)
        for one in wrong:
            print(f"    {one}", file=sys.stderr)
        raise SystemExit(1)


def foreseen(config, isos):
    """The boot entries that the apply will make, and a line for each image without any."""
    records, wrong = [], []
    own = SimpleNamespace(config=lambda: config)
    for image in config["images"]:
        iso = isos[image["name"]]
        try:
            digest = "0" * 64  # not looked at: nothing is unpacked
            made = netboot_trees.inspected(own, str(iso.path), image, digest)
        except CommandExecutionError as err:
            wrong.append(f"netboot:images:{image['name']}: {err}")
            continue
        records.append(made)
    built = netboot_entries.build(config, records)
    return built["entries"], wrong + built["problems"]


# -- the lab ---------------------------------------------------------------------------------------


class Rehearsal:
    """The netboot server of a rehearsal, and the boots from it."""

    def __init__(self, given, user, isos, lab, server, salt):
        self._given, self._user, self._isos = given, user, isos
        self._lab, self._server, self._salt = lab, server, salt
        self._asking = threading.Lock()
        self._of_host = collections.defaultdict(threading.Lock)
        self._menus = set()
        self._since = {}  # when a client was switched on, as netboot.trace writes it

    def ask(self, function, *words):
        """Call a function on the netboot server, one at a time."""
        with self._asking:
            return self._salt.call(self._server, function, *words)

    def applied(self):
        """Apply; the failed states as Results."""
        done = self._salt.apply(self._server)
        (self._given.out / "apply.log").write_text(done.text)
        return [
            Result(
                *("apply", name, FAILED),
                text=" ".join(str(state["comment"]).split()),
                cause="state-failed",
                log="apply.log",
            )
            for name, state in done.failed.items()
        ]

    def menu_texts(self, config):
        """What the menu says when something fails, as patterns."""
        said = {**LABELS[language(config["menu"]["languages"][0])], **config["menu"]["labels"]}
        texts = {name: re.escape(latin(text)) for name, text in said.items()}
        texts["failed"] = f"{texts['failed']}|{texts['unstarted']}"
        return {name: texts[name] for name in ("failed", "missing", "refused")}

    def boot(self, number, row, config):
        """Boot a row of the plan; returns its Result."""
        done = Result(row.persona.name, row.what, host=row.host, firmware=row.persona.firmware)
        if row.entry:
            iso = self._isos[row.entry["image"]]
            done.entry, done.iso = row.entry["id"], iso.how
        started = time.monotonic()
        with self._of_host[row.host] if row.host else contextlib.nullcontext():
            try:
                if row.once:
                    self.ask("netboot.arm", f"host={row.host}")
                self._boot(number, row, config, done)
            # ValueError: a monitor that ended in the middle of its answer.
            except (LabError, OSError, ValueError, subprocess.SubprocessError) as err:
                done.result = FAILED
                done.text = done.text or str(err).partition("\n")[0]
        done.seconds = time.monotonic() - started
        return done

    def _boot(self, number, row, config, done):
        memory = row.persona.memory_mib or max(2048, (row.entry or {}).get("memory_mib", 0) + 256)
        with (
            tempfile.TemporaryDirectory(dir=self._lab.directory) as folder,
            self._lab.client(
                row.persona.firmware,
                memory_mib=memory,
                extra=row.persona.words(folder, row.smbios),
                number=number % 100,
                mac=row.mac,
                card=row.persona.card,
            ) as client,
        ):
            self._since[client] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            name = f"{number + 1:03}-{row.persona.name}-{row.what}"
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
            try:
                done.cause, done.text = self._watch(client, row, config, done)
                done.result = FAILED if done.text else BOOTED
            except LabError as err:
                done.result, done.text = FAILED, str(err).partition("\n")[0]
            finally:
                done.bytes = client.received_bytes()
                with contextlib.suppress(LabError, OSError, ValueError):
                    done.picture = client.screenshot(self._given.out / f"{name}.png").name
                done.log = f"{name}.log"
                shutil.copyfile(client.serial_log, self._given.out / done.log)
            if done.result == FAILED:
                self._explain(client, done)

    def _watch(self, client, row, config, done):
        """Follow a boot to its end; returns cause and text, both empty if it booted."""
        if row.persona.first == "disk":
            client.wait_for(MARKER, _TO_MENU_S)
            return "", ""
        title = config["menu"]["title"]
        begins = {
            "menu": f"{re.escape(latin(title))}|{re.escape(title)}",
            **_GAVE_UP,
            **_ends(self.menu_texts(config)),
        }
        limit = self._given.timeout or (300 if self._is_made(row) else 1800)
        if row.keys == ():
            menu = config["menu"]
            limit += _MENUS * menu["arch_timeout_s"].get(row.arch, menu["timeout_s"])
        if row.keys is None and not self._is_made(row):  # without a menu, and silent
            return self._judged(*self._end(client, row, config, limit), row)
        what, said = _first(client, begins, _TO_MENU_S)
        again = begins["menu"]
        for _ in range(_MENUS):
            if what != "menu":
                break
            # The menu is drawn after its title, and takes no keys before.
            time.sleep(2 * self._given.jobs)
            self._picture_menu(client, row, done)
            _press(client, row)
            # UEFI that boots over HTTP too comes to the menu once more before the disk.
            again = rf"(?:{begins['menu']})[\s\S]*?{_IPXE}[\s\S]*?(?:{again})"
            more = {"menu": again} if row.entry is None and row.keys else {}
            what, said = self._end(client, row, config, limit, more)
        return self._judged(what, said, row)

    def _is_made(self, row):
        return row.entry is None or self._isos[row.entry["image"]].made

    def _picture_menu(self, client, row, done):
        done.menu = f"menu-{row.host or row.persona.name}.png"
        if done.menu not in self._menus:
            self._menus.add(done.menu)
            client.screenshot(self._given.out / done.menu)

    def _end(self, client, row, config, limit, more=()):
        """How a boot ended that began in the menu: one of _ends() or of more, and what was said."""
        texts = {**_ends(self.menu_texts(config)), **_GAVE_UP, **dict(more)}
        if self._is_made(row):
            return _first(client, texts, limit)
        # A real ISO says nothing that the lab knows: what it fetched tells.
        del texts["marker"]
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            ended = None
            try:
                return _first(client, texts, 5)
            except _Quiet:
                pass
            except _Ended as err:  # as an installer does at its end
                ended = err
            last = self._last(client)
            if last.get("state") == "running" and not last["cause"]:
                return "running", None
            if ended:
                raise ended
            if last.get("state") in ("failed", "gone silent"):
                return "stopped", None
        raise LabError(f"It did not fetch its stage in {limit} s.")

    def _judged(self, what, said, row):
        if what in _SAID:
            return what, _SAID[what]
        if what == "panic":
            return what, f"Its kernel stopped: {said[0].strip()}"
        if what == "disk":
            wrong = "It booted from its own disk." if row.entry else ""
            return ("local-disk" if wrong else ""), wrong
        if row.entry is None:
            return "other-entry", "It did not boot from its own disk."
        if what == "running":
            return "", ""
        kind, rest = said[0].split(maxsplit=1)
        if kind.endswith("REFUSED"):
            return "first-stage", f"The first stage refused it: {rest.strip()}"
        marker = dict(word.split("=", 1) for word in rest.split())
        return self._checked(marker, row)

    def _checked(self, marker, row):
        """Whether what booted is what was to boot, byte for byte."""
        iso = self._isos[row.entry["image"]].made
        stage = iso.stages.get(marker["stage"], (0, ""))
        for name, got, wanted in (
            ("the stage", marker["digest"], stage[1]),
            ("variant", marker["variant"], row.entry["variant"]),
            ("method", marker["method"], row.entry["method"]),
        ):
            if got != wanted:
                return "other-entry", f"It booted something else: {name} is {got}, not {wanted}."
        return "", ""

    def _last(self, client):
        """The boot of a client, as netboot.trace has it; not one of the same host before it."""
        boots = self.ask("netboot.trace", client.mac)["boots"]
        return boots[-1] if boots and boots[-1]["started"] >= self._since[client] else {}

    def _explain(self, client, done):
        """Add what the netboot server knows of why a boot failed."""
        for _ in range(8):
            last = self._last(client)
            if last.get("cause") or last.get("state") not in ("loading", "in menu"):
                break
            time.sleep(5)
        if last.get("cause"):
            done.text = f"{last['text']} {done.text}".strip()
            done.cause, done.advice = last["cause"], last["advice"]


class _Quiet(LabError):
    """Nothing was said in time."""


class _Ended(LabError):
    """The machine ended before it said anything."""


_SAID = {
    "refused": "Its firmware refused the boot loader: Secure Boot.",
    "nothing": "Its firmware found nothing to boot.",
    "failed": "The menu could not load it.",
    "missing": "Its entry is not in the menu.",
    "wrong password": "The menu refused the password.",
    "stopped": "It stopped.",
}


def _ends(texts):
    """What ends a boot, as patterns by name."""
    return {
        "marker": r"NETBOOT-ALT-(?:MARKER|REFUSED) [^\n]*\n",
        "disk": MARKER,
        "panic": r"Kernel panic[^\n]*",
        "failed": texts["failed"],
        "missing": texts["missing"],
        "wrong password": texts["refused"],
    }


def _first(client, patterns, limit):
    """Which of the patterns comes first on the serial port, and its match.

    Raises _Quiet when none comes in time, _Ended when the machine ends before.
    """
    every = "|".join(f"(?P<p{at}>{one})" for at, one in enumerate(patterns.values()))
    try:
        match = client.wait_for(every, limit)
    except LabError as err:
        kind, what = _Ended, "It switched itself off or restarted"
        if "was not there after" in str(err):
            kind, what = _Quiet, f"It said nothing for {limit} s"
        said = tail(client.serial_log, 1).strip()[-200:]
        raise kind(f"{what}; the last on its serial port: {said}") from err
    at = next(at for at in range(len(patterns)) if match[f"p{at}"] is not None)
    return list(patterns)[at], match


def _press(client, row):
    for key in row.keys or ():
        if key == "pause":
            time.sleep(1)
        else:
            client.press(key)
    if row.password:
        time.sleep(1)
        client.press(*USER, "ret", *PASSWORD, "ret")


# -- the command -----------------------------------------------------------------------------------


def rehearse(words=None):
    """Run it; returns the exit status."""
    given = arguments(words)
    people = chosen_personas(given)
    shutil.rmtree(given.out / "logs", ignore_errors=True)
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="netboot-rehearse.", dir=given.out) as folder:
        os.chmod(folder, 0o755)  # noqa: S103 (the lab's web server)
        user, isos, loaders = prepared(given, folder)
        lab_pillar = fit(user, isos, loaders, _PREFIX, _WEB)
        found = resolved(lab_pillar.pillar)
        _refuse(found["problems"], given.pillar)
        config = found["config"]
        entries, wrong = foreseen(config, isos)
        _check_names(given, config, user.get("hosts") or {})
        made = _plan(given, people, config, entries, user, isos)
        if given.list:
            return _print_list(lab_pillar, isos, made, wrong)
        if not made.rows:
            raise LabError("\n".join([*wrong, *made.notes, "There is nothing to boot."]))
        return _run(given, people, user, isos, loaders, folder)


def _check_names(given, config, hosts):
    """Raise LabError for a pattern of the command line that nothing in the pillar has."""
    images = [*config["images"], *config["elsewhere"]]
    labels = [image["label"] for image in images]
    there = {
        "image": ([image["name"] for image in images], labels),
        "method": (config["serves"], ()),
        "host": (list(map(str, hosts)), ()),
    }
    for kind, (names, more) in there.items():
        known = [name.lower() for name in (*names, *more)]
        for pattern in getattr(given, kind):
            if not fnmatch.filter(known, pattern.lower()):
                has = f"there are {', '.join(names)}" if names else "there are none"
                raise LabError(f"No {kind} {pattern!r} in the pillar; {has}.")


def _plan(given, people, config, entries, user, isos):
    without = tuple(
        name for name, iso in isos.items() if iso.made and iso.made.arch not in DEBIAN_ARCHES
    )
    chosen = Chosen(given.image, given.method, given.host, without)
    hosts, groups = user.get("hosts") or {}, user.get("groups") or {}
    return plan(people, config, entries, hosts, groups, chosen)


def _print_list(lab_pillar, isos, made, wrong):
    for one in lab_pillar.changes:
        print(f"differs: {one}")
    for one in wrong:
        print(f"wrong: {one}")
    for one in made.notes:
        print(f"note: {one}")
    rows = [Result(row.persona.name, row.what) for row in made.rows]
    wide = widths(rows)
    for row, one in zip(made.rows, rows):
        keys = " ".join(row.keys or ("by itself",))
        print(f"{one.who:{wide[0]}}  {one.what:{wide[1]}}  {keys}")
    print(f"{len(rows)} boots.")
    return 1 if wrong or not rows else 0


def _run(given, people, user, isos, loaders, folder):
    for old in given.out.glob("[0-9][0-9][0-9]-*"):
        old.unlink()
    for old in given.out.glob("menu-*.png"):
        old.unlink()
    state = SimpleNamespace(results=[], changes=[], notes=[])
    started = time.monotonic()
    try:
        _in_lab(given, people, user, isos, loaders, folder, state)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        for one in state.results:
            one.text = one.text or "interrupted"
    except (LabError, OSError, subprocess.SubprocessError) as err:
        notes = "".join(getattr(err, "__notes__", []))
        print(f"\n{err}\n{notes}", file=sys.stderr)
        state.results.append(Result("lab", "virtual LAN", FAILED, text=str(err).partition("\n")[0]))
    finally:
        write(given.out, state, {name: one.how for name, one in isos.items()})
    took = time.monotonic() - started
    print(f"\n{matrix(state.results)}\n{took:.0f} s; results: {given.out}")
    return 0 if passed(state.results) else 1


def write(out, state, images):
    """Write the table, JSON and JUnit XML."""
    text = "\n".join([*(f"differs: {one}" for one in state.changes), *state.notes])
    (out / "table.txt").write_text(f"{table(state.results)}\n\n{text}\n")
    found = as_json(state.results, state.changes, images)
    (out / "results.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (out / "junit.xml").write_text(junit(state.results))


def _in_lab(given, people, user, isos, loaders, folder, state):
    say("building the virtual LAN ...")
    server_gives = (user.get("dhcp") or {}).get("mode") == "server"
    with Lab(logs=given.out / "logs", router=not server_gives) as lab:
        web = lab.web(folder)
        prefix = lab.address.rpartition(".")[0]
        lab_pillar = fit(user, isos, loaders, prefix, web.url)
        state.changes += lab_pillar.changes
        for one in lab_pillar.changes:
            print(f"differs: {one}", flush=True)
        server, salt = _server(lab, user, {"netboot": lab_pillar.pillar})
        rehearsal = Rehearsal(given, user, isos, lab, server, salt)
        say("applying the pillar ...")
        failed = rehearsal.applied()
        state.results += failed
        for one in failed:
            print(f"apply  {one.what}  {FAILED}  {one.text}", flush=True)
        config = rehearsal.ask("netboot.applied")
        entries = rehearsal.ask("netboot.entries")
        made = _plan(given, people, config, entries, lab_pillar.pillar, isos)
        state.notes += [f"note: {one}" for one in made.notes]
        for one in made.notes:
            print(f"note: {one}", flush=True)
        _boots(given, rehearsal, made.rows, config, state)


def _server(lab, user, pillar):
    """The netboot server and its Salt: a machine with a kernel of its own where it needs one."""
    if needs_kernel(user):
        server = lab.guest("netboot1", installed=IN_GUEST)
        server.run(["systemctl", "disable", "--now", "vsftpd"])
        return server, GuestSaltCall(server, pillar)
    more = ["samba"] if "cifs" in methods_of(user) else []
    server = lab.server("netboot1", packages=more, installed=INSTALLED, binds=[CHECKOUT])
    return server, SaltCall(server, pillar)


def _boots(given, rehearsal, rows, config, state):
    planned = [Result(row.persona.name, row.what) for row in rows]
    wide, at, first = widths(planned), len(state.results), 0
    state.results += planned
    pool = concurrent.futures.ThreadPoolExecutor(given.jobs)
    try:
        running = {
            pool.submit(rehearsal.boot, number, row, config): number
            for number, row in enumerate(rows)
        }
        for future in concurrent.futures.as_completed(running):
            first += 1
            done = state.results[at + running[future]] = future.result()
            print(line(done, first, len(rows), wide), flush=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
