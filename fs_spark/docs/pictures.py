"""Pictures of a site as SVG, drawn with the page's own colors: bars, wafer maps, lineage."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from fs_spark.docs.distribution import Distribution
from fs_spark.lifecycle.lineage import Lineage, Node

_RAMP: Final = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""From low to high: five colors of viridis, which are told apart by all kinds of color vision and in grey."""
_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y = 190, 40, 46, 12
_MOST_IN_A_COLUMN: Final = 12


def shown(value: float | None) -> str:
    """A number as people read it."""
    if value is None or not math.isfinite(value):
        return "none"
    return f"{value:.4g}"


def bars(found: Distribution, title: str) -> str:
    """A histogram, or the shares of words."""
    if not found.bars:
        return ""
    width, height, count = 480, 140, len(found.bars)
    most = max(share for _, _, share in found.bars) or 1.0
    wide = width / count
    parts = []
    for at, (low, high, share) in enumerate(found.bars):
        tall = height * share / most
        told = f"{low}" if isinstance(low, str) else f"{shown(low)} to {shown(high)}"
        parts.append(
            f'<rect x="{at * wide + 1:.1f}" y="{height - tall:.1f}" width="{max(wide - 2, 1):.1f}" '
            f'height="{max(tall, 0.5):.1f}"><title>{escape(told)}: {100 * share:.1f} %</title></rect>'
        )
    first, last = found.bars[0][0], found.bars[-1][1]
    words = isinstance(first, str)
    ends = (first, last if count > 1 else "") if words else (shown(first), shown(last) if count > 1 else "")
    return (
        f'<svg class="bars" role="img" viewBox="0 0 {width} {height + 18}" aria-label="{escape(title)}">'
        f'{"".join(parts)}<text x="0" y="{height + 14}">{escape(str(ends[0]))}</text>'
        f'<text x="{width}" y="{height + 14}" text-anchor="end">{escape(str(ends[1]))}</text></svg>'
    )


def color_of(share: float) -> str:
    """A color of the ramp, for 0 to 1."""
    place = min(max(share, 0.0), 1.0) * (len(_RAMP) - 1)
    at = min(int(place), len(_RAMP) - 2)
    rest = place - at
    mixed = (round(a + (b - a) * rest) for a, b in zip(_RAMP[at], _RAMP[at + 1], strict=True))
    return f"rgb({', '.join(map(str, mixed))})"


def wafer_map(dies: Sequence[tuple[int, int, float | None]], title: str, unit: str) -> str:
    """Each die a square, x to the right and y upwards; colors from the first to the last twentieth, nulls hollow."""
    if not dies:
        return ""
    numbers = sorted(value for _, _, value in dies if value is not None and math.isfinite(value))
    low, high = (numbers[round(share * (len(numbers) - 1))] for share in (0.05, 0.95)) if numbers else (0.0, 0.0)
    xs, ys = [x for x, _, _ in dies], [y for _, y, _ in dies]
    left, top, columns, lines = min(xs), max(ys), max(xs) - min(xs) + 1, max(ys) - min(ys) + 1
    parts = []
    for x, y, value in dies:
        told = f"die {x}, {y}: {shown(value)} {unit}".rstrip()
        if value is None or not math.isfinite(value):
            paint = 'class="missing"'
        else:
            paint = f'fill="{color_of((value - low) / (high - low) if high > low else 0.5)}"'
        parts.append(
            f'<rect x="{x - left + 0.04:.2f}" y="{top - y + 0.04:.2f}" width="0.92" height="0.92" {paint}>'
            f"<title>{escape(told)}</title></rect>"
        )
    legend = "".join(f'<span style="background:{color_of(at / 8)}"></span>' for at in range(9))
    return (
        f'<figure class="wafer"><svg role="img" viewBox="0 0 {columns} {lines}" aria-label="{escape(title)}">'
        f'{"".join(parts)}</svg><figcaption>{escape(title)}<span class="ramp" aria-hidden="true">{escape(shown(low))} '
        f'{legend} {escape(shown(high))}{escape(f" {unit}" if unit else "")}</span> <span class="hollow"></span> '
        "null</figcaption></figure>"
    )


def lineage_picture(found: Lineage, links: Mapping[Node, str]) -> str:
    """Boxes from left (what it is made from) to right (who uses it), joined by lines."""
    depth = _depths(found)
    columns: dict[int, list[Node]] = {}
    for node in found.nodes.values():
        columns.setdefault(depth[node], []).append(node)
    first = min(columns)
    places: dict[Node, tuple[int, int]] = {}
    lines = max(min(len(nodes), _MOST_IN_A_COLUMN + 1) for nodes in columns.values())
    height = lines * (_BOX_HEIGHT + _GAP_Y)
    boxes = []
    for at, nodes in sorted(columns.items()):
        told, more = nodes[:_MOST_IN_A_COLUMN], len(nodes) - _MOST_IN_A_COLUMN
        count = len(told) + (more > 0)
        x = (at - first) * (_BOX_WIDTH + _GAP_X)
        y = (height - count * (_BOX_HEIGHT + _GAP_Y)) // 2
        for node in told:
            places[node] = (x, y)
            boxes.append(_box(node, x, y, links.get(node), is_asked=node == found.of))
            y += _BOX_HEIGHT + _GAP_Y
        if more > 0:
            boxes.append(f'<text x="{x + 8}" y="{y + 18}">and {more} more</text>')
    ties = "".join(
        f'<path d="M{places[a][0] + _BOX_WIDTH} {places[a][1] + _BOX_HEIGHT // 2} C{places[a][0] + _BOX_WIDTH + 30} '
        f"{places[a][1] + _BOX_HEIGHT // 2} {places[b][0] - 30} {places[b][1] + _BOX_HEIGHT // 2} {places[b][0]} "
        f'{places[b][1] + _BOX_HEIGHT // 2}"/>'
        for a, b in found.edges
        if a in places and b in places
    )
    width = len(columns) * (_BOX_WIDTH + _GAP_X) - _GAP_X
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="lineage"><svg class="lineage" role="img" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'aria-label="from what {escape(found.of.name)} is made, and who uses it"><g class="ties">{ties}</g>'
        f"{''.join(boxes)}</svg></div>"
    )


def _box(node: Node, x: int, y: int, link: str | None, *, is_asked: bool) -> str:
    name = node.name if len(node.name) <= 28 else f"...{node.name[-25:]}"
    box = (
        f'<g class="box{" asked" if is_asked else ""}"><title>{escape(str(node))}</title><rect x="{x}" y="{y}" '
        f'width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="4"/><text class="kind" x="{x + 8}" y="{y + 15}">'
        f'{escape(node.kind)}</text><text x="{x + 8}" y="{y + 31}">{escape(name)}</text></g>'
    )
    return f'<a href="{escape(link)}">{box}</a>' if link else box


def _depths(found: Lineage) -> dict[Node, int]:
    """How far a node stands to the right: one more than all that it is made from."""
    depth = dict.fromkeys(found.nodes, 0)
    for _ in found.nodes:
        moved = False
        for before, after in found.edges:
            if depth[after] < depth[before] + 1:
                depth[after] = depth[before] + 1
                moved = True
        if not moved:
            break
    for node in found.nodes:  # what is made from nothing stands beside what is made of it
        if not found.above(node) and (users := found.below(node)):
            depth[node] = min(depth[one] for one in users) - 1
    return depth
