"""
Keys made from ``RUNFLEET_SECRET``, one for each purpose, and signatures made with them.

Redis never sees the secret. A signature is over a purpose (``definition``, ``token``, …), the prefix of the store's
keys, and all that it vouches for, each part with its length; so a signature of one thing never serves for another, in
another store, or with its parts split in another way.
"""

import hashlib
import hmac
from typing import Final, Literal

Signer = Literal["new", "old", ""]
"""Which secret a signature is of: ``RUNFLEET_SECRET``, ``RUNFLEET_SECRET_OLD``, or ("") neither."""

DEFAULT_PREFIX: Final = "{runfleet}"


class Keys:
    """
    What one process signs with and what it accepts.

    *secret* signs; *old*, the secret before it, is accepted as well while secrets are rotated. "" is none. *prefix* is
    that of the store's keys (``RUNFLEET_KEY_PREFIX``).
    """

    def __init__(self, secret: str = "", old: str = "", prefix: str = DEFAULT_PREFIX) -> None:
        self._secrets: Final[tuple[tuple[Signer, bytes], ...]] = tuple(
            (name, text.encode()) for name, text in zip(_SIGNERS, (secret, old), strict=True) if text
        )
        self._prefix = prefix.encode()
        self._derived: dict[tuple[Signer, str], bytes] = {}

    def __bool__(self) -> bool:
        """Whether there is a secret to sign with."""
        return bool(self._secrets) and self._secrets[0][0] == "new"

    def sign(self, purpose: str, *parts: str | bytes) -> str:
        """The signature of *parts* for *purpose*, as hex; "" without a secret."""
        return self._signature("new", self._secrets[0][1], purpose, parts) if self else ""

    def signer(self, signature: str, purpose: str, *parts: str | bytes) -> Signer:
        """Which of the secrets *signature* is of; "" when it is of none that is known here, or when it is empty."""
        for name, secret in self._secrets:
            if hmac.compare_digest(signature.encode(), self._signature(name, secret, purpose, parts).encode()):
                return name
        return ""

    def _signature(self, name: Signer, secret: bytes, purpose: str, parts: tuple[str | bytes, ...]) -> str:
        key = self._derived.get((name, purpose))
        if key is None:
            key = self._derived[name, purpose] = _digest(secret, (b"runfleet", purpose.encode(), self._prefix)).digest()
        return _digest(key, tuple(part.encode() if isinstance(part, str) else part for part in parts)).hexdigest()


_SIGNERS: Final[tuple[Signer, Signer]] = ("new", "old")


def _digest(key: bytes, parts: tuple[bytes, ...]) -> hmac.HMAC:
    made = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        made.update(len(part).to_bytes(8, "big"))
        made.update(part)
    return made


UNSIGNED: Final = Keys()
"""The keys of a process without a secret."""
