"""Every colour of the dashboard can be read on every ground it stands on, in both themes (WCAG 2.2)."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.promises.test_dashboard_is_built import UI

TOKENS: Final = (UI / "src" / "style" / "tokens.css").read_text("utf-8")
THEMES: Final = ("light", "dark")
TEXT: Final = 4.5
EDGES: Final = 3.0
ON_PAGES: Final = ("fg", "muted", "accent", "bad", "warn", "crash", "stop", "ok")
ON_LOGS: Final = ("fg", "muted", "number", "bad", "warn", "accent", *(f"ansi-{at}" for at in range(16)))


def colours(theme: str) -> dict[str, str]:
    """Token → #rrggbb."""
    found = dict(re.findall(r"--([\w-]+): (light-dark\([^)]*\)|var\([^)]*\));", TOKENS))

    def resolved(value: str) -> str:
        if value.startswith("var("):
            return resolved(found[value[6:-1]])
        return str(re.findall(r"#[0-9a-f]{6,8}", value)[THEMES.index(theme)])[:7]

    return {name: resolved(value) for name, value in found.items()}


def luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_text_can_be_read(theme: str) -> None:
    has = colours(theme)
    pairs = [(name, ground) for name in ON_PAGES for ground in ("bg", "raised")]
    pairs += [(name, "sunken") for name in ON_LOGS]
    pairs += [("faint", "bg"), ("on-accent", "accent"), ("fg", "hit"), ("fg", "hit-now")]
    weak = {f"{name} on {ground}": round(contrast(has[name], has[ground]), 2) for name, ground in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < TEXT} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_edges_of_controls_can_be_seen(theme: str) -> None:
    has = colours(theme)
    assert {ground: contrast(has["edge"], has[ground]) >= EDGES for ground in ("bg", "raised")} == {
        "bg": True,
        "raised": True,
    }


def test_no_colour_stands_beside_the_tokens() -> None:
    styles = {
        path.name: path.read_text("utf-8").partition("<style>")[2]
        if path.suffix == ".svelte"
        else path.read_text("utf-8")
        for path in UI.glob("src/**/*")
        if path.suffix in (".css", ".svelte") and path.name != "tokens.css"
    }
    assert len(styles) > 20
    assert [name for name, style in styles.items() if re.search(r"#[0-9a-f]{3,8}\b|\brgba?\(", style)] == []
