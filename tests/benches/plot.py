"""Line charts as small SVG files: both axes logarithmic, readable on light and dark pages.

The ground is transparent, and every colour stands out from white as well as from black. No script, no font of its own.
"""

import math
from html import escape

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 28, 36, 48
# Told apart without colour too: by their dashes.
LINES = (("#2f81f7", ""), ("#d9822b", "6 4"))
INK, GRID = "#808690", "#80869055"


def chart(title, across, up, series):
    """An SVG of points (x, y) > 0 by the name of each line."""
    points = [point for _, line in series for point in line if min(point) > 0]
    if not points:
        return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"><text x="20" y="40" fill="{INK}">{escape(title)}: not measured</text></svg>\n'
    x, across_ticks = scale([at for at, _ in points], LEFT, WIDTH - RIGHT)
    y, up_ticks = scale([value for _, value in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        f'<text x="{LEFT}" y="20" font-size="13" font-weight="bold" fill="{INK}">{escape(title)}</text>',
    ]
    for tick in up_ticks:
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end" fill="{INK}">{tick:,g}</text>')
    for tick in across_ticks:
        parts.append(f'<path d="M{x(tick):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="{INK}">{tick:,g}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle" fill="{INK}">{escape(across)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})" fill="{INK}">{escape(up)}</text>')
    for nth, ((name, line), (colour, dashes)) in enumerate(zip(series, LINES)):
        drawn = [(x(at), y(value)) for at, value in line if min(at, value) > 0]
        path = "L".join(f"{at:.1f} {value:.1f}" for at, value in drawn)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>')
        parts.extend(f'<circle cx="{at:.1f}" cy="{value:.1f}" r="3" fill="{colour}"/>' for at, value in drawn)
        at = TOP + 14 + 15 * nth
        parts.append(f'<path d="M{LEFT + 8} {at - 4}h22" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>')
        parts.append(f'<text x="{LEFT + 36}" y="{at}" fill="{INK}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def scale(values, low, high):
    """A logarithmic scale from powers of ten around `values` to the pixels from `low` to `high`, and its ticks."""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    last = max(last, first + 1)
    of = lambda value: low + (math.log10(value) - first) / (last - first) * (high - low)
    return of, [10.0**power for power in range(first, last + 1)]
