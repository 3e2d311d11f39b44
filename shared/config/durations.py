"""Durations and sizes as people write them: ``1h30m`` is 5 400 000 milliseconds, ``10mb`` is 10 485 760 bytes."""

import re
from typing import Final

DURATION_PATTERN: Final = (
    r"(?=[0-9])(?:[0-9]{1,15}d)?(?:[0-9]{1,15}h)?(?:[0-9]{1,15}m)?(?:[0-9]{1,15}s)?(?:[0-9]{1,15}ms)?"
)
SIZE_PATTERN: Final = r"[0-9]{1,15}(?:b|kb|mb|gb)"

_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_BYTES: Final = {"gb": 1024**3, "mb": 1024**2, "kb": 1024, "b": 1}
_BARE = re.compile(r"\s*[+-]?[0-9]+(?:\.[0-9]+)?\s*")
_PART = re.compile(r"([0-9]+)([a-z]+)")


def parse_duration(text: str) -> int:
    """Milliseconds of ``500ms``, ``10s``, ``1h30m`` or ``2d``: largest unit first. Raises ValueError with the cure."""
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"must be a duration like 500ms, 10s, 5m, 1h30m or 2d, {_cure(text, ('s', 'm'))}")
    return sum(int(number) * _MS[unit] for number, unit in _PART.findall(text))


def format_duration(duration_ms: int) -> str:
    """The shortest text that ``parse_duration`` reads as *duration_ms* (not negative): ``0s``, ``1h30m``, ``2d``."""
    parts, rest = "", duration_ms
    for unit, unit_ms in _MS.items():
        number, rest = divmod(rest, unit_ms)
        parts += f"{number}{unit}" if number else ""
    return parts or "0s"


def parse_size(text: str) -> int:
    """Bytes of ``500b``, ``64kb``, ``10mb`` or ``1gb``; a kb is 1024. Raises ValueError with the cure."""
    if not re.fullmatch(SIZE_PATTERN, text):
        raise ValueError(f"must be a size like 500b, 64kb, 10mb or 1gb, {_cure(text, ('kb', 'mb'))}")
    [(number, unit)] = _PART.findall(text)
    return int(number) * _BYTES[unit]


def format_size(size: int) -> str:
    """The text that ``parse_size`` reads as *size* bytes (not negative), in the largest unit that divides it."""
    unit = next(unit for unit, unit_bytes in _BYTES.items() if size % unit_bytes == 0) if size else "b"
    return f"{size // _BYTES[unit]}{unit}"


def _cure(text: str, units: tuple[str, str]) -> str:
    if _BARE.fullmatch(text) and len(text) <= 20:
        number = text.strip()
        whole = number.lstrip("+-").partition(".")[0]
        return f'not a bare number: write "{whole}{units[0]}" or "{whole}{units[1]}" instead of {number}'
    shown = ascii(text if len(text) <= 40 else text[:40] + "…").replace("'", '"')
    lower = text.strip().lower().replace(" ", "")
    pattern = DURATION_PATTERN if "m" in units else SIZE_PATTERN
    return f"not {shown}" + (f': write "{lower}"' if re.fullmatch(pattern, lower) and lower != text else "")
