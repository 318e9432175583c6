"""The ranked neighbours of images, and a page that shows them (thesis F2.6)."""

# D width, L levels of labels
from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import torch
from PIL import Image

from interplay.data.stored import StoredSamples
from interplay.errors import InterplayError
from interplay.explain.subject import Images, images_of_data, images_of_files
from interplay.galleries.gallery import Gallery
from interplay.recipe import ByNearest
from interplay.retrieval import Embedded, class_votes

COLOURS = ("#1a7f4b", "#b7950b", "#ca6f1e", "#8e5ea2", "#3f6fb5", "#7f6a5a", "#5d6d7e")
"""Of the finest level that matches, level 0 first; levels beyond share the last."""

OTHER = "#b03a2e"
_SHOWN_SIDE = 96


@dataclass(frozen=True)
class Neighbour:
    """One image of the gallery.

    Attributes:
        sample: its position in the `.beton`.
        cosine: with the query.
        labels: its classes' names, finest level first.
        level: the finest level at which it has the query's class; None at no level, or if that is not known.
    """

    sample: int
    cosine: float
    labels: tuple[str, ...]
    level: int | None


@dataclass(frozen=True)
class Ranking:
    """A query and its neighbours, the nearest first.

    Attributes:
        name: of the query.
        pixels: [3, R, R] uint8 as the model was given it.
        labels: its true classes' names, finest first; None if they are not known.
        votes: what the nearest vote for at the finest level, (name, share), the largest first.
        neighbours: of the training images.
    """

    name: str
    pixels: torch.Tensor
    labels: tuple[str, ...] | None
    votes: tuple[tuple[str, float], ...]
    neighbours: tuple[Neighbour, ...]


def rank_images(
    gallery: Gallery, paths: Sequence[Path] = (), indices: Sequence[int] = (), *, count: int = 24
) -> list[Ranking]:
    """The nearest training images of image files, and of samples of the data set; a sample is not its own neighbour.

    Raises:
        InterplayError: if nothing is asked for, or there is no such file or sample.
    """
    if not paths and not indices:
        raise InterplayError("name an image file, or a sample of the data set with --index")
    images = gallery.embedded("train")
    stored = StoredSamples(gallery.path)
    places = torch.from_numpy((stored.splits == 0).nonzero()[0])[images.index.cpu()]
    found: list[Ranking] = []
    if paths:
        shown = images_of_files(paths, gallery.recipe)
        found += _rankings(gallery, shown, [None] * len(shown), images, places, stored, count)
    if indices:
        shown, _ = images_of_data(gallery.path, gallery.reading, indices)
        found += _rankings(gallery, shown, list(indices), images, places, stored, count)
    return found


def _rankings(
    gallery: Gallery,
    shown: Images,
    samples: Sequence[int | None],
    images: Embedded,
    places: torch.Tensor,
    stored: StoredSamples,
    count: int,
) -> list[Ranking]:
    names, by = gallery.manifest.classes, gallery.recipe.evaluation.retrieval
    sigma = by.sigma if isinstance(by, ByNearest) else ByNearest().sigma
    most = max(by.neighbours if isinstance(by, ByNearest) else ByNearest().neighbours)
    found = []
    for name, pixels, sample, vector in zip(
        shown.names, shown.pixels, samples, gallery.of_pixels(shown.pixels), strict=True
    ):
        cosines, order = (vector @ images.vectors.T).sort(descending=True, stable=True)
        kept = places[order.cpu()] != (-1 if sample is None else sample)
        cosines, order = cosines.cpu()[kept], order.cpu()[kept]
        nearest = images.levels.cpu()[order[:most], 0]
        votes = class_votes(cosines[None, :most], nearest[None], len(names[0]), sigma)[0]
        best = votes.topk(min(3, len(votes)))
        own = None if sample is None else stored.labels[sample]
        found.append(
            Ranking(
                name=name,
                pixels=pixels,
                labels=None if own is None else tuple(level[k] for level, k in zip(names, own, strict=True)),
                votes=tuple((names[0][int(k)], float(v)) for v, k in zip(*best, strict=True) if float(v) >= 0.005),
                neighbours=tuple(
                    _neighbour(stored, int(place), float(cosine), own)
                    for place, cosine in zip(places[order[:count]], cosines[:count], strict=True)
                ),
            )
        )
    return found


def _neighbour(stored: StoredSamples, place: int, cosine: float, own: Sequence[int] | None) -> Neighbour:
    labels = stored.labels[place]
    names = tuple(level[k] for level, k in zip(stored.manifest.classes, labels, strict=True))
    same = [] if own is None else [level for level, (a, b) in enumerate(zip(labels, own, strict=True)) if a == b]
    return Neighbour(place, cosine, names, min(same, default=None))


# ------------------------------------------------------------------------------------------------- page
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1f; max-width: 1240px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } p { margin: .2rem 0 1rem; color: #55555c }
section { display: flex; gap: 1.5rem; border-top: 1px solid #ddd; padding: 1.2rem 0 }
figure { margin: 0; width: 104px } figcaption { font-size: .75rem; line-height: 1.3; overflow-wrap: anywhere }
img { width: 96px; height: 96px; display: block; border: 4px solid #888; image-rendering: pixelated }
.query { flex: 0 0 150px; width: 150px } .query img { width: 142px; height: 142px; border-color: #1b1b1f }
.ranking { display: flex; flex-wrap: wrap; gap: .7rem }
.legend span { display: inline-block; margin-right: 1.2rem } .legend i { display: inline-block; width: .9em;
height: .9em; margin-right: .35em; vertical-align: -.1em }
"""


def ranking_page(gallery: Gallery, rankings: Sequence[Ranking], *, title: str) -> str:
    """The page as HTML, which needs no other file: frames are coloured by the finest level that matches."""
    stored = StoredSamples(gallery.path)
    levels = len(gallery.manifest.classes)
    legend = "".join(
        f'<span><i style="background:{_colour(level)}"></i>{text}</span>'
        for level, text in [
            *((n, "same class" + (f" at level {n}" if levels > 1 else "")) for n in range(levels)),
            (None, "another class"),
        ]
    )
    known = any(ranking.labels is not None for ranking in rankings)
    note = "" if known else "<p>The classes of these images are not known: frames are grey.</p>"
    body = "".join(_section(ranking, stored) for ranking in rankings)
    about = f"Nearest of {gallery.manifest.counts['train']:,} training images of {gallery.path.name}, by cosine."
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    legend = f'<p class="legend">{legend}</p>' if known else ""
    return (
        f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{escape(title)}</h1><p>{escape(about)}</p>'
        f"{legend}{note}{body}</body></html>\n"
    )


def _section(ranking: Ranking, stored: StoredSamples) -> str:
    pixels = Image.fromarray(ranking.pixels.permute(1, 2, 0).cpu().numpy())
    said = " / ".join(ranking.labels) if ranking.labels is not None else "class not known"
    votes = ", ".join(f"{name} {100 * share:.0f} %" for name, share in ranking.votes)
    query = (
        f'<figure class="query"><img alt="query" src="{_data(pixels)}"><figcaption><b>{escape(ranking.name)}</b><br>'
        f"{escape(said)}<br>neighbours vote {escape(votes)}</figcaption></figure>"
    )
    figures = "".join(
        f'<figure><img alt="sample {one.sample}" src="{_data(stored.image(one.sample))}" '
        f'style="border-color:{_frame(ranking, one)}"><figcaption>{rank}. {escape(" / ".join(one.labels))}<br>'
        f"{one.cosine:.3f}</figcaption></figure>"
        for rank, one in enumerate(ranking.neighbours, start=1)
    )
    return f'<section>{query}<div class="ranking">{figures}</div></section>'


def _frame(ranking: Ranking, one: Neighbour) -> str:
    return "#888" if ranking.labels is None else _colour(one.level)


def _colour(level: int | None) -> str:
    return OTHER if level is None else COLOURS[min(level, len(COLOURS) - 1)]


def _data(image: Image.Image) -> str:
    """A PNG within the page; large images are made smaller, small ones stay as they are."""
    small = image.copy()
    small.thumbnail((2 * _SHOWN_SIDE, 2 * _SHOWN_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
