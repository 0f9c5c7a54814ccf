"""
Ask netboot servers: ./netboot COMMAND [ARGUMENTS] [--on TARGET] [--json]

The launcher names the program of Salt first.
"""

import argparse
import base64
import json
import os
import sys
import zlib

from . import applying, carrying, following, views
from .asking import Asker, AskError


class Parser(argparse.ArgumentParser):
    """Errors are one sentence."""

    def error(self, message):
        fail(f"{message}; see {self.prog} --help")


def fail(why, status=1):
    print("\n".join(f"netboot: {line}" for line in why.splitlines()), file=sys.stderr)
    raise SystemExit(status)


def arm(asker, options):
    """All of them, or none."""
    return asker.ask("netboot.arm", **whom(options), **given(options, "hours", "test"))


def disarm(asker, options):
    everybody = {"host": "*"} if options.all else whom(options)
    return asker.ask("netboot.arm", **everybody, disarm=True)


def wake(asker, options):
    return asker.ask("netboot.wake", **whom(options))


def whom(options):
    return {**({"host": options.hosts} if options.hosts else {}), **given(options, "group")}


def hosts(asker, options):
    if options.follow:
        raise SystemExit(0 if following.follow(asker, options.group) else 1)
    found = asker.ask("netboot.hosts")
    if options.group:
        found = {
            machine: [one for one in listed if one["group"] == options.group]
            for machine, listed in found.items()
        }
        if not any(found.values()):
            raise AskError(f"No host of the pillar is in a group {options.group!r}.")
    return found


def verify(asker, options):
    """By the name of an image, or the path of a file."""
    if "/" in options.file:
        return to_file("iso_fetch.verify")(asker, options)
    found = {}
    for machine, images in asker.ask("netboot.list").items():
        if options.file not in images:
            named = ", ".join(images) or "none"
            raise AskError(f"There is no image {options.file!r}; there are: {named}.")
        path = images[options.file]["iso"]["path"]
        found[machine] = asker.ask("iso_fetch.verify", path)[machine]
    return found


def import_hosts(asker, options):
    """Shown and checked, then asked for."""
    from . import inventory  # noqa: PLC0415 (needs PyYAML)

    return to_pillar(asker, options, inventory.from_csv(typed(options.file)))


def adopt(asker, options):
    if options.as_ != "as":
        raise AskError("say it as: hosts adopt MAC as NAME")
    settings = {"mac": options.mac, **({"group": options.group} if options.group else {})}
    return to_pillar(asker, options, {options.name: settings})


def to_pillar(asker, options, hosts):
    from . import inventory  # noqa: PLC0415

    hosts, shown = inventory.plan(asker, hosts)
    print("\n".join(shown))
    if asker.by_master:
        return {"local": ["Its pillar is the master's; add there:", *inventory.lines(hosts)]}
    if hosts and not options.yes:
        agree("Write that?", "nothing was written; --yes writes it.")
    return {"local": inventory.write(hosts)}


def menu(asker, options):
    host = {} if options.host is None else {"host": options.host}
    return asker.ask("netboot.menu", arch=options.arch, **host)


def hints(asker, options):
    return asker.ask("netboot.dhcp_hints", **({"server": options.server} if options.server else {}))


def given(options, *names):
    found = {name: getattr(options, name) for name in names}
    # Not 0: who is asked says that it is wrong.
    return {
        name: value for name, value in found.items() if value is not None and value is not False
    }


def check(asker, options):
    """What a server knows; with --from, what another machine gets from it."""
    if not options.from_:
        tries = given(options, "probe", "whole")
        return asker.ask("netboot.check", **tries)
    other = Asker(os.environ.get("NETBOOT_OTHER_SALT", "salt"), options.from_)
    found = {}
    for machine, plan in asker.ask("netboot.expected", **given(options, "whole")).items():
        for name, listed in other.ask("netboot.probe", packed(plan)).items():
            found[f"{machine} from {name}" if options.on else f"from {name}"] = listed
    return found


def packed(plan):
    """A plan as a word of a command line; of many images it has fewer samples."""
    for most in (2, 1, 1):
        word = base64.b64encode(zlib.compress(json.dumps(plan).encode(), 9)).decode()
        if len(word) < LONGEST_WORD:
            return word
        files = {
            path: one and {**one, "samples": one["samples"][:most]}
            for path, one in plan["files"].items()
        }
        plan = {**plan, "files": files}
    raise AskError(
        "There are too many images for --from: write what netboot.expected returns to a file on "
        "that machine, as JSON, and call netboot.probe /FILE there."
    )


def doctor(asker, options):
    """Slips in the YAML of this checkout's pillar, too, which Salt cannot read."""
    found = asker.ask("netboot.doctor", **given(options, "network"))
    slips = [] if options.on else applying.mistakes()
    if slips:
        of_yaml = [{"key": "pillar.yaml", "severity": "error", "text": slip} for slip in slips]
        found["local"] = of_yaml + [one for one in found["local"] if one["key"] != "pillar.missing"]
    return found


def progress(asker, _options):
    try:
        return asker.beside_an_apply().ask("iso_fetch.progress")
    except AskError:
        return asker.ask("iso_fetch.progress")  # where no modules are yet, no apply runs


def function(name):
    return lambda asker, _options: asker.ask(name)


def to_file(name):
    """With a path on the server; on this machine, as the user typed it."""

    def ask(asker, options):
        if options.on and not options.file.startswith("/"):
            raise AskError(f"{options.file}: give an absolute path on that machine.")
        return asker.ask(name, typed(options.file))

    return ask


def export(asker, options):
    return carrying.export(asker, there(options), options.images)


def import_(asker, options):
    return carrying.import_(asker, there(options))


def there(options):
    """The directory on the server."""
    if options.on and not options.directory.startswith("/"):
        raise AskError(f"{options.directory}: give an absolute path on that machine.")
    return os.path.abspath(typed(options.directory))


def typed(path):
    """A path on this machine, which the user typed in another directory."""
    return os.path.join(os.environ.get("NETBOOT_FROM", ""), path)


HOSTS = {"metavar": "HOST", "nargs": "*", "help": "name in the pillar, or a pattern such as 'lab*'"}
HOST = {"metavar": "HOST", "nargs": "?", "help": "as this host sees it: name, MAC address, UUID"}
FILE = {"metavar": "IMAGE", "help": "name of an image, or the path of a file on the server"}
PATH = {"metavar": "FILE", "help": "path of the file on the server, such as netboot.tar.gz"}
DIRECTORY = {"metavar": "DIRECTORY", "help": "such as that of a mounted disk: /mnt/disk"}
# With a default, as argparse calls it required otherwise.
IMAGES = {
    "metavar": "IMAGE",
    "nargs": "*",
    "default": [],
    "help": "names of images; all by default",
}
SERVER = {"metavar": "SERVER", "nargs": "?", "help": "isc, kea, dnsmasq or table; default: all"}
CLIENTS = {"type": int, "metavar": "NUMBER", "help": "how many (default: 100)"}
LINK = {"type": int, "metavar": "MBIT", "help": "speed of the server's link (default: as it is)"}
ARCH = {"default": "x86_64", "help": "architecture of the client (default: x86_64)"}
STATE = {
    "help": "stopped (the next two together), failed, 'gone silent', 'in menu', loading, running "
    "or 'local disk'"
}
SINCE = {"help": "seen since then: 30m, 2h, 7d"}
CLIENT = {"metavar": "CLIENT", "help": "its name in the pillar, its MAC or its IPv4 address"}
CSV = {"metavar": "FILE", "help": "its first line names the columns, such as name,mac,group"}
MAC = {"metavar": "MAC", "help": "its MAC address, as the menu and `hosts unknown` show it"}
AS = {"metavar": "as", "help": "the word as"}
NAME = {"metavar": "NAME", "help": "of the host, new or in that file"}
GROUP = {"help": "its group in the pillar"}
HOURS = {
    "type": int,
    "metavar": "NUMBER",
    "help": "for how long hosts are armed that are installed unattended",
}
TEST = {"action": "store_true", "help": "only say what would happen"}
ALL = {"action": "store_true", "help": "every host"}
FOLLOW = {"action": "store_true", "help": "draw it again until all are installed"}
YES = {"action": "store_true", "help": "write without asking"}
#: Linux: MAX_ARG_STRLEN is 128 KiB.
LONGEST_WORD = 130_000
PROBE = {"action": "store_true", "help": "try all entries now, as each kind of firmware loads them"}
WHOLE = {"action": "store_true", "help": "and compare each file whole"}
FROM = {"dest": "from_", "metavar": "MACHINE", "help": "try that from another machine"}
NAGIOS = {"action": "store_true", "help": "one line for monitoring"}
SCRIPT = {"action": "store_true", "help": "the iPXE script instead"}
SCRIPTS = {"action": "store_true", "help": "also the scripts that come with them"}
NETWORK = {"action": "store_true", "help": "ask mirrors, name servers and DHCP servers, too"}
CARRY = ("export", "import")
#: What each does, who asks, who draws, and its arguments.
COMMANDS = {
    "status": ("how the server is", function("netboot.status"), views.status, {}),
    "images": ("the images, whether they are ready", function("netboot.list"), views.images, {}),
    "clients": (
        "the clients that were seen: how far each came",
        lambda asker, options: asker.ask("netboot.clients", **given(options, "state", "since")),
        views.clients,
        {"--state": STATE, "--since": SINCE},
    ),
    "trace": (
        "what a client did, where it stopped and why",
        lambda asker, options: asker.ask("netboot.trace", options.client),
        views.trace,
        {"client": CLIENT},
    ),
    "hosts": (
        "the hosts of the pillar",
        hosts,
        views.hosts,
        {"--group": GROUP, "--follow": FOLLOW},
    ),
    "hosts unknown": (
        "machines that asked for a boot and are not in the pillar",
        lambda asker, _options: asker.ask("netboot.hosts", unknown=True),
        views.unknown,
        {},
    ),
    "hosts import": (
        "hosts of a CSV file into pillar/netboot_hosts.sls",
        import_hosts,
        list,
        {"file": CSV, "--yes": YES},
    ),
    "hosts adopt": (
        "a machine becomes a host in pillar/netboot_hosts.sls",
        adopt,
        list,
        {"mac": MAC, "as_": AS, "name": NAME, "--group": GROUP, "--yes": YES},
    ),
    "entries": ("what clients can boot", function("netboot.entries"), views.entries, {}),
    "menu": (
        "the menu that a client sees",
        menu,
        views.menu,
        {"host": HOST, "--arch": ARCH, "--script": SCRIPT},
    ),
    "arm": (
        "arm hosts: they boot their entry one more time",
        arm,
        views.arm,
        {"hosts": HOSTS, "--group": GROUP, "--hours": HOURS, "--test": TEST},
    ),
    "disarm": (
        "disarm hosts: they boot from their own disks",
        disarm,
        views.disarm,
        {"hosts": HOSTS, "--group": GROUP, "--all": ALL},
    ),
    "wake": (
        "wake hosts over the network (Wake-on-LAN)",
        wake,
        views.wake,
        {"hosts": HOSTS, "--group": GROUP},
    ),
    "answers": (
        "what the installer of a host is answered, without secrets",
        lambda asker, options: asker.ask("netboot.answers", options.host),
        views.answers,
        {"host": {"metavar": "HOST", "help": "its name in the pillar"}, "--scripts": SCRIPTS},
    ),
    "progress": ("how far fetches are", progress, views.progress, {}),
    "verify": ("whether an ISO is still the verified one", verify, views.verify, {"file": FILE}),
    "hints": ("what another DHCP server needs", hints, views.hints, {"server": SERVER}),
    "plan": (
        "how long clients take that boot together, what would help",
        lambda asker, options: asker.ask("netboot.plan", **given(options, "clients", "link")),
        views.plan,
        {"--clients": CLIENTS, "--link": LINK},
    ),
    "check": (
        "what does not work, or may not",
        check,
        views.check,
        {"--probe": PROBE, "--whole": WHOLE, "--from": FROM, "--nagios": NAGIOS},
    ),
    "doctor": (
        "what keeps this machine from serving, before the first apply, too",
        doctor,
        views.check,
        {"--network": NETWORK},
    ),
    "backup": (
        "put the records into a file",
        to_file("netboot.backup"),
        views.backup,
        {"file": PATH},
    ),
    "restore": (
        "put the records of a backup in place",
        to_file("netboot.restore"),
        views.restore,
        {"file": PATH},
    ),
    "export": (
        "copy the verified ISOs to a disk, for a machine without a network",
        export,
        views.exported,
        {"directory": DIRECTORY, "images": IMAGES},
    ),
    "import": (
        "put the ISOs of such a disk into place",
        import_,
        views.imported,
        {"directory": DIRECTORY},
    ),
    "firewall": (
        "rules that a hand-written firewall lacks",
        function("netboot.firewall_rules"),
        views.firewall,
        {},
    ),
}


def options_of(command, words):
    told, _ask, _view, arguments = COMMANDS[command]
    parser = Parser(prog=f"./netboot {command}", description=f"{told[0].upper()}{told[1:]}.")
    for name, settings in arguments.items():
        parser.add_argument(name, **settings)
    parser.add_argument("--on", metavar="TARGET", help="machines of conf/roster, else minions")
    parser.add_argument("--json", action="store_true", help="the data")
    return parser.parse_args(words)


def agree(question, without):
    """Ask a person; fail with the other sentence where nobody is there."""
    if not sys.stdin.isatty():
        fail(without)
    try:
        answer = input(f"{question} [y/N] ").strip().lower()
    except (EOFError, KeyboardInterrupt):
        answer = ""
        print()
    if answer not in ("y", "yes", "д", "да"):
        fail("nothing was changed.")


def apply(program, command, words):
    """On this machine; as `ssh` on those that the first word names."""
    if wrong := applying.mistyped(words):
        fail(wrong)
    yes = "--yes" in words
    words = [word for word in words if word != "--yes"]
    if slips := applying.mistakes(roster=command == "ssh"):
        fail("\n".join(slips))
    target = words.pop(0) if command == "ssh" else None
    if slips := applying.unrendered(program, target, words):
        fail("\n".join(slips))
    looks = any(word.lower() == "test=true" for word in words)
    if not (yes or looks) and (question := applying.question(program, target, words)):
        agree(f"{question} Go on?", f"{question} Say --yes if that is meant.")
    if not target:
        raise SystemExit(applying.run(program, target, words))
    try:
        status = applying.run_bringing(program, target, words)
    except AskError as err:
        fail(str(err))
    raise SystemExit(status)


def main(program, command, *words):
    if command in ("apply", "ssh"):
        apply(program, command, list(words))
    if words and f"{command} {words[0]}" in COMMANDS:
        command, words = f"{command} {words[0]}", words[1:]
    _told, ask, view, _arguments = COMMANDS[command]
    options = options_of(command, words)
    wrong = None
    try:
        answers = ask(Asker(program, options.on), options)
    except AskError as err:
        answers, wrong = err.answers, str(err)
        if wrong.startswith("Nothing was applied") and not options.on:
            wrong += " Or ask another machine: --on NAME."
    if answers:
        show(answers, view, options)
    if wrong:
        fail(wrong, views.UNKNOWN if command in ("check", "doctor") else 1)
    if command in ("check", "doctor"):
        raise SystemExit(views.severity(answers))
    if any(
        data.get("wrong") or data.get("skipped") for data in answers.values() if command in CARRY
    ):
        raise SystemExit(1)


def show(answers, view, options):
    if options.json:
        print(json.dumps(answers.get("local", answers), indent=1))
        return
    if getattr(options, "nagios", False):
        print(views.nagios(answers))
        return
    if getattr(options, "scripts", False):
        view = views.answers_whole
    if getattr(options, "script", False):
        view = str.splitlines
    for number, (machine, data) in enumerate(sorted(answers.items())):
        if machine != "local":
            print(f"{chr(10) if number else ''}{machine}:")
        print("\n".join(view(data)))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BrokenPipeError:
        os._exit(1)  # such as of head
