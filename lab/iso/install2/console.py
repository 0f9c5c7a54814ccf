"""What the installer says, on every console that there is and in its log, and running programs."""

import subprocess
from pathlib import Path

LOG = Path("/tmp/install2.log")


class Failed(Exception):
    """ALT's installer would stop here too, or be of no use from here on."""


def consoles():
    """Paths of all consoles that this machine can have."""
    active = Path("/sys/class/tty/console/active").read_text().split()
    return sorted({f"/dev/{name}" for name in ("ttyS0", "ttyAMA0", *active)})


def say(text):
    """Writes lines to the consoles and the log, none of which has to be there."""
    for place in (*consoles(), LOG):
        try:
            with open(place, "a") as file:
                file.write(f"{text}\n")
        except OSError:
            continue


def run(*command, stdin=None, environment=None, check=True):
    """Runs a program; what it writes goes to the log. Returns whether it succeeded.

    Raises Failed when it does not and check is True.
    """
    words = [str(word) for word in command]
    with LOG.open("a") as log:
        log.write(f"+ {' '.join(words)}\n")
        log.flush()
        done = subprocess.run(
            words,
            input=stdin or "",
            text=True,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    if done.returncode and check:
        end = " | ".join(LOG.read_text(errors="replace").splitlines()[-4:])
        raise Failed(f"{words[0]}: {end}")
    return done.returncode == 0


def output(*command):
    """What a program prints. Raises Failed when it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout
