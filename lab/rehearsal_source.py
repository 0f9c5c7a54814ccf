"""Where a rehearsal has its pillar and its ISOs from: files of this machine, or made ones."""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from cli import slips
from netboot_names import image_file

from .host import LabError
from .iso import make_iso
from .iso.generations import GENERATIONS
from .rehearsal_pillar import arch_of, generation_of, images_of
from .salt import CHECKOUT, PROGRAMS

_SUMS = ("sha512", "sha256", "sha1", "md5")


def pillar_of(path, minion):
    """The pillar that a file or a folder (with top.sls) gives to a minion, and its slips.

    Raises LabError when Salt cannot render it.
    """
    path = Path(path).resolve()
    if not path.exists():
        raise LabError(f"{path} does not exist; --pillar takes a file or a folder with top.sls.")
    files = sorted(path.rglob("*.sls")) if path.is_dir() else [path]
    found = [slip for file in files for slip in slips.slips(file)]
    if path.is_dir():
        found += slips.twice(path)
        if not (path / "top.sls").exists():
            found.append(f"{path}: has no top.sls; name the file itself with --pillar")
    if found:
        return {}, found
    if path.is_file() and (plain := _plain(path)) is not None:
        return plain, []
    with tempfile.TemporaryDirectory(prefix="netboot-rehearse.") as work:
        roots = [str(path)]
        if path.is_file():
            shutil.copy(path, Path(work, "rehearsed.sls"))
            Path(work, "top.sls").write_text("base: {'*': [rehearsed]}\n")
            # what it includes or imports
            roots = [work, str(path.parent)]
        settings = yaml.safe_load((CHECKOUT / "conf" / "minion").read_text())
        settings |= {"id": minion, "root_dir": work, "pillar_roots": {"base": roots}}
        settings |= {tree: {"base": [str(CHECKOUT / "salt")]} for tree in ["file_roots"]}
        settings |= {"module_dirs": [str(CHECKOUT / "salt")], "log_level": "critical"}
        Path(work, "minion").write_text(yaml.safe_dump(settings))
        command = [PROGRAMS / "salt-call", "--local", f"--config-dir={work}", "--out=json"]
        command += ["--log-level=critical", "pillar.items", "unmask=True"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            pillar = json.loads(done.stdout)["local"]
        except (ValueError, KeyError) as err:
            raise LabError(f"Salt cannot render {path}:\n{done.stdout}{done.stderr}") from err
    if pillar.get("_errors"):
        said = done.stderr or "\n".join(f"[CRITICAL] {one}" for one in pillar["_errors"])
        return {}, slips.rendered(said, path if path.is_dir() else path.parent) or pillar["_errors"]
    return pillar, []


def _plain(path):
    """A file that Salt would not change, which takes Salt seconds; else None."""
    if slips.renders(path) or path.read_text(encoding="utf-8").startswith("#!"):
        return None
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    return plain if isinstance(plain, dict) and "include" not in plain else None


class IsoFile:
    """An image's ISO on this machine: its path, where it is from, its TestIso if it is made."""

    def __init__(self, path, how, made=None):
        self.path, self.how, self.made = Path(path), how, made

    def __repr__(self):
        return f"{self.path}: {self.how}"


def isos_of(pillar, folder, isos=None, fetch=None):
    """An IsoFile by image; folder: where they are put, for the lab's web server.

    isos: a folder of the user's ISOs; fetch: a folder for those that are fetched; None: none are.
    """
    found = {}
    for name, image in images_of(pillar).items():
        if image.get("skip_iso_deploy") is True or not isinstance(image.get("url"), str):
            continue
        try:
            file = image_file(image)
        except ValueError:
            continue
        # Of two images with the same file the pillar is refused.
        target = Path(folder) / Path(file).name
        real = _real(image, file, isos, fetch)
        if real:
            target.unlink(missing_ok=True)
            target.symlink_to(real[0])
            found[name] = IsoFile(target, real[1])
        else:
            found[name] = _made(name, image, target)
    return found


def _real(image, file, isos, fetch):
    """The path of an image's ISO on this machine and a word on it, or None."""
    url = urlsplit(image["url"])
    places = [Path(isos, file)] if isos else []
    places += [Path(unquote(url.path))] if url.scheme == "file" else []
    for place in places:
        if place.is_file():
            return place.resolve(), f"{place}"
    if fetch and url.scheme in ("http", "https", "ftp"):
        return _fetched(image, Path(fetch, file))
    return None


def _fetched(image, path):
    """The ISO, fetched from its URL unless it was before; None if that cannot be reached."""
    if not path.exists():
        part = path.with_suffix(".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                urllib.request.urlopen(image["url"], timeout=20) as answer,  # noqa: S310
                part.open("wb") as file,
            ):
                shutil.copyfileobj(answer, file, 1 << 20)
        except (OSError, urllib.error.URLError):
            with contextlib.suppress(OSError):
                part.unlink()
            return None
        part.rename(path)
    return path.resolve(), f"{path}, fetched from {image['url']}"


def _made(name, image, target):
    """An IsoFile in the layout of the image's generation."""
    generation, arch = generation_of(name, image), arch_of(name, image)
    row = GENERATIONS[generation]
    if arch not in row.arches:
        generation = next(one for one in reversed(GENERATIONS) if arch in GENERATIONS[one].arches)
    iso = make_iso(
        target.parent,
        generation,
        name=target.name.removesuffix(".iso"),
        edition=hashlib.sha256(name.encode()).hexdigest()[:6],
        stage_mib=2,
        arch=arch,
    )
    if iso.path != target:
        iso.path.rename(target)
    how = f"an ISO made in the layout of {generation}, as {target.name} is not on this machine"
    return IsoFile(target, how, iso)


def wrong_sums(pillar, isos):
    """What is wrong with the checksums of ISOs that are really there, a line each."""
    wrong = []
    for name, image in images_of(pillar).items():
        given = image.get("checksum")
        if name not in isos or isos[name].made or not isinstance(given, dict):
            continue
        path = isos[name].path
        for kind in (one for one in _SUMS if one in given):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, kind).hexdigest()
            if digest != str(given[kind]).lower():
                wrong.append(
                    f"netboot:images:{name}:checksum:{kind}: is not that of {os.readlink(path)}, "
                    f"which has {digest}"
                )
    return wrong


def sha256(path):
    """The SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
