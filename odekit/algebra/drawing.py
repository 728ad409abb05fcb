"""Rooted trees as pictures: SVG and TikZ text, root at the bottom, no plotting library."""

from __future__ import annotations

from typing import NamedTuple

from odekit.algebra.trees import Tree

FILLS = ("black", "white", "gray", "red", "blue", "green")


class Vertex(NamedTuple):
    """Where a vertex stands: in units of the distance between leaves, y upwards; `parent` is an index, -1 for none."""

    x: float
    y: int
    colour: int
    parent: int


def layout(tree: Tree) -> list[Vertex]:
    """The vertices, root first: leaves side by side, every other vertex in the middle above which its children stand.

    >>> from odekit.algebra.trees import tree
    >>> [(v.x, v.y, v.parent) for v in layout(tree("[tau,tau]"))]
    [(0.5, 0, -1), (0.0, 1, 0), (1.0, 1, 0)]
    """
    vertices: list[Vertex] = []
    leaves = 0

    def place(subtree: Tree, height: int, parent: int) -> float:
        nonlocal leaves
        index = len(vertices)
        vertices.append(Vertex(0.0, height, subtree.colour, parent))
        at = [place(child, height + 1, index) for child in subtree.children]
        if not at:
            at, leaves = [float(leaves)], leaves + 1
        x = (at[0] + at[-1]) / 2
        vertices[index] = vertices[index]._replace(x=x)
        return x

    place(tree, 0, -1)
    return vertices


def svg(tree: Tree, unit: int = 16) -> str:
    """The text of an SVG file; `unit` is the distance between neighbours in pixels.

    >>> from odekit.algebra.trees import tree
    >>> svg(tree("tau"))[:61]
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16'
    """
    vertices = layout(tree)
    width, height = unit * (max(v.x for v in vertices) + 1), unit * (max(v.y for v in vertices) + 1)

    def at(v: Vertex) -> tuple[float, float]:
        return unit * (v.x + 0.5), height - unit * (v.y + 0.5)

    parts = [
        '<line x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}" stroke="black"/>'.format(*at(vertices[v.parent]), *at(v))
        for v in vertices[1:]
    ]
    parts += [
        '<circle cx="{:g}" cy="{:g}" r="{:g}" fill="{}" stroke="black"/>'.format(*at(v), unit / 5, _fill(v))
        for v in vertices
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"><title>{tree}</title>'
    return "\n".join([head, *parts, "</svg>"])


def tikz(tree: Tree, unit: float = 0.3) -> str:
    """A TikZ picture; `unit` is the distance between neighbours in centimetres.

    >>> from odekit.algebra.trees import tree
    >>> print(tikz(tree("[tau]")))
    \\begin{tikzpicture}[x=0.3cm,y=0.3cm]
    \\draw (0,0) -- (0,1);
    \\filldraw[fill=black] (0,0) circle (1.5pt);
    \\filldraw[fill=black] (0,1) circle (1.5pt);
    \\end{tikzpicture}
    """
    vertices = layout(tree)

    def at(v: Vertex) -> str:
        return f"({v.x:g},{v.y})"

    lines = [rf"\begin{{tikzpicture}}[x={unit:g}cm,y={unit:g}cm]"]
    lines += [rf"\draw {at(vertices[v.parent])} -- {at(v)};" for v in vertices[1:]]
    lines += [rf"\filldraw[fill={_fill(v)}] {at(v)} circle (1.5pt);" for v in vertices]
    return "\n".join([*lines, r"\end{tikzpicture}"])


def _fill(vertex: Vertex) -> str:
    return FILLS[vertex.colour % len(FILLS)]
