"""
Why boots stop: each cause with its state, what happened, and what to do about it.

docs/troubleshooting.md has an anchor for each; tests/boot/test_causes.py makes each for real.
"""

from __future__ import annotations

from typing import NamedTuple

#: What a client may be doing.
STATES = ("in menu", "loading", "running", "local disk", "failed", "gone silent")


class Cause(NamedTuple):
    """State, what happened (with fields), what to do (with fields)."""

    state: str
    text: str
    advice: str


# Of what may lie on the way.
_CHECK = (
    "./netboot check. If that finds nothing, it is over, or lies on the way: ./netboot check "
    "--from MACHINE."
)

CAUSES = {
    # -- its firmware
    "unknown-firmware": Cause(
        "gone silent",
        "Its kind of firmware, number {arch} in DHCP option 93, gets no answer from this server.",
        "./netboot status lists the kinds that are served; netboot:firmware adds a boot loader.",
    ),
    "other-server": Cause(
        "gone silent",
        "Its firmware was offered a boot, and took another server's: {others}.",
        "Switch off network boot on that server, or let it offer this one: ./netboot hints.",
    ),
    "offer-not-taken": Cause(
        "gone silent",
        "Its firmware was offered a boot by this server, and did not come back for the boot file.",
        f"Another server's offer was taken, or UDP port 4011 of this server is closed: {_CHECK}",
    ),
    "file-not-asked": Cause(
        "gone silent",
        "It was told to load {file}, and did not ask for it.",
        f"UDP port 69 of this server is closed, or another server's offer was taken: {_CHECK}",
    ),
    "loader-missing": Cause(
        "failed",
        "Its boot loader {file} is not on this server.",
        "./netboot apply brings it, or says why it cannot.",
    ),
    "tftp-cut-off": Cause(
        "failed",
        "It asked for {file} by TFTP, and no longer answered while that was sent.",
        "Packets get lost on the way: a firewall that drops UDP (netboot:tftp:ports), a tunnel or "
        "VLAN with a smaller MTU, a bad cable.",
    ),
    "secure-boot": Cause(
        "failed",
        "It was sent {file} whole, which did not start. Secure Boot refuses what is not signed.",
        "Give it a signed one (netboot:secure_boot), or switch Secure Boot off. Its "
        "screen says Access Denied or Security Violation if it is that.",
    ),
    "shim-refused": Cause(
        "failed",
        "It was sent the shim {file} whole, which asked for nothing: its Secure Boot refused it.",
        "./netboot doctor names the keys that signed it: this machine trusts none of them, or has "
        "revoked that shim.",
    ),
    "second-stage-refused": Cause(
        "failed",
        "The shim was sent {file} whole, which did nothing: the shim refused it, or it hangs.",
        "./netboot doctor says if it is unsigned, lacks .sbat, was revoked, or needs a key that "
        "each machine has to enroll (MOK). Old machines may hang in it: secure_boot: false for "
        "their hosts.",
    ),
    "kernel-refused": Cause(
        "failed",
        "{what} was refused by Secure Boot, or did not start.",
        "./netboot doctor says how the image's kernel and shim are signed.",
    ),
    "image-not-signed": Cause(
        "failed",
        "{entry} does not start with Secure Boot: {why}.",
        "Boot an image that is signed, or switch Secure Boot off in its firmware.",
    ),
    "loader-not-started": Cause(
        "failed",
        "It was sent {file} whole, which did not start, or found no network card.",
        "Its network card's own PXE is broken: boot iPXE from a USB stick, or use another card.",
    ),
    "ipxe-lacks-feature": Cause(
        "failed",
        "It loaded {file}, an iPXE that lacks what the menu needs (menus, HTTP, or kernels of its "
        "kind), and is sent its boot loader again and again.",
        "Use the packaged boot loader: remove netboot:firmware:KIND from the pillar, or give it an "
        "iPXE with these features.",
    ),
    # -- the web server
    "web-server-down": Cause(
        "failed",
        "The web server of this machine did not run at that time: {since}.",
        "journalctl -u {service} says why; ./netboot apply starts it.",
    ),
    "web-server-not-reached": Cause(
        "failed",
        "It was told to load {what}, and no request arrived.",
        f"TCP port {{port}} is closed here or on the way, or a route is wrong: {_CHECK}",
    ),
    "script-missing": Cause(
        "failed",
        "The menu's script {file} is not there.",
        "./netboot apply writes it.",
    ),
    "script-without-menu": Cause(
        "gone silent",
        "It read the menu's script and went no further.",
        "Switched off then; or its iPXE lacks a feature: let it load this server's boot loader "
        "first.",
    ),
    # -- the menu
    "no-image-for-arch": Cause(
        "in menu",
        "No image for {arch} is ready, so its menu has nothing to boot.",
        "./netboot images; add an image for {arch} to netboot:images.",
    ),
    "not-in-pillar": Cause(
        "in menu",
        "It is no host of the pillar, so it got the menu of strangers.",
        "./netboot hosts adopt {mac} as NAME, or correct the mac of its host.",
    ),
    "left-in-menu": Cause(
        "gone silent",
        "Nobody chose anything in the menu, or the machine was switched off.",
        "Without a time-out a menu waits for a key.",
    ),
    "wrong-password": Cause(
        "failed",
        "The name or password that was typed is wrong.",
        "Passwords are those of netboot:menu:password:users.",
    ),
    "entry-not-ready": Cause(
        "failed",
        "Its entry {entry} is not in the menu: the image is not ready, or lacks it.",
        "./netboot images shows what is ready; the last apply says why an image is not.",
    ),
    "armed-not-ready": Cause(
        "failed",
        "{host} is armed to boot {entry}, which is not in the menu: the image is not ready.",
        "./netboot images; it boots by itself once the image is there.",
    ),
    "not-armed": Cause(
        "local disk",
        "{host} is not armed, so it boots from its own disk.",
        "./netboot arm {host}",
    ),
    "answers-missing": Cause(
        "failed",
        "Its installer got no {file}: they are over, it asked from another network card, or "
        "netboot-once does not run.",
        "./netboot check; ./netboot arm {host}, then switch it on.",
    ),
    "install-failed": Cause(
        "failed",
        "Its installation stopped at {step}: {why}.",
        "Mend that, then ./netboot arm {host}.",
    ),
    "local-disk": Cause(
        "local disk",
        "It was sent to its local disk {times} times within {minutes} min: perhaps nothing boots "
        "there.",
        "Install it (./netboot arm HOST, or choose in the menu), or put the disk next in its "
        "firmware's boot order.",
    ),
    # -- kernel and initrd
    "not-found": Cause(
        "failed",
        "{what} was not sent: {path} was answered {status}, as it is not there.",
        "./netboot check; ./netboot apply brings what is missing. If check finds nothing, it is "
        "there again.",
    ),
    "forbidden": Cause(
        "failed",
        "{what} was not sent: {path} was answered {status}, as the web server may not read it.",
        "Its rights or SELinux type were changed: ./netboot apply mends those of these states.",
    ),
    "cut-off": Cause(
        "failed",
        "{what} was cut off at byte {sent} of {total}: {path}.",
        "The client stopped reading: too little memory, a cable, or it was switched off.",
    ),
    "unreachable": Cause(
        "failed",
        "{what} could not be loaded: {why}.",
        "The connection broke: a cable, a switch port, the web server ({service}).",
    ),
    "not-bootable": Cause(
        "failed",
        "{what} could not be loaded: this firmware starts no such file.",
        "Its architecture is another one, or the file is damaged: ./netboot verify.",
    ),
    "not-loaded": Cause(
        "failed",
        "{what} could not be loaded: {why}.",
        "https://ipxe.org/err/ explains the number; else its screen does.",
    ),
    "wrong-digest": Cause(
        "failed",
        "{path} was changed on this server since it was verified.",
        "./netboot verify; ./netboot apply unpacks it again.",
    ),
    "stopped-loading": Cause(
        "gone silent",
        "After the {step} nothing more was asked for.",
        "It was switched off, or hangs: look at its screen.",
    ),
    # -- the first stage
    "too-little-memory": Cause(
        "gone silent",
        "It has {has} MiB of memory, and {entry} needs {needs} MiB.",
        "./netboot entries lists how much each needs: those that mount (nfs, cifs) need less.",
    ),
    "stage-not-asked": Cause(
        "gone silent",
        "The kernel was started, and its first stage asked for nothing.",
        "No address for the kernel's network card (spanning tree, another card), another one than "
        "the menu's, or too little memory: {entry} needs {needs} MiB.",
    ),
    "stage-not-fetched": Cause(
        "gone silent",
        "The first stage asked for the size of its image, and did not fetch it.",
        "Too little memory: {entry} needs {needs} MiB.",
    ),
    "lease-too-short": Cause(
        "failed",
        "{what} was cut off at byte {sent} of {total} after {seconds} s; its address was leased "
        "for {lease} s, and a first stage that does not renew it loses it.",
        "Raise netboot:dhcp:subnets:*:lease_s well above the time of a download.",
    ),
    "slow": Cause(
        "loading",
        "{path} came at {rate} MB/s.",
        "A port or cable at 10 Mbit/s, or too many at once: 100 Mbit/s carry 11 MB/s in all.",
    ),
    "loop": Cause(
        "failed",
        "It began {times} times within {minutes} min, each time as far as: {step}.",
        "It restarts by itself: look at its screen; ./netboot disarm HOST if it installs again and "
        "again.",
    ),
}
