#!/usr/bin/python3
"""A stand-in for ALT's apt-get, apt-cache and apt-repo, on the real rpm and its real database.

It is none of apt-rpm's code. It acts as whatever name it is called by, with its files where that
program's would be: called as PREFIX/usr/bin/apt-get, it reads PREFIX/etc/apt/sources.list. There is
no network in it: what a repository's address http://HOST/PATH has lies in PREFIX/srv/web/HOST/PATH,
in folders RPMS.COMPONENT as in ALT's repositories.

Like apt-rpm it knows new packages only after `apt-get update`, speaks the system's language, and
has an exit status that is not to be trusted: 0, when rpm itself refused the packages.
"""

import functools
import json
import os
import re
import subprocess
import sys
import urllib.parse
from pathlib import Path

PREFIX = Path(sys.argv[0]).absolute().parents[2]
SOURCES = PREFIX / "etc/apt/sources.list"
LISTS = PREFIX / "var/lib/apt/lists/standin.json"
ARCH = os.uname().machine
MIRROR = "http://ftp.altlinux.org/pub/distributions/ALTLinux"
TASKS = "http://git.altlinux.org"

# As apt-rpm names a version: epoch, version, release, branch and task, time of the build.
VERSION = "%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}%|DISTTAG?{:%{DISTTAG}}|@%{BUILDTIME}"
QUERY = f"%{{NAME}}\\t{VERSION}\\t[%{{PROVIDES}} ]\\t[%{{REQUIRES}} ]\\n"

# Options that apt-rpm has in its table; it refuses those that only Debian's apt-get has.
OPTIONS = {"-d", "-f", "-m", "-q", "-qq", "-s", "-u", "-y"}
OPTIONS |= {"--assume-yes", "--download-only", "--fix-broken", "--force-yes", "--purge", "--quiet"}
OPTIONS |= {"--reinstall", "--simulate", "--yes"}

# What of its output a translation changes.
RUSSIAN = {"  Installed:": "  Установлен:", "  Candidate:": "  Кандидат:", "Get": "Получено"}


class Refused(Exception):
    """What apt-get says after `E: `."""


def say(text):
    language = os.environ.get("LC_ALL") or os.environ.get("LANG") or "C"
    for word, russian in RUSSIAN.items() if language.startswith("ru") else ():
        text = re.sub(f"^{word}", russian, text, flags=re.MULTILINE)
    print(text, flush=True)


def rpm(*words):
    return subprocess.run(["rpm", *words], check=False, text=True, capture_output=True)


def newest_first(versions):
    """By rpm's own comparison, then by the time of the build."""

    def compare(one, other):
        (first, built), (second, built_second) = (split(version) for version in (one, other))
        told = rpm("--eval", f'%{{lua: print(rpm.vercmp("{first}", "{second}"))}}').stdout.strip()
        return int(told) or (built > built_second) - (built < built_second)

    return sorted(versions, key=functools.cmp_to_key(compare), reverse=True)


def split(version):
    evr, _, built = version.partition("@")
    return re.sub(r":[^:-]*\+[^:-]*$", "", evr), int(built)


# -- repositories --------------------------------------------------------------------------------


def repositories():
    """Lines of sources.list."""
    lines = SOURCES.read_text().splitlines()
    return [" ".join(line.split()) for line in lines if line.startswith("rpm ")]


def folders(line):
    """The address of each component of a repository, and the folder that it lies in."""
    url, path, *components = re.sub(r"^rpm (\[\S+\] )?", "", line).split()
    at = urllib.parse.urlsplit(url)
    folder = PREFIX / "srv/web" / (at.hostname or "") / at.path.strip("/") / path
    return [(f"{url} {path}/{one}", folder / f"RPMS.{one}") for one in components]


def update():
    known, failed = [], False
    for line in repositories():
        for number, (address, folder) in enumerate(folders(line), 1):
            if not folder.is_dir():
                say(f"Err {address} pkglist\n  404 Not Found")
                failed = True
                continue
            say(f"Get:{number} {address} pkglist [1024B]")
            files = sorted(str(file) for file in folder.glob("*.rpm"))
            for file, row in zip(files, described("-p", *files) if files else []):
                known.append({**row, "file": file, "from": address})
    say("Fetched 1024B in 0s (1024B/s)\nReading Package Lists...\nBuilding Dependency Tree...")
    LISTS.parent.mkdir(parents=True, exist_ok=True)
    LISTS.write_text(json.dumps(known))
    if failed:
        raise Refused("Some index files failed to download.")


def described(*words):
    keys = ("name", "version", "provides", "requires")
    told = rpm("-q", *words, "--queryformat", QUERY).stdout
    return [dict(zip(keys, line.split("\t"))) for line in told.splitlines() if "\t" in line]


def known():
    try:
        return json.loads(LISTS.read_text())
    except FileNotFoundError:
        return []


def installed():
    """Versions by name."""
    found = {}
    for row in described("-a"):
        found.setdefault(row["name"], []).append(row["version"])
    return found


def candidates():
    """The newest of each package, by name."""
    rows = {}
    for row in known():
        rows.setdefault(row["name"], {})[row["version"]] = row
    return {name: these[newest_first(these)[0]] for name, these in rows.items()}


# -- changing the system -------------------------------------------------------------------------


def install(words, reinstall=False):
    here, newest, chosen = installed(), candidates(), {}
    for word in words:
        if word.startswith("/"):
            (row,) = described("-p", word)
            chosen[row["name"]] = {**row, "file": word}
            continue
        name, _, version = word.partition("=")
        row = newest.get(name)
        if version:
            rows = [one for one in known() if (one["name"], one["version"]) == (name, version)]
            if name in newest and not rows:
                raise Refused(f"Version '{version}' for '{name}' was not found")
            row = rows[0] if rows else None
        row = row or next((one for one in newest.values() if name in one["provides"].split()), None)
        if not row:
            raise Refused(f"Couldn't find package {name}")
        if row["version"] in here.get(row["name"], []) and not reinstall:
            say(f"{row['name']} is already the newest version.")
        else:
            chosen[row["name"]] = row
    carry_out(with_needed(chosen, newest), here, reinstall)


def with_needed(chosen, newest):
    """The packages with those that they need and that are not there."""
    todo = list(chosen.values())
    while todo:
        row = todo.pop()
        for need in row["requires"].split():
            offered = {word for one in chosen.values() for word in one["provides"].split()}
            if need.startswith("rpmlib(") or need in offered:
                continue
            if not rpm("-q", "--whatprovides", need).returncode:
                continue
            found = [one for one in newest.values() if need in one["provides"].split()]
            if not found:
                raise Refused(
                    "Broken packages\nThe following packages have unmet dependencies:\n"
                    f"  {row['name']}: Depends: {need} but it is not installable"
                )
            chosen[found[0]["name"]] = found[0]
            todo.append(found[0])
    return chosen


def carry_out(chosen, here, reinstall=False):
    new = sorted(name for name in chosen if name not in here)
    other = sorted(name for name in chosen if name in here)
    say("Reading Package Lists...\nBuilding Dependency Tree...")
    if other:
        say(f"The following packages will be upgraded\n  {' '.join(other)}")
    if new:
        say(f"The following NEW packages will be installed:\n  {' '.join(new)}")
    say(
        f"{len(other)} upgraded, {len(new)} newly installed, 0 removed and 0 not upgraded.\n"
        "Need to get 0B/1024B of archives."
    )
    if chosen:
        files = [row["file"] for row in chosen.values()]
        commit("-U", "--oldpackage", *(["--replacepkgs"] if reinstall else []), *files)


def remove(names):
    here = installed()
    gone = [name for name in names if name in here]
    for name in gone:  # which grows by those that need it
        for word in rpm(
            "-q", "--provides", "--queryformat", "[%{PROVIDES}\\n]", name
        ).stdout.split():
            told = rpm("-q", "--whatrequires", word, "--queryformat", "%{NAME}\\n")
            needing = [] if told.returncode else told.stdout.split()
            gone += [one for one in dict.fromkeys(needing) if one not in gone]
    say("Reading Package Lists...\nBuilding Dependency Tree...")
    if gone:
        say(f"The following packages will be REMOVED:\n  {' '.join(sorted(gone))}")
    say(f"0 upgraded, 0 newly installed, {len(gone)} removed and 0 not upgraded.")
    if gone:
        commit("-e", *gone)


def commit(*words):
    say("Committing changes...\nPreparing...")
    done = rpm(*words)
    print(done.stderr, end="", file=sys.stderr)
    say("Done.")


def upgrade():
    here = installed()
    newer = {
        name: row
        for name, row in candidates().items()
        if name in here and newest_first([*here[name], row["version"]])[0] not in here[name]
    }
    carry_out(with_needed(newer, candidates()), here)


def apt_get(words):
    for word in words:
        if word.startswith("-") and word not in OPTIONS:
            raise Refused(f"Command line option {word} is not understood")
    command, *names = [word for word in words if not word.startswith("-")]
    if command == "update":
        update()
    elif command == "install":
        install(names, "--reinstall" in words)
    elif command == "remove":
        remove(names)
    elif command == "dist-upgrade":
        upgrade()
    else:
        raise Refused(f"Invalid operation {command}")


def apt_cache(words):
    command, *names = words
    rows = known()
    if command == "pkgnames":
        say("\n".join(sorted({row["name"] for row in rows})))
        return
    if command != "policy":
        raise Refused(f"Invalid operation {command}")
    here = installed()
    for name in names:
        there = {row["version"]: row["from"] for row in rows if row["name"] == name}
        versions = newest_first({*there, *here.get(name, [])})
        if not versions:
            print(f"W: Unable to locate package {name}", file=sys.stderr)
            continue
        now = here.get(name, ["(none)"])[-1]
        say(f"{name}:\n  Installed: {now}\n  Candidate: {versions[0]}\n  Version Table:")
        for version in versions:
            say(f" {'***' if version == now else '   '} {version} 0")
            if version in there:
                say(f"        500 {there[version]} pkglist")
            if version in here.get(name, []):
                say("        100 RPM Database")


def apt_repo(words):
    command, source = (words or ["list"])[0], " ".join(words[1:])
    if source.startswith("rpm "):
        lines = [" ".join(source.split())]
    elif source.isdigit():
        lines = [f"rpm {TASKS} repo/{source}/{ARCH} task"]
    else:
        lines = [f"rpm [{source}] {MIRROR} {source}/branch/{ARCH} classic"]
    before = repositories()
    if command == "list":
        say("\n".join(before))
    elif command == "add":
        if source.isdigit() and not folders(lines[0])[0][1].is_dir():
            raise Refused(f"Task {source} not found")
        write(before + [line for line in lines if line not in before])
    elif command == "rm":
        write([] if source == "all" else [line for line in before if line not in lines])
    else:
        raise Refused(f"Unknown command {command}")


def write(lines):
    SOURCES.write_text("".join(f"{line}\n" for line in lines))


def main():
    programs = {"apt-get": apt_get, "apt-cache": apt_cache, "apt-repo": apt_repo}
    try:
        programs[Path(sys.argv[0]).name](sys.argv[1:])
    except Refused as err:
        print(f"E: {err}", file=sys.stderr)
        sys.exit(100)


if __name__ == "__main__":
    main()
