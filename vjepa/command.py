"""How every command line of the project ends: bad input is one line on stderr and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Callable

import tyro

from vjepa.errors import InputError


def run(commands: dict[str, Callable], prog: str) -> None:
    """Parses the command line and runs one command, made from its function's signature."""
    try:
        tyro.extras.subcommand_cli_from_dict(commands, prog=prog)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
