"""A real Salt master in the lab, and minions of it on the lab's machines."""

import json
import time

import yaml

from .host import LabError, tail
from .salt import CHECKOUT, PROGRAMS, Salt

# What a machine must see of this host to run a minion: lab.server(binds=[VENV]). The interpreter in
# it is a link to Debian's, which a machine has at the same place and in the same version.
VENV = PROGRAMS.parent


class Master(Salt):
    """`salt` and its master, which trusts every minion that asks, unless settings say so.

    pillar, settings: as for Salt. It listens on the lab's address and is gone when the lab is.
    """

    # Without --static, with which `salt` exits with 0 even when states failed (salt.cli.salt). So
    # there is one JSON document for each minion, and run() wants a target that is one minion.
    command = (str(PROGRAMS / "salt"),)

    def __init__(self, lab, pillar, **settings):
        super().__init__(
            lab,
            "master",
            pillar,
            interface=lab.address,
            # Seconds; a busy minion may be slow to say that it is busy.
            **{"auto_accept": True, "gather_job_timeout": 60, **settings},
        )
        self._log = lab.logs / "salt-master.log"
        self._start()

    def _start(self):
        with self._log.open("a") as output:
            self._process = self._lab.popen(
                [str(PROGRAMS / "salt-master"), f"--config-dir={self.directory}"],
                cwd=CHECKOUT,
                stdout=output,
                stderr=output,
            )

    def restart(self, machine, timeout=120, **settings):
        """Start again with these settings besides, until the minion `machine` answers."""
        self._process.terminate()
        self._process.wait()
        path = self.directory / "master"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}))
        self._start()
        self._wait_for(machine, timeout)

    def run(self, *argv):
        """As Salt.run(); again when the master did not send the command at all, or sent it twice.

        It may be too busy: `salt` then sends its request again, and the second job finds the first
        one running. And it removes a minion's key for a moment when that logs in once more
        (salt.cache.localfs_key.store), so that no such minion is known.
        """
        for attempt in range(60):
            done = super().run(*argv)
            said = done.stdout + done.stderr
            lost = any(one in said for one in ("could not be contacted", "No command was sent"))
            if not (lost and attempt < 5) and "is running as PID" not in said:
                break
            time.sleep(2)
        return done

    def listen(self, tag):
        """Listen on the master's bus; return a function for what came: tags like this, and data."""
        command = [str(PROGRAMS / "salt-run"), f"--config-dir={self.directory}", "state.event"]
        log = self.directory / "events.log"
        # Each event is a line: its tag, and JSON. It ends with the lab.
        with log.open("w") as output:
            self._lab.popen([*command, tag], cwd=CHECKOUT, stdout=output)
        time.sleep(5)

        def heard():
            lines = [line.split("\t", 1) for line in log.read_text().splitlines() if "\t" in line]
            return [(name, json.loads(text)) for name, text in lines]

        return heard

    def add_minion(
        self, machine, timeout=120, program=(str(PROGRAMS / "salt-minion"),), **settings
    ):
        """Start a minion as a daemon of a machine that has VENV, until it answers to its master.

        program: the words that start it; settings: more for its configuration. Raises LabError,
        with the ends of both logs, when that takes longer than `timeout` seconds.
        """
        self._configure(machine, settings)
        # As in the unit of Salt's packages: a minion that is restarted lets its jobs finish.
        machine.run(
            [
                "systemd-run",
                "--unit=salt-minion",
                "--property=KillMode=process",
                *program,
            ]
        )
        self._wait_for(machine, timeout)

    def restart_minion(self, machine, timeout=120, **settings):
        """Start it again with these settings, until it answers."""
        self._configure(machine, settings)
        machine.run(["systemctl", "restart", "salt-minion"])
        self._wait_for(machine, timeout)

    def _configure(self, machine, settings):
        settings = {"id": machine.name, "master": self._lab.address, **settings}
        machine.run(["mkdir", "-p", "/etc/salt"])
        machine.run(["tee", "/etc/salt/minion"], input=yaml.safe_dump(settings))

    def _wait_for(self, machine, timeout):
        deadline = time.monotonic() + timeout
        # A short --timeout, as what was sent before the minion listened is never answered.
        while self.run(machine.name, "test.ping", "--timeout=2").returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                journal = machine.run(["journalctl", "-u", "salt-minion", "-n", "12"], check=False)
                raise LabError(
                    f"The minion on {machine.name} does not answer its master, see {self._log}:\n"
                    f"{tail(self._log)}\n{journal.stdout}"
                )
            time.sleep(0.5)
