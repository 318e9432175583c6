"""Why each value of a recipe is what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from interplay.recipe import Recipe, find_function, flatten
from interplay.recipe.catalogue import architecture
from recipes.sources.facts import Conflict, Procedure, procedure
from recipes.sources.stated import Origin, origin_of
from recipes.sources.terms import AFTER, expected

TEACHER = "distillation.teacher.model."
TRAINED_WITH = ("model.drop_path", "model.drop_path_rule", "model.dropout")
"""What a model has from its training procedure and not from its architecture."""
MISSING = object()
OFF = "off unless stated"
TIMM = "default of timm, which the official code uses"
UNSTATED: Mapping[str, tuple[Any, str]] = MappingProxyType(
    {
        "start": (None, "nothing: no weights are started from"),
        AFTER: (None, "nothing: trained from scratch"),
        "data.interpolation": ("bicubic", "code main.py"),
        "data.order.kind": ("shuffle", "every image once an epoch"),
        "data.share": (1.0, "all images"),
        "data.level": (0, "the data set's own labels"),
        "data.clusters.kind": ("none", "the data set's own labels"),
        "augment.crop.ratio": ([3 / 4, 4 / 3], TIMM),
        "augment.crop.scale": ([0.08, 1.0], TIMM),
        "augment.crop.padding": (4, "S6.2"),
        "augment.flip": (0.5, "T6.1: all procedures flip"),
        "augment.policy.kind": ("none", OFF),
        "augment.policy.magnitude": (9.0, "rand-m9-mstd0.5-inc1 of the official code"),
        "augment.policy.std": (0.5, "rand-m9-mstd0.5-inc1 of the official code"),
        "augment.policy.layers": (2, TIMM),
        "augment.policy.max_level": (10.0, TIMM),
        "augment.policy.probability": (0.5, TIMM),
        "augment.policy.increasing": (True, "rand-m9-mstd0.5-inc1 of the official code"),
        "augment.policy.choice": ("all", TIMM),
        "augment.policy.ops": (["grayscale", "solarise", "blur"], "S6.2"),
        "augment.policy.blur_radius": ([0.1, 2.0], "code augment.py"),
        "augment.color_jitter": (0.0, OFF),
        "augment.hue_jitter": (0.0, OFF),
        "augment.jitter_order": ("fixed", "no jitter: without effect"),
        "augment.erasing": (0.0, OFF),
        "augment.erasing_mode": ("pixel", "code main.py"),
        "augment.erasing_area": ([0.02, 1 / 3], TIMM),
        "augment.erasing_aspect": (0.3, TIMM),
        "augment.erasing_count": (1, "code main.py"),
        "augment.mixup": (0.0, OFF),
        "augment.cutmix": (0.0, OFF),
        "augment.cutmix_minmax": (None, OFF),
        "augment.mix_prob": (1.0, "code main.py"),
        "augment.mix_switch_prob": (0.5, "code main.py"),
        "augment.mix_mode": ("batch", "code main.py"),
        "augment.repeats": (1, OFF),
        "augment.views": (1, OFF),
        "loss.kind": ("ce", "without effect unless a classifier learns"),
        "loss.smoothing": (0.0, OFF),
        "embedding.kind": ("none", OFF),
        "distillation.kind": ("none", OFF),
        "distillation.teacher_resolution": (None, "the student's"),
        "optimiser.betas": ([0.9, 0.999], TIMM),
        "optimiser.eps": (1e-8, "code main.py"),
        "optimiser.clip_grad": (None, OFF),
        "optimiser.layer_decay": (1.0, OFF),
        "optimiser.nesterov": (False, OFF),
        "schedule.warmup_lr": (1e-6, "code main.py"),
        "schedule.min_lr": (1e-5, "code main.py"),
        "schedule.per": ("epoch", "the official code steps its schedule once an epoch"),
        "average.kind": ("none", OFF),
        "evaluation.resolution": (None, "that of training"),
        "evaluation.retrieval.kind": ("none", "ours: it changes no weights"),
        "evaluation.retrieval.probes": ([], "ours: it changes no weights"),
        "evaluation.every": (1, "ours: it changes no weights"),
        "seeds.init": (0, "S6.3.4: seed 0 unless said otherwise"),
        "seeds.order": (0, "S6.3.4: seed 0 unless said otherwise"),
        "seeds.augment": (0, "S6.3.4: seed 0 unless said otherwise"),
        "precision": ("auto", "code engine.py: mixed precision"),
        "trainable": ("all", "everything is trained"),
    }
)
"""Path -> the value of what no source states for a procedure, and why it is that."""


@dataclass(frozen=True)
class Sources:
    """What a recipe of the thesis follows."""

    origin: Origin
    procedure: Procedure

    @property
    def stated(self) -> dict[str, Any]:
        """term -> value that the procedure states for this model and data set."""
        return self.procedure.stated(self.origin.model, self.origin.dataset)

    def expected(self, family: str) -> dict[str, tuple[Any, str]]:
        """dotted path -> (value, term) that the procedure asks of a model of `family`."""
        return expected(self.stated, family)

    def because(self, path: str) -> str | None:
        """What the recipe itself says of `path` or of what it is in.

        What it says of everything (an empty path) does not hold for the architecture.
        """
        everything = not path.startswith("model.") or path in TRAINED_WITH
        keys = [
            key
            for key in self.origin.because
            if path == key or path.startswith(f"{key}.") or (not key and everything)
        ]
        return self.origin.because[max(keys, key=len)] if keys else None

    def why(self, path: str, value: Any, family: str = "vit") -> str:
        """Where `value` at `path` comes from; empty if nothing says it."""
        stated = self.expected(family).get(path)
        if stated is not None and same(stated[0], value):
            return self._source(stated[1])
        said = self.because(path)
        if stated is None and path in UNSTATED and same(UNSTATED[path][0], value):
            return UNSTATED[path][1] if not said or path not in self.origin.because else said
        if said is not None:
            return said if stated is None else f"{said}; the procedure has {shown(stated[0])}"
        if stated is not None:
            return f"changed; the procedure has {shown(stated[0])} ({self._source(stated[1])})"
        return self._structure(path, value)

    def _structure(self, path: str, value: Any) -> str:
        """Of the student's and the teacher's model: what the catalogue has, and nothing else."""
        if path == "distillation.teacher.checkpoint":
            return "yours: the trained weights of the teacher"
        for prefix, name in (("model.", self.origin.model), (TEACHER, self.stated.get("teacher", "regnety_16gf"))):
            if path.startswith(prefix) and name:
                node: Any = architecture(name).model_dump(mode="json")
                for key in path.removeprefix(prefix).split("."):
                    node = node.get(key, MISSING) if isinstance(node, dict) else MISSING
                return f"the architecture {name}, docs/models.md" if same(node, value) else ""
        return ""

    def _source(self, term: str) -> str:
        if term in ("drop_path", "dropout") and not self.stated.get("model_train_mode", True):
            return f"off while fine-tuning: {self.procedure.sources['model_train_mode']}"
        own = (self.origin.model, self.procedure.per_model), (self.origin.dataset, self.procedure.per_dataset)
        for name, table in own:
            if term in table.get(name, {}):
                return f"{self.procedure.sources.get(term) or ', '.join(self.procedure.tables)}, for {name}"
        return self.procedure.sources[term]

    def notes(self) -> Iterator[str]:
        """Lines about what sources disagree on, with the choice and its reason, and what none states."""
        for conflict in self.procedure.conflicts:
            yield from _conflict(conflict)
        if self.procedure.unspecified:
            yield f"not stated by any source: {', '.join(self.procedure.unspecified)}"


def sources_of(reference: str) -> Sources | None:
    """What the recipe `reference` follows; None if it is not one of the thesis.

    Raises:
        InterplayError: if there is no such recipe.
    """
    if reference.endswith((".yaml", ".yml")):
        return None
    origin = origin_of(find_function(reference, package="recipes"))
    return None if origin is None else Sources(origin, procedure(origin.procedure))


def observed(recipe: Recipe) -> dict[str, Any]:
    """dotted path -> value, the earlier stage as the procedure it follows; digests and the name left out."""
    values = {
        path: value
        for path, value in flatten(recipe).items()
        if path != "name" and not path.startswith("after.") and not path.endswith(".digest")
    }
    if recipe.after is not None:
        earlier = sources_of(recipe.after.name)
        values[AFTER] = recipe.after.name if earlier is None else earlier.procedure.name
    return values


def same(one: Any, other: Any) -> bool:
    """Equal, numbers up to rounding."""
    if isinstance(one, float) and isinstance(other, float | int) and not isinstance(other, bool):
        return abs(one - other) <= 1e-12 * max(abs(one), abs(other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def shown(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _conflict(conflict: Conflict) -> Iterator[str]:
    yield f"{conflict.key}: {shown(conflict.choice)}" + (f", because {conflict.why}" if conflict.why else "")
    for source, value in conflict.says.items():
        yield f"  {source.replace('_', ' ')}: {value}"
