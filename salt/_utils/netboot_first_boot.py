"""
What an installed machine does at its first boot: packages, commands, Salt's minion, reports. Pure.

It runs as a unit of its own, with retries, as the network and the repositories may come up late. If
there is no salt-minion to be had, that is reported, and each further boot tries again.
"""

from __future__ import annotations

from netboot_install_shell import HEAD, STATE, assignments
from netboot_shapes import Install, InstallMachine

UNIT = "netboot-first-boot.service"
UNIT_TEXT = f"""\
[Unit]
Description=First boot after an unattended install by netboot-alt
Wants=network-online.target
After=network-online.target
ConditionPathExists=!{STATE}/done

[Service]
# Not oneshot: the system need not wait for it.
Type=simple
ExecStart=/bin/sh {STATE}/first-boot

[Install]
WantedBy=multi-user.target
"""


def script(install: Install, machine: InstallMachine) -> str:
    """
    Return the script.

    install
        The install.

    machine
        The machine.
    """
    master = machine["minion"]["master"] if machine["minion"] else install["salt"]["master"]
    values = {
        "reports": machine["reports"],
        "state": STATE,
        "packages": " ".join(install["packages"]),
        "repositories": "1" if install["repositories"] else "",
        "ntp": " ".join(install["ntp"]),
        "minion": "1" if master else "",
        "highstate": "1" if master and install["salt"]["highstate"] else "",
    }
    return assignments(values) + HEAD + _SCRIPT


# Each command is a file, commands/NUMBER.
_SCRIPT = r"""
state=$R$state
mkdir -p "$state/marks"
logs=$state/log
exec >>"$logs" 2>&1

log() {
    echo "$(date '+%F %T') $*"
}

# A step that once succeeded is not repeated at the next boot.
step() { # NAME COMMAND...
    name=$1
    shift
    [ ! -e "$state/marks/$name" ] || return 0
    if "$@"; then
        : >"$state/marks/$name"
        log "$name: done"
    else
        log "$name: failed"
        return 1
    fi
}

tries() { # TIMES SECONDS COMMAND...
    left=$1 pause=$2
    shift 2
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep "$pause"
    done
}

reported() { # STEP: however long the network takes to come up
    tries 60 2 fetched "$reports/$1" || return 1
    case $1 in failed-*) send_logs ;; esac
}

# The lists of the installer go, ours stays.
own_repositories() {
    for list in "$R"/etc/apt/sources.list "$R"/etc/apt/sources.list.d/*.list; do
        case $list in */netboot.list | *'*'*) continue ;; esac
        [ ! -f "$list" ] || sed -i 's/^[[:space:]]*rpm/#&/' "$list" || return 1
    done
}

own_time_servers() {
    chrony=$R/etc/chrony.conf
    [ -f "$chrony" ] || return 0
    sed -i 's/^[[:space:]]*\(server\|pool\)[[:space:]]/#&/' "$chrony" || return 1
    for server in $ntp; do echo "server $server iburst" >>"$chrony"; done
    systemctl try-restart chronyd.service || :
}

installed() { # PACKAGE...
    apt-get update && apt-get -y install "$@"
}

start_minion() {
    rpm -q salt-minion >/dev/null 2>&1 || tries 5 60 installed salt-minion || {
        # Somebody should know before it gives up.
        reported failed-minion
        tries 55 60 installed salt-minion
    } || return 1
    systemctl enable --now salt-minion.service
}

# It fails until the master has accepted the key.
first_highstate() {
    tries 120 60 salt-call state.apply
}

step reported-first-boot reported first-boot || :
well=1
if [ -n "$repositories" ]; then step repositories own_repositories || well=; fi
if [ -n "$ntp" ]; then step ntp own_time_servers || well=; fi
if [ -n "$packages" ]; then
    # shellcheck disable=SC2086
    step packages tries 30 60 installed $packages || well=
fi
for command in "$state"/commands/*; do
    [ ! -f "$command" ] || step "command-${command##*/}" sh "$command" || well=
done
[ -n "$well" ] || reported failed-first-boot || :
if [ -n "$minion" ]; then
    if step minion start_minion; then
        step reported-minion reported minion || :
        if [ -n "$highstate" ]; then step highstate first_highstate || :; fi
    else
        reported failed-minion || :
        well=
    fi
fi
[ -z "$well" ] || : >"$state/done"
exit 0
"""
