"""python3 -m lab demo | rehearse | clean: boot firmware; remove what killed labs left."""

import argparse
import sys

from . import LabError
from .lab import clean


def main():
    """Run the subcommand of the command line; returns the exit status."""
    if sys.argv[1:2] == ["rehearse"]:
        return _rehearse(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="lab", description="A virtual LAN on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("clean", help="remove what killed labs left")
    commands.add_parser("demo", help="from a pillar to firmware that boots")
    command = parser.parse_args().command
    try:
        if command == "demo":
            from .demo import demo  # needs .venv, which a clean-up must not

            return demo()
        numbers = clean()
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Removed: {', '.join(f'nb{number}' for number in numbers) or 'nothing was left'}.")
    return 0


def _rehearse(words):
    from .rehearse import rehearse  # needs .venv

    try:
        return rehearse(words)
    except LabError as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:  # before there is a lab
        print("\nInterrupted.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
