"""What a search optimises, and what it must keep within. Sizes are counted before anything is trained."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from interplay.data.labels import class_count
from interplay.data.manifest import Manifest
from interplay.errors import InterplayError, closest
from interplay.recipe import Recipe
from interplay.tracking.store import CellResult

COUNTED = ("parameters", "macs")
"""Known of a recipe without training it: trainable parameters, and multiply-adds for one evaluated image."""

MEASURED = {
    "val/top1": True,
    "val/top5": True,
    "val/knn_top1": True,
    "val/map": True,
    "val/loss": False,
    "val/ece": False,
    "train/loss": False,
    "throughput/images_per_s": True,
    "memory/peak_mb": False,
}
"""Metrics of a finished cell, and whether more is better. The last two are of training, on whatever trained it."""


@dataclass(frozen=True)
class Objective:
    """A metric of a cell and its direction."""

    name: str
    maximise: bool

    def __str__(self) -> str:
        return f"{self.name}:{'max' if self.maximise else 'min'}"

    @property
    def counted(self) -> bool:
        return self.name in COUNTED


TOP1 = Objective("val/top1", True)


@dataclass(frozen=True)
class Constraint:
    """A limit on what can be counted of a recipe."""

    name: str
    at_most: bool
    limit: float

    def __str__(self) -> str:
        return f"{self.name}{'<=' if self.at_most else '>='}{self.limit:g}"

    def excess(self, value: float) -> float:
        """By which share of the limit a value is beyond it; 0 or less is within."""
        share = value / self.limit - 1.0
        return share if self.at_most else -share


def parse_objectives(texts: Iterable[str]) -> tuple[Objective, ...]:
    """`["val/top1", "parameters:min"]` as objectives; without a direction, the usual one.

    Raises:
        InterplayError: for a metric that is not known or may not steer a search, and for one given twice.
    """
    found: dict[str, Objective] = {}
    for text in texts:
        name, colon, direction = text.partition(":")
        usual = {**MEASURED, **dict.fromkeys(COUNTED, False)}
        if name.startswith("test/"):
            raise InterplayError(f"--objective {name}: the test split never steers a search; use val/ instead")
        if name not in usual:
            raise InterplayError(f"no objective {name!r}{closest(name, usual) or '; there are: ' + ', '.join(usual)}")
        if colon and direction not in ("min", "max"):
            raise InterplayError(f"--objective {text}: the direction is min or max, as in {name}:min")
        if name in found:
            raise InterplayError(f"--objective {name} is given twice; give it once")
        found[name] = Objective(name, direction == "max" if colon else usual[name])
    return tuple(found.values()) or (TOP1,)


def parse_constraints(texts: Iterable[str]) -> tuple[Constraint, ...]:
    """`["parameters<=6e6"]` as constraints.

    Raises:
        InterplayError: if one is not of that form, or is about something only a training can tell.
    """
    found = []
    for text in texts:
        sign = "<=" if "<=" in text else ">="
        name, _, limit = (part.strip() for part in text.partition(sign))
        if name in MEASURED:
            raise InterplayError(f"--constraint {text}: {name} is not known before training; make it an --objective")
        if name not in COUNTED:
            near = closest(name, COUNTED) or f"; there are: {', '.join(COUNTED)}"
            raise InterplayError(f"--constraint {text}: no {name!r} can be counted{near}")
        try:
            number = float(limit)
        except ValueError:
            number = float("nan")
        if not 0.0 < number < float("inf"):
            raise InterplayError(f"--constraint {text}: write a positive number behind {sign}, as in {name}{sign}6e6")
        found.append(Constraint(name, sign == "<=", number))
    return tuple(found)


def count(recipe: Recipe, manifest: Manifest, names: Collection[str] = COUNTED) -> dict[str, float]:
    """The sizes `names` of `COUNTED` on the data set of `manifest`: on the meta device, no memory, no training.

    Raises:
        InterplayError: if the model cannot be built there.
    """
    if not names:
        return {}  # counting classes may read files
    from interplay.models.counts import parameters_of, size_of  # imports torch, which reading a study does not need

    classes, side = class_count(manifest, recipe), recipe.evaluation.resolution or recipe.data.resolution
    try:
        if "macs" not in names:
            return {"parameters": float(parameters_of(recipe.model, side, classes))}
        size = size_of(recipe.model, side, classes)  # both at once
        return {name: float(getattr(size, name)) for name in names}
    except InterplayError:
        raise
    except Exception as error:
        raise InterplayError(f"{recipe.model.family} cannot be counted without training it: {error}") from error


def violations(constraints: Sequence[Constraint], recipe: Recipe, manifest: Manifest) -> dict[str, float]:
    """The excess of every constraint that `recipe` breaks; only what they name is counted."""
    sizes = count(recipe, manifest, {constraint.name for constraint in constraints})
    return {str(c): excess for c in constraints if (excess := c.excess(sizes[c.name])) > 0.0}


def values(
    objectives: Sequence[Objective], result: CellResult, recipe: Recipe, manifest: Manifest
) -> tuple[list[float], str]:
    """The values of all objectives, and "" or which one the cell does not have as a finite number."""
    sizes = count(recipe, manifest, [objective.name for objective in objectives if objective.counted])
    found = []
    for objective in objectives:
        value = sizes[objective.name] if objective.counted else result.metric(objective.name)
        if value is None:
            return [], f"{objective.name} is not a finite number"
        found.append(value)
    return found, ""
