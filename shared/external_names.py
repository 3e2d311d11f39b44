"""Our names for things that other systems named: theirs may hold any character, ours may not."""

import hashlib
import re
from typing import Final

from shared.tasks import NAME_MAX

_DIGEST: Final = 10
_NOT_OURS = re.compile(r"[^a-zA-Z0-9._-]+")


def task_name(dialect: str, *parts: str) -> str:
    """
    The name of the task that *dialect* calls *parts*: always the same, and no other parts have it.

    Reads as ``<dialect>.<last part as far as it can be written>.<digest of all parts>``.
    """
    digest = hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    room = NAME_MAX - len(dialect) - _DIGEST - 2
    slug = _NOT_OURS.sub("-", parts[-1])[:room].strip("-.") or "unnamed"
    return f"{dialect}.{slug}.{digest}"
