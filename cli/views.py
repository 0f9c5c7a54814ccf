"""What people read: the answers of netboot servers as tables and sentences."""

from . import screen
from .words import GAP, lasting, named, ours, several, size, table, when, wrapped

_DHCP = {
    "proxy": "beside another DHCP server",
    "server": "as the DHCP server",
    "off": "without DHCP: another server names this one (./netboot hints)",
}


def status(data):
    applied, hosts = data["applied"], data["hosts"]
    at = when(applied["at"])
    run = f"last changed {at}" if at else "applied"
    run += f"; {several(len(applied['failed']), 'state')} FAILED" if applied["failed"] else ""
    if applied["version"] != data["version"]:
        run += f" in version {applied['version'] or 'before 0.1.0'}"
    lines = [
        ("version", f"{data['version']}, {run}"),
        ("serves", _serves(data)),
        ("services", _services(data["services"])),
        ("images", _images(data)),
        ("entries", ", ".join(f"{n} for {arch}" for arch, n in data["entries"].items()) or "none"),
    ]
    if hosts["named"]:
        told = [f"{several(hosts['named'], 'host')} in the pillar"]
        told += [f"{hosts['new']} new and not armed"] if hosts["new"] else []
        told += [f"{hosts['armed']} armed"] if hosts["armed"] else []
        told += [f"{hosts['booted']} booted"] if hosts["booted"] else []
        lines.append(("hosts", ", ".join(told)))
    if data["schedule"]:
        lines.append(("schedule", _schedule(data["schedule"])))
    disk = data["disk"]
    lines.append(("disk", f"{size(disk['free'])} of {size(disk['total'])} free at {disk['path']}"))
    found = data["findings"]
    counts = [several(found[one], one) for one in ("error", "warning") if one in found]
    lines.append(("findings", f"{', '.join(counts)}: ./netboot check" if counts else "none"))
    return named(lines)


def _serves(data):
    if data["out_of_service"]:
        since = f"nothing: out of service since {when(data['out_of_service'])}"
        return f"{since}: netboot.clean was applied; ./netboot apply puts it back"
    how = "ISOs for other servers only" if data["mirror"] == "only" else _DHCP[data["dhcp"]]
    return f"{', '.join(data['serves'])}, {how}"


def _services(services):
    down = [name for name, runs in services.items() if not runs]
    up = [name for name, runs in services.items() if runs]
    told = [f"NOT RUNNING: {', '.join(down)}"] if down else []
    return "; ".join([*told, *([f"{', '.join(up)} run"] if up else [])]) or "none yet"


def _schedule(schedule):
    ((unit, number),) = schedule["interval"].items()
    told = [f"every {several(number, unit[:-1])}"]
    told += ["by the minion"] if schedule["by"] == "minion" else []
    told += [f"next {when(schedule['next'])}"] if schedule["next"] else []
    last = when(schedule["last"])
    if schedule["failed"]:
        told.append(f"last run FAILED {last} (journalctl -u netboot-apply)")
    elif last:
        told.append(f"last run {last}")
    return ", ".join(told)


def _images(data):
    images = data["images"]
    told = [f"{len(images['ready'])} ready"]
    if images["missing"]:
        told.append(f"not ready: {', '.join(images['missing'])}")
    told += [
        f"{one['file']} is being fetched: {rate(one)}" for one in data["fetching"] if one["running"]
    ]
    return "\n".join(told)


def rate(one):
    """The progress of a fetch: 32 %, 12.3 MB/s, 5 min left."""
    words = [f"{one['percent']} %" if one["percent"] is not None else size(one["size"])]
    if one["rate"]:
        words.append(f"{size(one['rate'])}/s")
    if one["seconds_left"] is not None:
        words.append(f"{lasting(one['seconds_left'])} left")
    return ", ".join(words)


def images(data):
    if not data:
        return ["The pillar names no image, and none is left from before."]
    return table(
        ("IMAGE", "STATE", "ISO", "UNPACKED", "VERIFIED", "ENTRIES"),
        [(name, *_image(image)) for name, image in data.items()],
    )


def _image(image):
    iso, tree = image["iso"], image["tree"]
    if iso["progress"]:
        state = f"fetching, {rate(iso['progress'])}"
    elif not image["in_pillar"]:
        state = "left over"
    elif tree:
        state = "ready"
    else:
        state = "not unpacked" if iso["bytes"] else "absent"
    return (
        state,
        size(iso["bytes"]) if iso["bytes"] else iso["state"],
        size(tree["bytes"]) if tree else "",
        when(iso["verified"]),
        len(image["entries"]),
    )


def hosts(data):
    if not data:
        return ["The pillar names no host: every machine gets the menu."]
    # What is cut on a narrow terminal comes last; reasons are sentences below.
    told = [line for one in data for line in _told(one)]
    lines = table(("HOST", "STATE", "BOOTS", "IS"), [_host(one) for one in data])
    return [*lines, *([""] if told else []), *wrapped(told)]


def _host(one):
    entry = {"": "the menu's default", "local": "its own disk"}.get(one["entry"], one["entry"])
    if one.get("state"):
        step = f" ({one['step']})" if one["step"] else ""
        how = f"{one['state']}{step} {when(one['since'])}"
    elif not one["once"]:
        how = "after the menu" if one["menu"] else "always"
    elif one["booted"]:
        how = f"booted {when(one['booted'])}"
        if one["booted_entry"] != one["entry"]:
            how += f" ({one['booted_entry']})"
    else:
        how = f"once, armed {when(one['armed'])}" if one["armed"] else "not armed"
    # A UUID is looked up in both byte orders.
    kinds = {each.partition(" ")[0]: each for each in reversed(one["identities"])}
    macs = [each for each in one["identities"] if each.startswith("mac ")]
    is_ = macs or [kinds[kind] for kind in kinds]
    return one["host"], how, entry, ", ".join(is_)


def _told(one):
    """What somebody should know of a host, or do about it."""
    name, state = one["host"], one.get("state") or ""
    if state in ("failed", "silent"):
        at = f" at {one['step']}" if one["step"] else ""
        why = f": {one['why']}" if one.get("why") else ""
        yield f"{name} {'has failed' if state == 'failed' else 'is silent'}{at}{why}."
        yield f"  What it did: ./netboot trace {name}. Install it again: ./netboot arm {name}."
    without = f"{name} has no mac in the pillar: the first machine that"
    if state == "armed" and not any(each.startswith("mac ") for each in one["identities"]):
        yield f"{without} asks is served."
    elif one.get("first_come") and state not in ("", "armed", "not armed"):
        yield f"{without} asked was served."


def unknown(data):
    if not data:
        return ["Every machine that asked is a host in the pillar, or none asked."]
    rows = [
        (
            one["mac"],
            one["address"],
            when(one["last"]),
            " ".join(filter(None, (one["manufacturer"], one["product"]))),
            one["uuid"],
        )
        for one in data
    ]
    next_ = "./netboot hosts adopt MAC as NAME puts one into the pillar."
    return [*table(("MAC", "ADDRESS", "LAST ASKED", "MODEL", "UUID"), rows), "", next_]


# A list is no wider if it can do without these columns.
_COLUMNS = 120
_SPARE = ("TOOK", "BYTES")
_PLATFORMS = {"efi": "UEFI", "pcbios": "BIOS"}
# Of these states the last step says nothing more.
_SAY_ALL = ("in menu", "local disk")


def clients(data):
    if not data:
        return ["No client was seen."]
    columns = {
        "CLIENT": [one["host"] or one["mac"] for one in data],
        "ADDRESS": [one["address"] for one in data],
        "FIRMWARE": [_PLATFORMS.get(one["firmware"], one["firmware"]) for one in data],
        "STATE": [_state(one) for one in data],
        "ENTRY": [one["entry"] for one in data],
        "BYTES": [size(one["bytes"]) for one in data],
        "TOOK": [lasting(one["seconds"]) for one in data],
        # Without the year: what is older than some days is not kept.
        "LAST SEEN": [when(one["last"])[5:] for one in data],
    }
    for spare in _SPARE:
        widths = [max(map(len, (name, *cells))) for name, cells in columns.items()]
        if sum(widths) + len(GAP) * (len(widths) - 1) > _COLUMNS:
            del columns[spare]
    return table(tuple(columns), zip(*columns.values()))


def _state(client):
    """With why it stopped, or how far it came."""
    more = client["cause"] or ("" if client["state"] in _SAY_ALL else client["step"])
    return f"{client['state']}: {more}" if more not in ("", client["state"]) else client["state"]


# As many lines of a log say why; --json has all.
_LOG_LINES = 30


def trace(data):
    end, typos, one = [], _typos(data), data["install"]
    if one:
        step = f" ({one['step']})" if one["step"] else ""
        why = f": {one['why']}" if one["why"] else ""
        end = ["", f"Its installation: {one['state']}{step} since {when(one['since'])}{why}."]
    if data["log"]:
        end += ["", "The end of the logs that its installation sent (--json: all):"]
        end += [f"  {line}" for line in data["log"][-_LOG_LINES:]]
    if not data["boots"] and one and one["state"] != "armed":
        return end[1:]
    if not data["boots"]:
        return [
            f"Nothing was seen of {data['client']}. Is network boot on, and first? Is it on the "
            "server's segment? Do the services run (./netboot check)?",
            *typos,
            *end,
        ]
    boots = [line for boot in data["boots"] for line in ("", *_boot(boot))][1:]
    return [*boots, *(["", *typos] if typos else []), *end]


def _typos(data):
    """What a host's mac in the pillar may have to do with it."""
    if not data["boots"]:
        return [
            f"But {one['mac']} was seen, which is no host in the pillar, {_last(one)}: a typo in "
            f"the mac of {one['host']}?"
            for one in data["near"]
        ]
    # That it is none is the cause, too.
    said = data["boots"][-1]["cause"] == "not-in-pillar"
    lines = ["No host in the pillar is this machine."] if data["stranger"] and not said else []
    return lines + [f"{one['host']} has {one['mac']}: a typo in its mac?" for one in data["near"]]


def _last(one):
    at = f" at {one['address']}" if one["address"] else ""
    return f"last {when(one['last'])}{at}"


def _boot(boot):
    facts = boot["facts"]
    platform = _PLATFORMS.get(facts.get("firmware"), facts.get("firmware"))
    machine = ", ".join(filter(None, (facts.get("model"), platform, facts.get("ipxe"))))
    if not (facts.get("model") or facts.get("ipxe")):
        machine = "; ".join(filter(None, (machine, "its menu reported nothing")))
    steps = [(f"{step['after_s']:.1f} s", step["step"], step["what"]) for step in boot["steps"]]
    width = max((len(step[1]) for step in steps), default=0)
    if boot["unlogged"]:
        steps.append(("", "more", f"about {boot['unlogged']:,} requests came too fast to be kept"))
    why = [boot["text"], boot["advice"], boot["cause"] and f"(cause: {boot['cause']})"]
    at = f"Boot of {when(boot['started'])}" + (f" at {boot['address']}" if boot["address"] else "")
    return [
        f"{at}: {machine}",
        *(f"{at:>9}  {step:{width}}  {what}".rstrip() for at, step, what in steps),
        f"  {boot['state'].upper()}. {' '.join(filter(None, why))}".rstrip(),
    ]


def entries(data):
    if not data:
        return ["Nothing can be booted yet: no image is ready."]
    return table(
        ("ENTRY", "ARCH", "MEMORY", "FETCHES", "BY", "SIGNED", "TITLE"),
        [
            (
                one["id"],
                one["arch"],
                f"{one['memory_mib']} MiB",
                size(one["bytes"]),
                f"{one['method']}, {one['form']}",
                "no" if one["secure_lacks"] else "yes",
                one["title"],
            )
            for one in data
        ],
    )


def menu(data):
    lines, starts = screen.draw(data)
    return [*lines, "", starts] if lines else [starts]


def arm(data):
    by_entry = {}
    for one in data:
        key = one["entry"], one["install"], _disk(one["disk"]), one["until"], bool(one["armed"])
        by_entry.setdefault(key, []).append(one["host"])
    lines = []
    for (entry, install, disk, until, armed), names in by_entry.items():
        would = "armed" if armed else "not armed yet"
        if install:
            lines.append(
                f"{_hosts(names)} {would}: at the next network boot before {when(until)}, {entry} "
                f"is installed ({install}), which wipes {disk}."
            )
        else:
            lines.append(f"{_hosts(names)} {would}: at the next network boot {entry} starts, once.")
    again = [one["host"] for one in data if one.get("installed")]
    if again:
        lines.append(f"Attention: {_hosts(again)} installed already.")
    keys = [(one["minion"], one["finger"]) for one in data if one.get("finger")]
    if keys:
        told = "Keys of their minions, to compare and accept on the master (salt-key -f ID, -a ID):"
        lines += ["", told, *table(("ID", "FINGERPRINT"), keys)]
    if any(one["install"] and one["armed"] for one in data):
        lines += ["", "Switch them on, or ./netboot wake; ./netboot hosts --follow shows how far."]
    return lines


def _disk(rule):
    """Which disks the rule of an install wipes."""
    if isinstance(rule, list):
        return f"the only disk of {rule[0]} to {rule[1]} GB"
    words = {"all": "EVERY disk", "smallest": "the smallest disk", "empty": "the only empty disk"}
    return words.get(rule, rule)


def wake(data):
    armed = [one["host"] for one in data if one["install"]]
    lines = [f"{_hosts([one['host'] for one in data])} woken."]
    told = f"{_hosts(armed)} going to be installed." if armed else "None of them will be installed."
    return [*lines, told]


def answers(data):
    """The answers; of the scripts that come with them, what their names are."""
    lines, texts, scripts = [], {}, []
    for path in sorted(data):
        platform, _, name = path.partition("/")
        if name.endswith(".scm"):
            texts.setdefault((name, data[path]), []).append(platform)
        elif name not in scripts:
            scripts.append(name)
    shown = {}
    for (name, text), platforms in texts.items():
        of, listed = ", ".join(platforms), text.splitlines()
        if name in shown:
            before, told = shown[name]
            differ = [line for line in listed if line not in told]
            lines += [f"== {name} ({of}): as that of {before}, but for", *differ, ""]
        else:
            shown[name] = of, listed
            lines += [f"== {name} ({of})", *listed, ""]
    if scripts:
        lines += ["Scripts that come with them (--scripts shows them):"]
        lines += [f"  {name}" for name in scripts]
    return lines


def answers_whole(data):
    """Those of each platform, with the scripts."""
    return [line for name in sorted(data) for line in (f"== {name}", *data[name].splitlines(), "")]


def _hosts(names):
    """pc1 is; pc1, pc2 are; 30 hosts (pc1, pc2, pc3 and 27 more) are."""
    if len(names) > 5:
        return f"{len(names)} hosts ({', '.join(names[:3])} and {len(names) - 3} more) are"
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def disarm(data):
    if not data:
        return ["None of them was armed."]
    names = [one["host"] for one in data]
    return [f"{_hosts(names)} not armed any more: the local disk boots."]


def backup(data):
    told = "It contains password hashes: only root may read it."
    return [
        f"{several(data['records'], 'record')}, {size(data['bytes'])}, in {data['file']}. {told}"
    ]


def restore(data):
    lines = [f"{several(data['records'], 'record')} restored. Apply the states now."]
    if data["disarmed"]:
        told = "Were armed, and are not any more (./netboot arm HOST):"
        lines.append(f"{told} {', '.join(data['disarmed'])}.")
    return lines


def exported(data):
    total = sum(data["copied"].values())
    lines = [
        f"{several(len(data['copied']), 'ISO')} copied to {data['directory']}, {size(total)}."
        + (f" There already: {', '.join(data['there'])}." if data["there"] else "")
    ]
    lines += [f"NOT COPIED  {name}: {why}." for name, why in data["skipped"].items()]
    return lines


def imported(data):
    total = sum(data["imported"].values())
    lines = [f"{several(len(data['imported']), 'ISO')} put into place, {size(total)}."]
    if data["there"]:
        lines.append(f"In place already: {', '.join(data['there'])}.")
    lines += [f"WRONG    {file}: {why.rstrip('.')}." for file, why in data["wrong"].items()]
    lines += [f"MISSING  {name}: its ISO is not on the disk." for name in data["missing"]]
    if data["unknown"]:
        lines.append(f"Not in the pillar: {', '.join(data['unknown'])}.")
    return lines


def progress(data):
    if not data:
        return ["Nothing is being fetched."]
    return table(
        ("FILE", "PROGRESS", "FROM"),
        [
            (
                one["file"],
                rate(one) if one["running"] else f"{size(one['size'])}, stopped",
                one["url"],
            )
            for one in data
        ],
    )


def verify(data):
    sha256 = data["digests"].get("sha256")
    return [f"It is still the file that was verified: {size(data['size'])}, sha256 {sha256}."]


def plan(data):
    link, memory = data["link"], data["memory"]
    speed = f"{link['mbit']} Mbit/s"
    if link["assumed"]:
        speed += f" (assumed: {link['interface']} does not say)"
    lines = [
        f"{several(data['clients'], 'client')} at once, {speed}: {link['mb_s']:.0f} MB/s",
        f"by TFTP {data['tftp_mb_s']:.0f} MB/s; the menu's files {size(memory['files'])}, page "
        f"cache {size(memory['available'])}",
        "",
    ]
    if not data["entries"]:
        return [*lines, "No image is ready yet."]
    lines += table(
        ("ENTRY", "METHOD", "EACH", "TFTP", "MINUTES"),
        [
            (
                one["id"],
                f"{one['method']}{'*' if one['assumed'] else ''}",
                size(one["bytes"]),
                f"{one['tftp_s']} s",
                f"{one['minutes']:.1f}",
            )
            for one in data["entries"]
        ],
    )
    if any(one["assumed"] for one in data["entries"]):
        lines += ["", "* mounted: what is read of the stage is assumed, 400 MB at most"]
    return [*lines, "", *wrapped(data["advice"])]


def hints(data):
    if isinstance(data, dict):
        return [line for kind in data for line in ("", f"== {kind}", *hints(data[kind]))][1:]
    if isinstance(data, str):
        return data.rstrip("\n").split("\n")
    heads = list(data[0]) if data else []
    return table(
        [head.replace("_", " ").upper() for head in heads],
        [[_cell(row.get(head)) for head in heads] for row in data],
    )


def _cell(value):
    return ", ".join(map(str, value)) if isinstance(value, list) else value or ""


#: The exit status of ``check`` when nobody could be asked.
UNKNOWN = 3


def severity(answers):
    """The exit status of ``check``, as monitoring plugins have it: 2 errors, 1 warnings, 0."""
    found = {one["severity"] for data in answers.values() for one in data}
    return 2 if "error" in found else 1 if "warning" in found else 0


def nagios(answers):
    """One line as monitoring plugins print it (Monitoring Plugins Development Guidelines)."""
    listed = [one for data in answers.values() for one in data]
    counts = {kind: sum(one["severity"] == kind for one in listed) for kind in ("error", "warning")}
    word = ("OK", "WARNING", "CRITICAL")[severity(answers)]
    first = next((ours(one["text"]) for one in listed if one["severity"] in counts), "")
    told = first.replace("|", "/") or "clients can boot"
    return f"NETBOOT {word} - {told} | errors={counts['error']} warnings={counts['warning']}"


def check(data):
    if not data:
        return ["Nothing was found that is wrong."]
    return named([(one["severity"].upper(), ours(one["text"])) for one in data])


def firewall(data):
    return data or ["No rule needs to be added."]
