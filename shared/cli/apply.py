"""``runfleet apply``: applies the task file to the store; ``release`` checks the file first."""

import getpass
import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from shared.cli import valkey_server
from shared.cli.check import check
from shared.cli.data_dir import DataFolder
from shared.config import read_config
from shared.errors import Misconfigured
from shared.printable import printable
from shared.settings import read_settings
from shared.startup import require_secret

DATA: Final = Path(".runfleet")
Switch = Annotated[bool, Parameter(negative=())]


def apply(
    file: Path | None = None, *, data: Path = DATA, allow_removals: Switch = False, allow_unsigned: Switch = False
) -> None:
    """
    Apply the task file to the store: completely, or not at all if it is invalid.

    Without REDIS_URL it uses the store of the `runfleet up` that uses the data folder.

    Parameters
    ----------
    file
        The task file; RUNFLEET_CONFIG or runfleet.toml when not given.
    data
        Data folder of a `runfleet up`.
    allow_removals
        Also when more than half of the tasks in the store are not in the file.
    allow_unsigned
        Also when signatures of another secret are replaced, or taken away.
    """
    from shared import ops
    from shared.ops import rotation
    from shared.store import open_store, tokens

    settings = read_settings(os.environ | borrowed(data))
    if not settings.redis_url:
        raise Misconfigured(f"No Redis to apply to: set REDIS_URL, or start `runfleet up` on {data} (--data).")
    require_secret(settings)
    config = read_config(file or Path(settings.config), os.environ)
    store = open_store(settings)
    try:
        change = store.run(
            ops.apply_config(
                config, settings.keys, by=by(), allow_removals=allow_removals, allow_unsigned=allow_unsigned
            )
        )
        older = store.run(rotation.sign_again(settings.keys)) if settings.secret_old else 0
        again = store.run(tokens.sign_again(settings.keys)) if settings.secret_old else 0
    finally:
        store.close()
    for verb in ("added", "changed", "removed"):
        for name in getattr(change, verb):
            sys.stdout.write(f"{verb} {printable(name, one_line=True)}\n")
    signatures = len(change.signatures)
    sys.stderr.write(
        f"{len(change.unchanged)} unchanged, {signatures} signature{'' if signatures == 1 else 's'} replaced\n"
    )
    if settings.secret_old:
        sys.stderr.write(f"signed again: {older} older definitions, {again} tokens\n")


def release(file: Path | None = None, *, allow_removals: Switch = False, allow_unsigned: Switch = False) -> None:
    """
    Check the task file, then apply it: for the release phase of a deployment.

    Parameters
    ----------
    file
        The task file; RUNFLEET_CONFIG or runfleet.toml when not given.
    allow_removals
        Also when more than half of the tasks in the store are not in the file.
    allow_unsigned
        Also when signatures of another secret are replaced, or taken away.
    """
    check(file)
    apply(file, allow_removals=allow_removals, allow_unsigned=allow_unsigned)


def by() -> str:
    """Who applies the file, for the record: user and machine, as far as they are known."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a user id without a name, as containers have
        return socket.gethostname()


def borrowed(data: Path) -> dict[str, str]:
    """
    Store and secret of the ``runfleet up`` that uses data folder *data*; empty if none does or a Redis is set.

    If the file of the secret is missing, there is no secret: a new one would differ from the fleet's. Raises
    Misconfigured if that ``up`` uses a configured Redis.
    """
    if read_settings().redis_url or not (data / "lock").exists():
        return {}
    folder = DataFolder(data)
    if not folder.is_in_use():
        return {}
    redis = folder.holder().get("redis")
    if redis:
        raise Misconfigured(f"The `runfleet up` on {data} uses {redis}, not a store of its own: set REDIS_URL to that.")
    secret = os.environ.get("RUNFLEET_SECRET") or folder.kept("secret")
    lent = {"RUNFLEET_REDIS_URL": valkey_server.url(folder.socket())}
    return lent | {"RUNFLEET_SECRET": secret} if secret else lent
