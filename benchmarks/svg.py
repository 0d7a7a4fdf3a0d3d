"""Two kinds of plot as plain SVG: lines over a logarithmic axis, and stacked bars."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLOURS = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#787774", "#cb912f", "#337ea9")
_TEXT = "#7d8590"  # to be read on a light and on a dark page, as the lines are
_FAINT = 'stroke="#8c959f" stroke-opacity="0.4"'
_WIDTH, _LEFT, _RIGHT, _TOP = 900, 190, 30, 46
_LETTER = 6.4  # pixels that a letter of a name takes


def lines(title: str, unit: str, xs: Sequence[int], series: Mapping[str, Sequence[float]]) -> str:
    """Return a line per series over `xs`, both axes logarithmic."""
    height, left, bottom = 440, 70, 380
    right = _WIDTH - max(230, 20 + _LETTER * max(map(len, series)))
    values = [value for points in series.values() for value in points]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def across(x: float) -> float:
        span = math.log10(xs[-1]) - math.log10(xs[0])
        return left + 20 + (right - left - 40) * (math.log10(x) - math.log10(xs[0])) / (span or 1)

    def up(value: float) -> float:
        return bottom - (bottom - _TOP) * (math.log10(value) - low) / ((high - low) or 1)

    parts = [_text(left, 24, title, size=15)]
    for power in range(low, high + 1):
        y = up(10**power)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" {_FAINT}/>')
        parts.append(_text(left - 8, y + 4, f"{10**power:,}", anchor="end"))
    parts += [_text(across(x), bottom + 20, f"{x:,}", anchor="middle") for x in xs]
    parts.append(_text((left + right) / 2, bottom + 42, unit, anchor="middle"))
    labels = sorted(series.items(), key=lambda item: -item[1][-1])
    label_y = float(_TOP)
    for name, points in labels:
        place = list(series).index(name)
        colour = _COLOURS[place % len(_COLOURS)]
        dashes = ' stroke-dasharray="6 4"' if place >= len(_COLOURS) else ""
        path = " ".join(f"{across(x):.1f},{up(value):.1f}" for x, value in zip(xs, points, strict=True))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts += [
            f'<circle cx="{across(x):.1f}" cy="{up(value):.1f}" r="3" fill="{colour}"/>'
            for x, value in zip(xs, points, strict=True)
        ]
        label_y = max(label_y + 18, up(points[-1]) + 4)
        parts.append(_text(right + 8, label_y, name, colour=colour))
    return _document(height, parts)


def stacked_bars(title: str, unit: str, bars: Mapping[str, Mapping[str, float]]) -> str:
    """Return a horizontal bar per name, split into its parts."""
    row = 30
    height = _TOP + row * len(bars) + 70
    widest = max(sum(parts.values()) for parts in bars.values())
    left = max(float(_LEFT), 20 + _LETTER * max(map(len, bars)))
    scale = (_WIDTH - left - _RIGHT - 50) / widest
    names = list(dict.fromkeys(part for parts in bars.values() for part in parts))
    out = [_text(10, 24, title, size=15)]
    for index, (name, split) in enumerate(bars.items()):
        y = _TOP + row * index
        out.append(_text(left - 8, y + 15, name, anchor="end"))
        x = left
        for part, value in split.items():
            colour = _COLOURS[names.index(part) % len(_COLOURS)]
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="20" fill="{colour}"/>')
            x += value * scale
        out.append(_text(x + 6, y + 15, f"{sum(split.values()):.0f} {unit}"))
    x = left
    y = _TOP + row * len(bars) + 24
    for index, part in enumerate(names):
        out.append(f'<rect x="{x:.1f}" y="{y - 10}" width="10" height="10" fill="{_COLOURS[index % len(_COLOURS)]}"/>')
        out.append(_text(x + 15, y, part))
        x += 30 + 7 * len(part)
    return _document(height, out)


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = _TEXT) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}">{escape(text)}</text>'


def _document(height: int, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" '
        'font-family="sans-serif">\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"
