"""A stand-in for ALT's installer (alterator's install2), which autoinstall.scm drives.

It is none of ALT's code: it was written from what is publicly known of it, and is stricter than
ALT's on purpose, so that answers which it takes use nothing but what public files show to work.
What ALT's installer passes over in silence ends here with one line, ``NETBOOT-ALT-REFUSED``, as in
the first stages. It runs in the stage of a test ISO (make_iso(installer=True)), which is Debian.

Tests look for its lines on the serial console: ``NETBOOT-ALT-FETCHED file place`` for each file
that it looked for, ``NETBOOT-ALT-WIPED disk=``, ``NETBOOT-ALT-DONE``, and ``autoinstall FAILED:
why`` where ALT's fails too; then the machine restarts or ends. The installed system's first boot
ends with ``NETBOOT-ALT-INSTALLED key=value ...``.

Shown by public files, so the same here: the calls with their keys and values and in which
generation they exist (grammar.py); the three places where files are looked for, in this order, with
a silent step to the next; profiles in sectors of 512 bytes, ``#t`` for the rest, the answer
``((#f ""))``; ``clearall #t`` empties all disks; an EFI system partition comes by itself;
initinstall.d, preinstall.d and postinstall.d with ``destdir`` and ``exec_chroot``; scripts are
fetched while installing, within two seconds, and run at the first boot; sshd is disabled after
laststate.

Derived from change logs, so likely: from which date on a generation can do what (features.py); the
order of the hooks; that BIOS machines get GPT since p10.

Assumed, as nothing public says it: that an error of an HTTP server leads to the next place, as 404
does; how much an EFI system partition takes; that disks are tried by name and emptied at ``control
commit``; that a laststate command runs at its line, not among the scripts of postinstall.d,
although the file that ALT's module writes lies there; that a script that fails stops nothing; that
an initinstall.d script must sort after 27; that two ``run`` of one hook overwrite each other, which
is refused; that a list of packages is a file somewhere in pkg-groups.tar; when preinstall.d runs;
that cards in the installed system have udev's names.

Unlike ALT's: there is no alterator, so no dialog and none of its logs; packages are not installed,
the stage's own Debian is copied; networks are systemd-networkd's, where ``controlled
"NetworkManager"`` only means that cards without settings get DHCP; the installer asks for a lease
on the first stage's card alone; the boot loader is Debian's GRUB, for UEFI at the place where
firmware looks by itself, and no variable of the firmware is written, so the order of boot stays as
it was. In the installed system apt-get is a stand-in too.
"""
