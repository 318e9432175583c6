"""A recipe of the thesis: a function with its record as docstring, and which procedure it follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from interplay.recipe import Recipe

IMAGES = {
    "imagenet1k": "1.28 M images",
    "imagenet21k": "ImageNet-21k",
    "cifar10": "50,000 images",
    "cifar100": "50,000 images",
    "flowers102": "2,040 images",
    "cars": "8,144 images",
    "food101": "75,750 images",
    "inat18": "437,513 images",
    "inat19": "265,240 images",
    "imagenet1k_coarse127": "1.28 M images",
}
WITH_TEACHER = " -s distillation.teacher.checkpoint=regnety_160.pth"
AFTER_TEACHER = " -s after.distillation.teacher.checkpoint=regnety_160.pth"


@dataclass(frozen=True)
class Origin:
    """What a recipe follows.

    Attributes:
        procedure: a key of `thesis.yaml`.
        model: which of its `per_model` values hold.
        dataset: which of its `per_dataset` values hold.
        because: dotted path -> why the recipe has a value that the procedure does not state (then it begins with
            "assumed"), or another than it states (then it names the source). A path holds for all below it.
    """

    procedure: str
    model: str = ""
    dataset: str = ""
    because: Mapping[str, str] = field(default_factory=dict)


def stated(
    name: str,
    make: Callable[[], Recipe],
    origin: Origin,
    *,
    title: str,
    source: str,
    expected: str,
    cost: str,
    settings: str = "",
) -> Callable[[], Recipe]:
    """The recipe `name` (`module.function`), with its record as docstring.

    Args:
        name: as `find_recipe` finds it.
        make: gives the recipe; its name is set here.
        origin: what it follows.
        title: the record's first line.
        source: tables and sections of the thesis.
        expected: the metric, its value, and the table that prints it.
        cost: see `cost_of`.
        settings: what its command needs besides, such as `WITH_TEACHER`.
    """
    module, _, function = name.partition(".")

    def recipe() -> Recipe:
        return make().model_copy(update={"name": name})

    recipe.__name__ = recipe.__qualname__ = function
    recipe.__module__ = f"recipes.{module}"
    vars(recipe)["origin"] = origin
    recipe.__doc__ = "\n".join(
        (
            f"{title}.\n",
            f"Source: thesis {source}",
            f"Expected: {expected}",
            f"Cost: {cost}",
            f"Run: interplay train {name}{settings}",
        )
    )
    return recipe


def origin_of(recipe: Callable[..., object]) -> Origin | None:
    """What a recipe function follows; None if it is not of the thesis."""
    found = vars(recipe).get("origin")
    return found if isinstance(found, Origin) else None


def cost_of(epochs: int, side: int, dataset: str = "imagenet1k", after: str = "") -> str:
    """The record's cost: epochs and images; `after` names the earlier stage, whose cost comes on top."""
    first = f"{after} first, then " if after else ""
    return f"{first}{epochs} epochs of {IMAGES[dataset]} at {side}"


def top1(value: float | str, tables: str, dataset: str = "ImageNet-1k val") -> str:
    """The record's expected accuracy, in percent, and where it is printed."""
    return f"{dataset} top-1 {value} ({tables})"
