"""
Applied states for people: a line for each change, failure, warning and note, then a summary.

Used by ``./netboot apply`` and ``./netboot ssh``; elsewhere after ``saltutil.sync_output``::

    salt 'netboot*' state.apply --out=netboot_apply
"""

import re

__virtualname__ = "netboot_apply"

# salt.state.State.call_chunk
_WAITED = "One or more requisite failed"
_SUMMARY = "netboot-applied"
# What Salt's own states say, and how ours say it.
_WORDS = (
    (r"(/\S+): directory - new", r"\1 would be made."),
    (r"The file (/\S+) is set to be changed", r"\1 would be changed."),
    (r"(?:File|Directory) (/\S+) is set for removal", r"\1 would be removed."),
    (r'Command "(.*)" would have been executed', r"\1 would be run."),
    (r"File (/\S+) updated", r"\1 was updated."),
    (r"Removed (?:file|directory) (/\S+)", r"\1 was removed."),
    (r'Command "(.*)" run', r"\1 was run."),
)
# salt.modules.state.running
_ANOTHER = re.compile(r'"state\.\w+" is running as PID (\d+) and .* at \d+, (\w+ \d+ \d+:\d+)')
# What salt-ssh shows of ssh and sudo, and what to do.
_ADVICE = (
    (
        "continue connecting",
        "its host key is not known here. Log in once with ssh, compare the key and accept it, or "
        "accept any key by -i.",
    ),
    (
        "a password is required",
        "sudo asks for a password there. Allow it without one (NOPASSWD in /etc/sudoers.d), as "
        "nobody is there to type it.",
    ),
    (
        "Permission denied",
        "it refuses the key. Name the right one by priv: in conf/roster, or copy Salt's own there: "
        "ssh-copy-id -f -i .cache/salt/etc/salt/pki/master/ssh/salt-ssh.rsa.pub USER@HOST.",
    ),
)


__opts__ = {}  # Salt's loader gives the outputter its own; color is off in pipes
_COLORS = ((r"\bFAILED\b", "31;1"), (r"\bINSTALLED\b", "1"), (r"(?m)^warning\b", "33"))


def __virtual__():
    return __virtualname__


def output(data, **_kwargs):
    """
    Return the text for what state runs returned.

    data
        The results of the states by machine; or anything else, such as errors of rendering.

    CLI Example:

    .. code-block:: bash

        salt-call state.apply --out=netboot_apply
    """
    if not isinstance(data, dict):
        return str(data)
    text = "\n\n".join(_machine(name, found) for name, found in sorted(data.items()))
    for pattern, color in _COLORS if __opts__.get("color") else ():
        text = re.sub(pattern, rf"\033[{color}m\g<0>\033[0m", text)
    return text


def _machine(name, found):
    lines = [] if name == "local" else [f"{name}:"]
    if not isinstance(found, dict) or not all(map(_is_state, found.values())):
        return "\n".join([*lines, *_plain(found)])
    # A state whose function is not there has no __id__ of its own (salt.state.State.call).
    named = [{"__id__": tag.split("_|-")[1:2][0], **state} for tag, state in found.items()]
    states = sorted(named, key=lambda state: state.get("__run_num__", 0))
    waiting = [state for state in states if _waits(state)]
    failed = [state for state in states if state["result"] is False and state not in waiting]
    changed = [state for state in states if state["changes"] and state not in failed]
    done = {}  # as a map: an ordered set
    for state in states:
        if state in failed:
            lines += _line("FAILED", f"{state['__id__']}: {state['comment'].strip()}")
        elif state in changed:
            line = _line("would" if state["result"] is None else "changed", _done(state))
            done["\n".join(line)] = None
            lines += line
        for warning in state.get("warnings", []):
            lines += _line("warning", warning)
    for name, state in found.items():
        if name.endswith("_|-show_notification"):
            lines += _line("note", state["comment"])
    # As many as there are lines.
    count = [f"{len(done)} changed"]
    if _foretold(changed):
        count = [f"{len(done)} change{'' if len(done) == 1 else 's'} foreseen"]
    count.append(f"{len(states) - len(changed) - len(failed) - len(waiting)} unchanged")
    if failed:
        count.append(f"{len(failed)} FAILED")
    if waiting:
        count.append(f"{len(waiting)} not tried because of that")
    seconds = sum(state.get("duration", 0) for state in states) / 1000
    lines = list(dict.fromkeys(lines))
    lines.append(f"{', '.join(count)}; {seconds:.1f} s.")
    summary = [
        state["comment"].replace("netboot.arm host=NAME", "./netboot arm NAME")
        for state in states
        if state.get("__id__") == _SUMMARY
    ]
    return "\n".join([*lines, *summary])


def _is_state(found):
    return isinstance(found, dict) and {"result", "changes", "comment"} <= set(found)


def _plain(found):
    """Return what is no result of states, such as mistakes in an SLS, or a machine out of reach."""
    if another := _ANOTHER.search(str(found)):
        pid, since = another.groups()
        # Not queue=True: without a minion nobody runs what Salt has queued.
        return _line("FAILED", f"another apply runs here (PID {pid}, since {since}); wait for it")
    for sign, advice in _ADVICE:
        if sign in str(found):
            return [f"FAILED   {advice}"]
    if isinstance(found, dict):
        found = [f"{key}: {value}" for key, value in found.items()]
    return [str(one).rstrip() for one in (found if isinstance(found, list) else [found])]


def _waits(state):
    return state["result"] is False and state["comment"].strip().startswith(_WAITED)


def _foretold(changed):
    return any(state["result"] is None for state in changed)


def _done(state):
    """Return what a state did, in one line. Salt's own states may not say it, or without a name."""
    said = [line.strip() for line in state["comment"].strip().splitlines()]
    # file.directory lists, under test=True.
    first = said[1] if said and said[0].endswith(":") and said[1:] else said[0] if said else ""
    if not first:
        return f"{state['name']} was made."
    for theirs, ours in _WORDS:
        if re.fullmatch(theirs, first):
            return re.sub(theirs, ours, first)
    ours = state["comment"].rstrip().endswith(".") or state["name"] in first
    return first if ours else f"{state['name']}: {first}"


def _line(word, text):
    first, *more = text.splitlines() or [""]
    return [f"{word:9}{first}", *(f"{'':9}{line.strip()}" for line in more)]
