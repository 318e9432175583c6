"""Recipes: the typed tree, changes, fingerprints, and finding a recipe by name or file."""

from interplay.recipe.changes import apply_changes, difference, flatten, parse_assignments
from interplay.recipe.files import from_yaml, read_recipe, to_yaml
from interplay.recipe.find import find_function, find_recipe
from interplay.recipe.identity import RESULTS_VERSION, fingerprint
from interplay.recipe.record import Record, record_of
from interplay.recipe.tree import (
    AdamW,
    Augment,
    BinaryCrossEntropy,
    Cosine,
    CrossEntropy,
    Data,
    Evaluation,
    Lamb,
    LayerScale,
    NoPolicy,
    NoScale,
    RandAugment,
    RandomResizedCrop,
    Recipe,
    ResizeOnly,
    Seeds,
    ThreeAugment,
    TimmModel,
    ViT,
)

__all__ = [
    "RESULTS_VERSION",
    "AdamW",
    "Augment",
    "BinaryCrossEntropy",
    "Cosine",
    "CrossEntropy",
    "Data",
    "Evaluation",
    "Lamb",
    "LayerScale",
    "NoPolicy",
    "NoScale",
    "RandAugment",
    "RandomResizedCrop",
    "Recipe",
    "Record",
    "ResizeOnly",
    "Seeds",
    "ThreeAugment",
    "TimmModel",
    "ViT",
    "apply_changes",
    "difference",
    "find_function",
    "find_recipe",
    "fingerprint",
    "flatten",
    "from_yaml",
    "parse_assignments",
    "read_recipe",
    "record_of",
    "to_yaml",
]
