"""A manifest in words."""

from __future__ import annotations

from pathlib import Path

from interplay.data.complete import skipped_path
from interplay.data.manifest import SPLITS, Manifest, Writing

_SHOWN = 20
"""Classes that are listed; of more, the smallest and largest are."""


def summary(path: Path, manifest: Manifest) -> list[str]:
    """What a person wants to know after writing: a line, and one for everything unusual."""
    counts = ", ".join(f"{count} {name}" for name, count in manifest.counts.items())
    lines = [f"{path}: {counts}, {len(manifest.classes[0])} classes, {manifest.bytes / 1e6:.1f} MB"]
    about = manifest.writing or Writing()
    options = about.options
    lines.append(f"stored: {_stored(about)}")
    if options.get("quality") is not None or options.get("max_side") is not None:
        lines.append(
            f"loss: {about.loss:.2f} grey levels on average (mean absolute difference, on a sample of images)"
        )
    if about.skipped:
        lines.append(f"left out: {about.skipped:,} bad samples, listed with reasons in {skipped_path(path)}")
    return lines + [f"note: {note}" for note in about.notes]


def table(path: Path, manifest: Manifest) -> list[str]:
    """All of a manifest, as lines of name and value and a table of the classes' counts."""
    about = manifest.writing or Writing()
    levels = ", ".join(f"{len(names)}" for names in manifest.classes)
    rows = [
        ("data set", str(path)),
        ("source", manifest.source + (f" ({about.origin})" if about.origin else "")),
        ("samples", ", ".join(f"{count:,} {name}" for name, count in manifest.counts.items())),
        ("classes", levels + (" (label levels)" if len(manifest.classes) > 1 else "")),
        ("size", f"{manifest.bytes / 1e6:,.1f} MB"),
        ("mean", _colour(manifest.mean)),
        ("std", _colour(manifest.std)),
        ("SHA-256", manifest.digest),
    ]
    if manifest.writing is not None:
        rows += [
            ("images", "; ".join(f"{side} {_range(about.sizes[side])}" for side in ("width", "height"))),
            ("stored", _stored(about)),
            ("options", ", ".join(f"{k} {v}" for k, v in about.options.items() if v is not None)),
            ("carved", f"{', '.join(f'{k} {v:g}' for k, v in about.shares.items())}, seed {about.seed}"),
            ("left out", f"{about.skipped:,}"),
            *((("loss", f"{about.loss:.2f} grey levels"),) if about.loss else ()),
            *(("note", note) for note in about.notes),
        ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:{width}s}  {value}" for name, value in rows]
    return lines + (["", *_classes(manifest, about)] if about.per_class else [])


def _classes(manifest: Manifest, about: Writing) -> list[str]:
    names = manifest.classes[0]
    counts = [[about.per_class[split][0][label] for split in SPLITS] for label in range(len(names))]
    order = list(range(len(names)))
    gap = len(names) > _SHOWN
    if gap:
        order.sort(key=lambda label: -counts[label][0])
        order = order[: _SHOWN // 2] + order[-_SHOWN // 2 :]
    width = max(5, *(len(names[label]) for label in order))
    lines = [f"{'class':{width}s}  {'train':>8s} {'val':>8s} {'test':>8s}"]
    for place, label in enumerate(order):
        if gap and place == _SHOWN // 2:
            lines.append(f"... {len(names) - _SHOWN:,} more")
        lines.append(f"{names[label]:{width}s}  " + " ".join(f"{count:8,d}" for count in counts[label]))
    return lines


def _stored(about: Writing) -> str:
    jpeg, pixels = about.stored.get("jpeg", 0), about.stored.get("pixels", 0)
    quality, tiles = about.options.get("quality"), about.options.get("tiles")
    how = f"of quality {quality}" if quality is not None else "as they were"
    how += f", in tiles of {tiles} pixels" if tiles is not None else ""
    parts = [f"{jpeg:,} JPEGs {how}"] if jpeg else []
    return ", ".join(parts + ([f"{pixels:,} as pixels, without loss"] if pixels else []))


def _range(numbers: list[int]) -> str:
    low, median, high = numbers
    return f"{low}" if low == high else f"{low} to {high} (median {median})"


def _colour(values: tuple[float, float, float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)
