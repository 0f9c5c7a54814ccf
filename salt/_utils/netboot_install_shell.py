"""
What the shell scripts of an unattended install share: they never stop it by themselves, and report
steps to the netboot server. Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

#: Where the installed system keeps what is ours, root's alone.
STATE = "/var/lib/netboot-install"


def assignments(values: Mapping[str, str]) -> str:
    """
    Return the beginning of a shell script, with variables.

    values
        Their values by name.
    """
    lines = [f"{name}={shlex.quote(value)}" for name, value in values.items()]
    return "\n".join(["#!/bin/sh", "# Made by netboot-alt for one install.", *lines, ""])


def put(path: str, mode: str, text: str) -> str:
    """
    Return a shell command that calls ``put`` with a text.

    path
        Path of the file in the installed system.

    mode
        Its mode, octal.

    text
        The text; it gets a last line break if it has none.
    """
    mark = "END"
    while mark in text:
        mark += "_"
    end = "" if text.endswith("\n") or not text else "\n"
    return f"put {shlex.quote(path)} {mode} <<'{mark}'\n{text}{end}{mark}\n"


# NB_ROOT is for tests: a directory instead of /.
HEAD = r"""
R=${NB_ROOT:-}

say() {
    echo "netboot-alt: $*" >&2
    for to in "$R/tmp/netboot.log" "$R/dev/console"; do
        { echo "netboot-alt: $*" >>"$to"; } 2>/dev/null || :
    done
}

# Where ALT's installer keeps its logs (fact), and we ours.
logs="$R/tmp/install2.log $R/tmp/preinstall.log $R/tmp/wizard.log $R/tmp/netboot.log"

fetched() { # URL
    if command -v curl >/dev/null; then
        curl --silent --fail --output /dev/null --connect-timeout 2 --max-time 2 "$1"
    else
        wget -q -O /dev/null -T 2 -t 1 "$1"
    fi
}

report() { # STEP WHY: once, if the server answers; why it failed, in a URL's letters
    [ ! -e "$R/tmp/netboot-reports/$1" ] || return 0
    mkdir -p "$R/tmp/netboot-reports"
    why=$(printf '%s' "${2:-}" | tr -c 'A-Za-z0-9./_-' '+' | cut -c -240)
    if fetched "$reports/$1${why:+?y=$why}" >/dev/null 2>&1; then
        : >"$R/tmp/netboot-reports/$1"
        case $1 in failed-*) send_logs ;; esac
    fi
    return 0
}

# The ends of the logs without secrets, as far as the server takes them: in a URL's letters.
send_logs() {
    token=${reports%/did} number=10
    token=${token##*.}
    for piece in $(
        for file in $logs; do
            [ -s "$file" ] || continue
            echo "==> $file"
            tail -c 16384 "$file" | tr -c '\t\n -~\200-\377' '?' |
                sed -e '/passw/d' -e '/[$][0-9a-z]*[$]/d' -e "s/$token/***/g"
        done | gzip -9 | base64 -w 700 | tr '+/=' '-_.'
    ); do
        [ "$number" -lt 74 ] && fetched "$reports/log-$number?y=$piece" || return 0
        number=$((number + 1))
    done >/dev/null 2>&1
}

# A wizard that waits at its screen says nothing by itself.
watch_logs() {
    mkdir -p "$R/tmp/netboot-reports"
    [ ! -e "$R/tmp/netboot-reports/watch" ] || return 0
    : >"$R/tmp/netboot-reports/watch"
    for _ in 1 2 3 4 5 6 7 8 9; do
        sleep 1200
        send_logs
    done </dev/null >/dev/null 2>&1 &
}
"""
