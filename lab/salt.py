"""Salt as users run it, with the checkout's states and a pillar of the lab's, on its machines."""

import contextlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import yaml
from jsonschema.exceptions import best_match

from . import roots
from .host import LabError

CHECKOUT = Path(__file__).resolve().parents[1]
PROGRAMS = CHECKOUT / ".venv" / "bin"
SCHEMA = CHECKOUT / "docs" / "pillar.schema.json"

# What Salt 3006 and 3007 need when they apply states without a master; Debian 11 has it all.
LIBRARIES = ["python3-distro", "python3-jinja2", "python3-jmespath", "python3-msgpack"]
LIBRARIES += ["python3-packaging", "python3-psutil", "python3-tornado", "python3-yaml"]


@dataclass
class Applied:
    """What an apply came to: the exit status of Salt's program, and its states by their ID."""

    status: int
    states: dict
    text: str

    @property
    def failed(self):
        """The states that failed, by ID."""
        return {name: state for name, state in self.states.items() if state["result"] is False}

    @property
    def changed(self):
        """The changes, made or foretold, of the states that have any, by ID."""
        return {name: state["changes"] for name, state in self.states.items() if state["changes"]}


class UserTrees:
    """The pillar, and a state tree of the user's own, in the `directory` of a configuration."""

    knows_probe = True  # not those of older versions

    def write_pillar(self, pillar):
        """Replace the pillar, for all machines."""
        if self.knows_probe and isinstance(pillar.get("netboot"), dict):
            # It takes seconds of each apply: for those that are about it.
            pillar = {**pillar, "netboot": {"probe": False, **pillar["netboot"]}}
        self._pillar = pillar
        self._write(pillar)

    def _write(self, pillar):
        write_pillar(self.directory / "pillar", pillar)

    def _applied(self, done, minion):
        """As applied(). A pillar that the netboot states accept must fit its schema."""
        found = applied(done, minion)
        accepted = found.states.get("netboot-config-resolved")
        if accepted and accepted["result"] is not False:
            schema = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
            wrong = best_match(schema.iter_errors(json.loads(json.dumps(self._pillar))))
            if wrong:
                raise LabError(f"The pillar was applied, its schema refuses it: {wrong.message}")
        return found

    @contextlib.contextmanager
    def overridden(self, name, text):
        """While the block runs, a state tree of the user's own has the file `name`, with `text`."""
        path = self.directory / "states" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        try:
            yield
        finally:
            path.unlink()


class Salt(UserTrees):
    """One of Salt's programs with the checkout's configuration, but its own pillar and cache.

    name: of its directory in the lab's, which has the configuration, pillar and cache; pillar: what
    stands in the pillar (a map), write_pillar() changes it; checkout: another than this one, of an
    older version; settings: more for the configuration, or others than the checkout's.
    """

    command = ()  # the program and its options

    def __init__(self, lab, name, pillar, checkout=CHECKOUT, **settings):
        self._lab = lab
        self.knows_probe = checkout == CHECKOUT
        self.directory = lab.directory / name
        self.directory.mkdir()
        self.write_pillar(pillar)
        master = yaml.safe_load((CHECKOUT / "conf" / "master").read_text())
        # Absolute paths: salt-master leaves for / when it starts (salt.master.Master._pre_flight).
        trees = [checkout / tree for tree in master["file_roots"]["base"]]
        master.update(
            root_dir=str(self.directory),
            file_roots={"base": [str(tree) for tree in (self.directory / "states", *trees)]},
            module_dirs=[str(checkout / folder) for folder in master["module_dirs"]],
            pillar_roots={"base": [str(self.directory / "pillar")]},
        )
        master.update(settings)
        (self.directory / "master").write_text(yaml.safe_dump(master))

    def run(self, target, *argv):
        """Run the program from the checkout; returns the CompletedProcess, with text."""
        return self._lab.run(
            [*self.command, f"--config-dir={self.directory}", "--out=json", target, *argv],
            check=False,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    def call(self, machine, function, *arguments):
        """Run a function on a machine and return what it returned. Raises LabError if it failed."""
        done = self.run(machine.name, function, *arguments)
        return returned(done, function, machine, machine.name)

    def apply(self, machine, *arguments):
        """`state.apply` with these arguments; a failed state is no error here, see Applied."""
        done = self.run(machine.name, "state.apply", *arguments)
        return self._applied(done, machine.name)


class SaltCall(UserTrees):
    """salt-call on a machine, without a master: in a fifth of the time that salt-ssh takes.

    machine: a Machine with CHECKOUT in its binds; pillar, more: as pillar and settings of Salt.
    """

    # On the machine, of all that is Salt's; tests that look at all files do not look there.
    home = "/var/tmp/salt"
    # A call that hangs must not hang who waits for it; no apply on a Guest takes half of that.
    limit_s = 1800
    # The folder that gets coverage's data of what salt-call runs; None: it is not measured.
    coverage = None
    # As the machine sees them: the words that start salt-call, and the state tree.
    program = (str(PROGRAMS / "salt-call"),)
    states = CHECKOUT / "salt"

    def __init__(self, machine, pillar, **more):
        self._machine = machine
        machine.run(["mkdir", "-p", self.home])
        settings = yaml.safe_load((CHECKOUT / "conf" / "minion").read_text())
        settings.update(
            root_dir=self.home,
            file_roots={"base": [f"{self.home}/states", str(self.states)]},
            module_dirs=[str(self.states)],
            autoload_dynamic_modules=False,  # module_dirs has them, and this takes most of the time
            pillar_roots={"base": [f"{self.home}/pillar"]},
            **more,
        )
        machine.run(["tee", f"{self.home}/minion"], input=yaml.safe_dump(settings))
        self._command = [*self.program, f"--config-dir={self.home}", "--out=json"]
        if self.coverage:
            start, data = CHECKOUT / "pyproject.toml", f"{self.home}/coverage"
            settings = [f"COVERAGE_PROCESS_START={start}", f"COVERAGE_FILE={data}"]
            self._command = ["env", f"--chdir={CHECKOUT}", *settings, *self._command]
        self.write_pillar(pillar)

    @property
    def directory(self):
        """The home, as a path of this host."""
        return Path(f"{self._machine.files}{self.home}")

    def call(self, machine, function, *arguments):
        """As Salt.call(); the machine is the one it was made for."""
        return returned(self._run(function, *arguments), function, machine, "local")

    def apply(self, machine, *arguments):
        """As Salt.apply(); the machine is the one it was made for."""
        return self._applied(self._run("state.apply", *arguments), "local")

    def _run(self, *argv):
        done = self._machine.run([*self._command, *argv], check=False, timeout=self.limit_s)
        if self.coverage:
            for data in self.directory.glob("coverage.*"):
                shutil.move(data, self.coverage)
        return done


class GuestSaltCall(SaltCall):
    """The same on a Guest, which sees nothing of this host, by the thin of its root."""

    # Without Debian's modules (-S): of dnspython, which comes with samba, Salt would load all.
    program = ("python3", "-S", f"{roots.THIN}/salt-call")
    states = f"{SaltCall.home}/salt"

    def __init__(self, machine, pillar):
        self.coverage = None
        super().__init__(machine, pillar)
        with tempfile.TemporaryDirectory() as folder:
            ignored = shutil.ignore_patterns("__pycache__")
            tree = shutil.copytree(CHECKOUT / "salt", Path(folder, "salt"), ignore=ignored)
            subprocess.run([*roots.COMPILE, str(tree)], check=True)
            machine.copy(tree, self.home)

    def _write(self, pillar):
        self._machine.run(["mkdir", "-p", f"{self.home}/pillar"])
        for name, data in pillar_tree(pillar).items():
            self._machine.run(["tee", f"{self.home}/pillar/{name}"], input=yaml.safe_dump(data))


class OtherSaltCall(SaltCall):
    """The same by Salt of another version than ours, in a checkout that is the machine's own.

    machine: a Machine that saw LIBRARIES in its packages and `program` in its binds; program: the
    path that roots.salt_program() returned; checkout: its path as the machine sees it.
    """

    def __init__(self, machine, program, checkout, pillar):
        self._machine, self.home = machine, checkout
        self._command = ["env", f"--chdir={checkout}", f"PYTHONPATH={program}", "python3"]
        self._command += [f"{program}/bin/salt-call", "--out=json"]
        machine.run(["apt-get", "-qq", "update"])
        machine.run(["apt-get", "-qq", "-y", "install", "--no-install-recommends", *LIBRARIES])
        self.write_pillar(pillar)


class SaltSsh(Salt):
    """salt-ssh, with a roster of these machines.

    pillar, checkout: as for Salt; user: who logs in, with sudo unless root.
    """

    def __init__(self, lab, machines, pillar, user="root", checkout=CHECKOUT):
        name = f"salt-ssh-{user}" if checkout == CHECKOUT else f"salt-ssh-{checkout.name}"
        super().__init__(lab, name, pillar, checkout)
        cache = self.directory / "var/cache/salt/master"
        shutil.copytree(roots.salt_thin() / "thin", cache / "thin")
        roster = {
            machine.name: {
                "host": machine.address,
                "user": user,
                "sudo": user != "root",
                "priv": str(machine.ssh_key),
                "ssh_options": [f"UserKnownHostsFile={lab.known_hosts}"],
                **({"thin_dir": roots.THIN} if user == "root" else {}),
            }
            for machine in machines
        }
        path = self.directory / "roster"
        path.write_text(yaml.safe_dump(roster))
        self.command = [str(PROGRAMS / "salt-ssh"), f"--roster-file={path}", "--static"]


def write_pillar(directory, pillar):
    """Write a pillar tree that gives `pillar` (a map) to every machine."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in pillar_tree(pillar).items():
        # Replaced at once: a minion may ask for its pillar at any time.
        unfinished = directory / "unfinished"
        unfinished.write_text(yaml.safe_dump(data, sort_keys=False))
        unfinished.replace(directory / name)


def pillar_tree(pillar):
    """The files of that tree, by name, with the data that is in them."""
    return {"top.sls": {"base": {"*": ["all"]}}, "all.sls": pillar}


def returned(done, function, machine, minion):
    """What a function returned, of its CompletedProcess with JSON. Raises LabError if it failed."""
    if done.returncode:
        raise LabError(f"{function} failed on {machine.name}:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)[minion]


def applied(done, minion):
    """The Applied of a CompletedProcess of `state.apply --out=json`.

    Raises LabError with what was said when there are no states in it.
    """
    try:
        states = json.loads(done.stdout)[minion]
        states = {state["__id__"]: state for state in states.values()}
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise LabError(f"state.apply gave no states:\n{done.stdout}{done.stderr}") from err
    return Applied(done.returncode, states, done.stdout + done.stderr)
