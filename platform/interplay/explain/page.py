"""One HTML file with all pictures in it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1f; max-width: 1200px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin: 2.2rem 0 0 }
p { margin: .2rem 0 .8rem; color: #55555c } img { max-width: 100%; display: block; margin: .6rem 0 }
"""


@dataclass(frozen=True)
class Section:
    """A part of the page: its pictures are (file name, PNG) each."""

    title: str
    about: str
    pictures: list[tuple[str, bytes]]


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The page as HTML, which needs no other file."""
    parts = []
    for section in sections:
        images = "".join(
            f'<img alt="{escape(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
            for name, png in section.pictures
        )
        parts.append(f"<section><h2>{escape(section.title)}</h2><p>{escape(section.about)}</p>{images}</section>")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    body = f"<h1>{escape(title)}</h1><p>{escape(subtitle)}</p>{''.join(parts)}"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'
