"""From a checkpoint or a recipe to files: chooses what applies, makes it, writes it at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from interplay.atomic import replacing, write_text
from interplay.data import Manifest
from interplay.errors import InterplayError, closest
from interplay.explain import embeddings
from interplay.explain.augmentation import draw_rows, policies, steps
from interplay.explain.catalogue import EXPLANATIONS, Explanation, Look, Made
from interplay.explain.crops import draw_crops
from interplay.explain.figures import augment, curves
from interplay.explain.figures.canvas import to_png
from interplay.explain.page import Section, page
from interplay.explain.residuals import BranchRatio, branch_ratios, why_no_branches
from interplay.explain.subject import (
    Images,
    Subject,
    data_manifest,
    epochs_of,
    images_of_data,
    images_of_files,
    load_subject,
    open_image,
)
from interplay.recipe import Recipe

NO_IMAGES = Images((), torch.empty(0, 3, 1, 1, dtype=torch.uint8), ())

EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class Explained:
    """What was found, before anything is written.

    Attributes:
        title: of the page.
        subtitle: under it.
        sections: of the page, with their pictures.
        numbers: by explanation, as plain data.
    """

    title: str
    subtitle: str
    sections: list[Section] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)

    def write(self, out: Path) -> list[Path]:
        """Writes the pictures, `numbers.json` and `index.html`, which holds all of them, to the folder `out`."""
        written = []
        for section in self.sections:
            for name, png in section.pictures:
                written.append(out / name)
                with replacing(out / name) as file:
                    file.write(png)
        write_text(out / "numbers.json", self.json())
        write_text(out / "index.html", page(self.title, self.subtitle, self.sections))
        return [*written, out / "numbers.json", out / "index.html"]

    def json(self) -> str:
        """The numbers as JSON."""
        return json.dumps(self.numbers, indent=1)


def explain_checkpoint(
    checkpoint: Path,
    files: Sequence[Path] = (),
    *,
    root: Path,
    dataset: str | None = None,
    indices: Sequence[int] = (),
    only: Sequence[str] = (),
    with_embeddings: bool = False,
    split: str = "test",
) -> Explained:
    """Everything that can be seen of a trained model on some images.

    Args:
        checkpoint: a file, or a cell's folder; of the folder, kept epochs are looked at too.
        files: images.
        root: the storage root, whose `datasets` folder is looked at.
        dataset: `digits`, or the path of a `.beton`: names the classes, and gives images if there are no files.
        indices: samples of `dataset` instead of a few of different classes.
        only: names of explanations; all that apply if there are none.
        with_embeddings: also of a whole split of `dataset`.
        split: which one, and of which images are chosen.

    Raises:
        InterplayError: if something is missing or damaged, or an explanation that was asked for does not apply.
    """
    _check_names(only)
    if (indices or with_embeddings) and dataset is None:
        raise InterplayError("--index and --embeddings are of a data set; name it with --data")
    path, manifest = data_manifest(dataset, root) if dataset is not None else (None, None)
    subject = load_subject(checkpoint, manifest)
    with_embeddings = with_embeddings or EMBEDDINGS in only
    only = [name for name in only if name != EMBEDDINGS]
    alone = with_embeddings and not (files or indices or only)
    images = NO_IMAGES if alone else _images(subject.recipe, files, path, indices, split)
    chosen = [] if alone else choose(subject.model, bool(len(images)), only)
    if with_embeddings and (reason := embeddings.why_no_embeddings(subject.model)) is not None:
        raise InterplayError(f"{EMBEDDINGS} does not apply to this model: {reason}")
    found = Explained(f"{subject.recipe.name} after {subject.epoch} epochs", _about(checkpoint, images))
    needs_past = any(explanation.name == "branches" for explanation in chosen)
    look = Look(subject, images, _past(checkpoint, manifest, images) if needs_past else {})
    for explanation in chosen:
        _add(found, explanation.name, explanation.title, explanation.about, explanation.make(look))
    if with_embeddings and path is not None:
        title, about = "Embeddings of a data set", f"Of {path.stem}, {split} split: what comes before the classifier."
        _add(found, EMBEDDINGS, title, about, _embeddings(subject, path, split))
    return found


def choose(model: nn.Module, images: bool, only: Sequence[str] = ()) -> list[Explanation]:
    """The explanations that apply to a model, or those of `only`.

    Raises:
        InterplayError: if one of `only` does not apply, or nothing does.
    """
    reasons = {e.name: e.why_not(model) for e in EXPLANATIONS}
    apply = [e for e in EXPLANATIONS if reasons[e.name] is None]
    for explanation in EXPLANATIONS:
        if explanation.name in only and (reason := reasons[explanation.name]) is not None:
            others = ", ".join(e.name for e in apply)
            raise InterplayError(
                f"{explanation.name} does not apply to this model: {reason}"
                + (f"; what applies: {others}" if others else "")
            )
    wanted = [e for e in apply if not only or e.name in only]
    if missing := [e.name for e in wanted if e.needs_images and not images and (only or not _some(wanted))]:
        raise InterplayError(f"{', '.join(missing)} needs images; name IMAGE files, or a data set with --data")
    wanted = [e for e in wanted if images or not e.needs_images]
    if not wanted:
        raise InterplayError(
            "there is nothing to look at in this model but its embeddings; give --embeddings with --data"
        )
    return wanted


def explain_augmentation(
    recipe: Recipe, files: Sequence[Path], *, epochs: int = 8, every_policy: bool = False
) -> Explained:
    """What a recipe's augmentation does to image files, and which crops it takes.

    Args:
        recipe: whose `augment` and `data.resolution` count.
        files: images; several are one batch, which is mixed if the recipe mixes.
        epochs: how often each is drawn.
        every_policy: also every policy that the recipe does not have.

    Raises:
        InterplayError: if a file is no image.
    """
    images = [open_image(path) for path in files]
    rows = steps(recipe.augment)
    found = Explained(f"Augmentation of {recipe.name}", ", ".join(path.name for path in files))
    groups = [("augmentation", "Step after step", "Each row adds a step; a column is one epoch's draw.", rows)]
    if every_policy:
        about = "Each policy alone after the same crops; the recipe's own has its settings."
        groups.append(("policies", "Every policy", about, policies(recipe.augment)))
    for name, title, about, kinds in groups:
        drawn = draw_rows(kinds, images, recipe, epochs)
        figures = {
            f"-{number + 1}": augment.draw_augmentation(image, path.name, drawn, number)
            for number, (path, image) in enumerate(zip(files, images, strict=True))
        }
        if recipe.augment.mixes and len(images) == 1 and name == "augmentation":
            about += " One image is mixed with itself: name a second one to see mixing."
        numbers = {row.name: row.labels for row in drawn if any(any(label) for label in row.labels)}
        _add(found, name, title, about + " (thesis F6.1)", Made(figures, numbers))
    crops = {f"-{n + 1}": draw_crops(recipe, *image.size) for n, image in enumerate(images)}
    figures = {end: augment.draw_crops(image, of) for (end, of), image in zip(crops.items(), images, strict=True)}
    shares = {
        path.name: {one.name: {"mean": float(one.shares.mean()), "std": float(one.shares.std())} for one in of}
        for path, of in zip(files, crops.values(), strict=True)
    }
    about = "Boxes that crops take, and the share of the image's area in them (thesis F6.2, F6.3)."
    _add(found, "crops", "Crops", about, Made(figures, shares))
    return found


def _add(found: Explained, name: str, title: str, about: str, made: Made) -> None:
    pictures = [(f"{name}{end}.png", to_png(figure)) for end, figure in made.figures.items()]
    found.sections.append(Section(title, about, pictures))
    if made.numbers is not None:
        found.numbers[name] = made.numbers


def _check_names(only: Sequence[str]) -> None:
    names = [*(explanation.name for explanation in EXPLANATIONS), EMBEDDINGS]
    for name in only:
        if name not in names:
            hint = closest(name, names) or f"; there are {', '.join(names)}"
            raise InterplayError(f"there is no explanation {name!r}{hint}")


def _some(wanted: Sequence[Explanation]) -> bool:
    return any(not explanation.needs_images for explanation in wanted)


def _images(recipe: Recipe, files: Sequence[Path], path: Path | None, indices: Sequence[int], split: str) -> Images:
    if files and indices:
        raise InterplayError("give IMAGE files, or samples of a data set with --index, not both")
    if files:
        return images_of_files(files, recipe)
    return images_of_data(path, recipe, indices, split=split)[0] if path is not None else NO_IMAGES


def _past(checkpoint: Path, manifest: Manifest | None, images: Images) -> dict[int, list[BranchRatio]]:
    """Ratios of norms of the epochs that a cell kept."""
    found = {}
    for path in epochs_of(checkpoint):
        subject = load_subject(path, manifest)
        if why_no_branches(subject.model) is None:
            found[subject.epoch] = branch_ratios(subject.model, Look(subject, images, {}).x)
    return found


def _embeddings(subject: Subject, path: Path, split: str) -> Made:
    found = embeddings.embed(subject, path, split)
    energy = embeddings.pca_energy(found.vectors)
    places = embeddings.neighbours_map(found.vectors)
    figures = {
        "-pca": curves.draw_energy(energy),
        "-tsne": curves.draw_neighbours(places, found, subject.classes),
    }
    return Made(figures, {"samples": len(places), "pca_energy": energy.tolist()})


def _about(checkpoint: Path, images: Images) -> str:
    shown = f"{len(images)} images: {', '.join(images.names)}" if len(images) else "without images"
    return f"{checkpoint.name}, {shown}"
