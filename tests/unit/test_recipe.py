"""Recipes: changes, the sentences for mistakes, identity, YAML, finding, records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from interplay.errors import InterplayError
from interplay.recipe import (
    RESULTS_VERSION,
    AdamW,
    Augment,
    BinaryCrossEntropy,
    ByHead,
    ByNearest,
    ClassAttention,
    ClassMlp,
    Cosine,
    Data,
    Evaluation,
    Fixup,
    Lamb,
    LayerScale,
    LearntEmbedding,
    NoProjector,
    PatchConvNet,
    PooledConvNet,
    RandAugment,
    Recipe,
    ResizeOnly,
    ResMLP,
    ScalarScale,
    TFixup,
    ThreeAugment,
    TimmModel,
    Triplet,
    ViT,
    apply_changes,
    difference,
    find_function,
    find_recipe,
    fingerprint,
    flatten,
    from_yaml,
    parse_assignments,
    record_of,
    to_yaml,
)
from interplay.recipe.catalogue import ARCHITECTURES
from interplay.recipe.changes import _members
from interplay.recipe.find import names
from interplay.recipe.part import Part

DIGEST = "d" * 64
DEFAULTS = Path(__file__).with_name("recipe_defaults.yaml")

KINDS = {
    "defaults": Recipe(),
    "every other kind": Recipe(
        name="every other kind",
        model=ViT(scale=LayerScale(init=1e-6), drop_path=0.05, drop_path_rule="uniform", pool="average"),
        augment=Augment(crop=ResizeOnly(), policy=ThreeAugment(ops=("blur",)), mixup=0.8, repeats=3),
        loss=BinaryCrossEntropy(threshold=None, smoothing=0.1),
        optimiser=Lamb(clip_grad=None),
        schedule=Cosine(per="step"),
        evaluation=Evaluation(crop_ratio=1.0, resolution=224),
    ),
    "timm": Recipe(model=TimmModel(name="resnet18"), augment=Augment(policy=RandAugment(magnitude=7.0))),
    "cait": Recipe(model=ViT(pool=ClassAttention(), scale=ScalarScale(init=0.1))),
    "resmlp": Recipe(model=ResMLP(pool=ClassMlp(), scale=Fixup())),
    "patchconvnet": Recipe(model=PatchConvNet(scale=TFixup())),
    "pooled": Recipe(model=PooledConvNet()),
    "embedding": Recipe(
        data=Data(level=1),
        augment=Augment(views=2),
        embedding=LearntEmbedding(),
        evaluation=Evaluation(retrieval=ByNearest()),
    ),
    "triplet": Recipe(
        augment=Augment(views=2),
        embedding=LearntEmbedding(labels=ByHead(), instance=Triplet(), projector=NoProjector()),
    ),
}

any_kind = pytest.mark.parametrize("recipe", KINDS.values(), ids=KINDS.keys())


# -------------------------------------------------------------------------------------------- changes
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model.drop_path": 0.2}, {"model.drop_path": 0.2}),
        ({"augment.policy": "three_augment"}, {"augment.policy.kind": "three_augment"}),
        ({"augment.policy": ThreeAugment(ops=("blur",))}, {"augment.policy.ops": ["blur"]}),
        ({"model.scale.init": 0.1, "model.scale": "layer_scale"}, {"model.scale.init": 0.1}),
        ({"model.scale": "layer_scale", "model.scale.init": 0.1}, {"model.scale.init": 0.1}),
        ({"optimiser": Lamb(lr=5e-3)}, {"optimiser.kind": "lamb", "optimiser.lr": 5e-3}),
        ({"optimiser": {"kind": "lamb"}, "optimiser.lr": 5e-3}, {"optimiser.kind": "lamb", "optimiser.lr": 5e-3}),
        ({"augment.crop": "resize"}, {"augment.crop.kind": "resize"}),
        ({"evaluation.resolution": None}, {"evaluation.resolution": None}),
        ({"seed": 7}, {"seeds.init": 7, "seeds.order": 7, "seeds.augment": 7}),
        ({"seed": 7, "seeds.order": 3}, {"seeds.init": 7, "seeds.order": 3, "seeds.augment": 7}),
        ({"model": TimmModel(name="resnet18"), "model.drop_path": 0.1}, {"model.drop_path": 0.1}),
    ],
)
def test_a_change_sets_its_path(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    flat = flatten(apply_changes(Recipe(), changes))
    assert {path: flat[path] for path in expected} == expected


def test_a_change_leaves_the_recipe_and_all_other_paths_alone() -> None:
    recipe = Recipe()
    changed = recipe.with_({"model.drop_path": 0.2})
    assert recipe == Recipe()
    assert difference(recipe, changed) == {"model.drop_path": 0.2}


@pytest.mark.parametrize("other", KINDS.values(), ids=KINDS.keys())
@any_kind
def test_the_difference_leads_from_one_recipe_to_the_other(recipe: Recipe, other: Recipe) -> None:
    flat = flatten(recipe) | difference(recipe, other)
    assert {p: flat[p] for p in flatten(other)} == flatten(other) | {"name": recipe.name}


def test_the_difference_leaves_out_names_and_seeds() -> None:
    assert difference(Recipe(), Recipe(name="other").with_seed(3)) == {}


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("model.drop_path=0.2", {"model.drop_path": 0.2}),
        ("augment.policy = three_augment", {"augment.policy": "three_augment"}),
        (
            "augment.policy={kind: three_augment, ops: [blur]}",
            {"augment.policy": {"kind": "three_augment", "ops": ["blur"]}},
        ),
        ("loss.threshold=null", {"loss.threshold": None}),
        ("data.dataset=a=b.beton", {"data.dataset": "a=b.beton"}),
    ],
)
def test_assignments_are_read_as_yaml(assignment: str, expected: dict[str, Any]) -> None:
    assert parse_assignments([assignment]) == expected


def test_numbers_yaml_takes_for_text_are_numbers() -> None:
    """YAML 1.1 reads `1e-3` as a string."""
    assert Recipe().with_(parse_assignments(["optimiser.lr=2e-3"])).optimiser.lr == 2e-3


@pytest.mark.parametrize("assignment", ["model.drop_path", "=0.1", "model.drop_path=[0.1"])
def test_malformed_assignments_are_refused(assignment: str) -> None:
    with pytest.raises(InterplayError, match="-s "):
        parse_assignments([assignment])


def test_a_key_set_twice_in_an_assignment_is_refused() -> None:
    with pytest.raises(InterplayError, match="-s augment: 'flip' is set twice"):
        parse_assignments(["augment={flip: 0.5, flip: 0.1}"])


def test_a_seed_is_the_last_stages_unless_all_are_meant() -> None:
    recipe = Recipe(after=Recipe(name="first", after=Recipe(name="zeroth")))
    assert recipe.with_seed(3).after == recipe.after
    assert recipe.with_({"seed": 3}) == recipe.with_seed(3)
    stages = [recipe.with_seed(3, every_stage=True)]
    while stages[-1].after is not None:
        stages.append(stages[-1].after)
    assert [stage.seeds.model_dump() for stage in stages] == [{"init": 3, "order": 3, "augment": 3}] * 3
    second = recipe.with_({"seed": 1, "after.seed": 2})
    assert second.after is not None
    assert (second.seeds.order, second.after.seeds.order) == (1, 2)


# ------------------------------------------------------------------------------------------- mistakes
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"model.drop_pth": 0.1}, "did you mean 'model.drop_path'"),
    ({"droppath": 0.1}, "did you mean 'model.drop_path'"),
    ({"modl": {}}, "did you mean 'model'"),
    ({"model..width": 1}, "did you mean 'model.width'"),
    ({"model.width.x": 1}, "did you mean 'model.width'"),
    ({"": 1}, "recipes have no ''; see interplay recipe show"),
    ({"augment": {"flp": 0.5}}, "recipes have no 'augment.flp'; did you mean 'augment.flip'"),
    ({"model.scale": "layer_scale", "model.scale.int": 1e-4}, "did you mean 'model.scale.init'"),
    ({"model.scale.init": 1e-4}, "model.scale is 'none', which has no 'init'; choose model.scale=layer_scale"),
    ({"augment.policy.magnitude": 7}, "choose augment.policy=aug_mix or rand_augment as well"),
    ({"augment.policy.layers": 7}, "choose augment.policy=rand_augment as well"),
    ({"augment.crop.kind": "resize"}, "set augment.crop as a whole: augment.crop={kind: resize}"),
    ({"model.family": "timm", "model.name": "resnet18"}, "set model as a whole: model={family: timm}"),
    ({"model.scale": "layerscale"}, "did you mean 'layer_scale'"),
    ({"augment.policy": "three_augmnt"}, "did you mean 'three_augment'"),
    ({"augment.policy": {"kind": "three_augment", "ops": ["blr"]}}, "did you mean 'blur'"),
    ({"augment.policy": {"kind": "three_augment", "ops": []}}, "must name at least one operation"),
    ({"optimiser": "sdg"}, "did you mean 'sgd'"),
    ({"schedule.per": "stop"}, "did you mean 'step'"),
    ({"precision": "fp8"}, "precision='fp8' is not one of 'auto', 'fp32', 'bf16', 'fp16' or 'fp64'"),
    ({"model": {"family": "vti"}}, "did you mean 'vit'"),
    ({"model": {"width": 64}}, "does not say which 'family' it is"),
    ({"model": {"family": "timm"}}, "model.name must be set"),
    ({"model": "vit"}, "the thesis has no architecture 'vit'; did you mean 'vit_t'"),
    ({"schedule": "cosin"}, "did you mean 'cosine'"),
    ({"evaluation": "exact"}, "set one of them, such as evaluation"),
    ({"model.depth": 0}, "model.depth=0: input should be greater than 0"),
    ({"model.depth": 2.5}, "model.depth=2.5: input should be a valid integer"),
    ({"model.depth": True}, "model.depth=True: input should be a number"),
    ({"augment.flip": False}, "augment.flip=False: input should be a number"),
    ({"model.drop_path": 1.0}, "model.drop_path=1.0: input should be less than 1"),
    ({"model.drop_path": "high"}, "model.drop_path='high': input should be a valid number"),
    ({"optimiser.lr": float("nan")}, "optimiser.lr=nan: input should be a finite number"),
    ({"optimiser.betas": [0.9]}, "optimiser.betas=[0.9] has too few values"),
    ({"model.heads": 5}, "model.heads=5 does not divide model.width=384; use one of 1, 2, 3"),
    ({"data.resolution": 225}, "data.resolution=225 is not a multiple of model.patch_size=16; use 224 or 240"),
    ({"evaluation.resolution": 448}, "evaluation.resolution must equal data.resolution"),
    ({"data.batch_size": 31, "augment.mixup": 0.8}, "data.batch_size must be even"),
    ({"augment.crop.scale": [0.5, 0.1]}, "augment.crop.scale=[0.5, 0.1] must rise"),
    ({"loss": {"kind": "bce", "smoothing": 0.1}}, "set loss.smoothing=0 or loss.threshold=null"),
    ({"schedule.warmup_epochs": 300}, "schedule.warmup_epochs=300 must be below schedule.epochs=300"),
    ({"seed": -1}, "seeds.init=-1: input should be greater than or equal to 0"),
    ({"seed": "a"}, "seeds.init='a': input should be a valid integer"),
]


@pytest.mark.parametrize(("changes", "fix"), MISTAKES, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_a_mistake_is_one_sentence_that_names_the_fix(changes: dict[str, Any], fix: str) -> None:
    with pytest.raises(InterplayError, match=re.escape(fix)) as caught:
        apply_changes(Recipe(), changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("model: [", "stored is not YAML"),
        ("- 1", "stored holds no recipe: expected a mapping"),
        ("", "stored holds no recipe"),
        ("modl: {}", "did you mean 'model'"),
        ("name: a\nmodel: cait_s24\nname: b", "stored: 'name' is set twice, again in line 3; remove one of them"),
        ("data: {batch_size: 8, resolution: 32, batch_size: 16}", "stored: 'batch_size' is set twice"),
        ("seed: 3", "recipes have no 'seed'; did you mean 'seeds'"),
        ("1: 2", "keys should be strings"),
        ("!!python/object/apply:os.getcwd []", "stored is not YAML: could not determine a constructor"),
    ],
)
def test_a_malformed_file_is_one_sentence(text: str, fix: str) -> None:
    with pytest.raises(InterplayError, match=re.escape(fix)):
        from_yaml(text, source="stored")


# ------------------------------------------------------------------------------- frozen, YAML, identity
def nodes(node: BaseModel) -> list[BaseModel]:
    children = [value for _, value in node if isinstance(value, BaseModel)]
    return [node, *(n for child in children for n in nodes(child))]


@any_kind
def test_every_node_is_frozen_and_hashable(recipe: Recipe) -> None:
    for node in nodes(recipe):
        for field in type(node).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(node, field, None)
    assert isinstance(hash(recipe), int)


@any_kind
def test_yaml_brings_the_same_recipe_back(recipe: Recipe) -> None:
    assert from_yaml(to_yaml(recipe)) == recipe


def test_the_fingerprint_is_stable() -> None:
    """These values name stored cells: a change orphans every cell that was trained before it."""
    assert fingerprint(Recipe(), DIGEST) == "12bae539c50c51f2"


@pytest.mark.parametrize("changes", [{"name": "other"}, {"data.dataset": "/elsewhere/digits.beton"}])
def test_the_fingerprint_leaves_out_what_changes_no_result(changes: dict[str, Any]) -> None:
    assert fingerprint(Recipe().with_(changes), DIGEST) == fingerprint(Recipe(), DIGEST)


def test_the_fingerprint_is_of_the_resolved_recipe() -> None:
    assert fingerprint(Recipe(optimiser=AdamW(weight_decay=0.05)), DIGEST) == fingerprint(Recipe(), DIGEST)
    assert fingerprint(Recipe().with_({"optimiser.lr": 1}), DIGEST) == fingerprint(
        Recipe(optimiser=AdamW(lr=1.0)), DIGEST
    )


def test_a_parts_own_default_is_not_its_parents() -> None:
    """ResMLP's LayerScale starts at 0.1, LayerScale's own default is 1e-4: both are said."""
    other = Recipe(model=ResMLP(scale=LayerScale()))
    assert fingerprint(other, DIGEST) != fingerprint(Recipe(model=ResMLP()), DIGEST)


def test_the_fingerprint_depends_on_the_dataset() -> None:
    assert fingerprint(Recipe(), DIGEST) != fingerprint(Recipe(), "e" * 64)


OTHER: dict[str, dict[str, Any]] = {  # another value for each leaf that is no plain number
    "model.family": {"model": TimmModel(name="resnet18")},
    "model.name": {"model.name": "resnet34"},
    "model.patch_size": {"model.patch_size": 8},
    "model.heads": {"model.heads": 4},
    "model.qkv_bias": {"model.qkv_bias": False},
    "model.options": {"model.options": {"base_width": 8}},
    "model.talking_heads": {"model.talking_heads": True},
    "model.norm_position": {"model.norm_position": "post"},
    "model.second_token": {"model.second_token": "distillation"},
    "model.fusion": {"model.fusion": "first", "model.second_token": "class"},
    "data.order.kind": {"data.order": "sequential"},
    "data.level": {"data.level": 1},
    "evaluation.retrieval.probes": {"evaluation.retrieval.probes": ["linear"]},
    "data.clusters.kind": {"data.clusters": {"kind": "file", "file": __file__}},
    "embedding.kind": {"embedding": "learnt", "augment.views": 2, "evaluation.retrieval": "nearest"},
    "embedding.projector.kind": {"embedding.projector": "fc"},
    "embedding.projector.norm": {"embedding.projector.norm": "layer"},
    "embedding.labels.kind": {"embedding.labels": "head"},
    "embedding.instance.kind": {"embedding.instance": "triplet"},
    "embedding.instance.norm": {"embedding.instance.norm": "none"},
    "embedding.instance.mining": {"embedding.instance.mining": "all"},
    "evaluation.retrieval.kind": {"evaluation.retrieval": "nearest"},
    "evaluation.retrieval.neighbours": {"evaluation.retrieval.neighbours": [5]},
    "model.pool.kind": {"model.pool": "average"},
    "model.pool.token_in_keys": {"model.pool.token_in_keys": False},
    "model.pool.scaled": {"model.pool.scaled": False},
    "model.pool.tokens": {"model.pool.tokens": "per_class"},
    "model.pool.heads": {"model.pool.heads": 2},
    "model.communication": {"model.communication": "mlp"},
    "model.norm": {"model.norm": "layer_norm"},
    "model.activation": {"model.activation": "relu"},
    "model.stem": {"model.stem": "linear"},
    "model.trunk": {"model.trunk": "resnet18"},
    "model.pool.at": {"model.pool.at": 3},
    "model.scale.spread": {"model.scale": {"kind": "layer_scale", "spread": "uniform"}},
    "model.position": {"model.position": "patches"},
    "model.drop_path": {"model.drop_path": 0.1},
    "model.drop_path_rule": {"model.drop_path_rule": "uniform"},
    "model.scale.kind": {"model.scale": "layer_scale"},
    "data.interpolation": {"data.interpolation": "bilinear"},
    "augment.crop.kind": {"augment.crop": "resize"},
    "augment.crop.scale": {"augment.crop.scale": [0.1, 1.0]},
    "augment.crop.ratio": {"augment.crop.ratio": [0.5, 2.0]},
    "augment.policy.kind": {"augment.policy": "rand_augment"},
    "augment.policy.ops": {"augment.policy.ops": ["grayscale"]},
    "augment.policy.blur_radius": {"augment.policy.blur_radius": [0.1, 1.0]},
    "augment.policy.increasing": {"augment.policy.increasing": False},
    "augment.policy.choice": {"augment.policy.choice": "weights"},
    "augment.jitter_order": {"augment.jitter_order": "random"},
    "augment.erasing_mode": {"augment.erasing_mode": "const"},
    "augment.erasing_area": {"augment.erasing_area": [0.1, 0.2]},
    "augment.cutmix_minmax": {"augment.cutmix_minmax": [0.2, 0.8], "augment.cutmix": 0.0},
    "augment.mix_mode": {"augment.mix_mode": "elem"},
    "start": {"start": __file__},
    "after": {"after": {"name": "earlier", "model": {"family": "vit"}}},
    "distillation.kind": {"distillation": {"kind": "hard", "teacher": __file__}},
    "average.kind": {"average": "ema"},
    "schedule.kind": {"schedule": "constant"},
    "trainable": {"trainable": "head"},
    "loss.kind": {"loss": "bce"},
    "loss.threshold": {"loss": {"kind": "bce", "threshold": 0.2}},
    "optimiser.kind": {"optimiser.kind": "lamb"},
    "optimiser.betas": {"optimiser.betas": [0.9, 0.99]},
    "optimiser.clip_grad": {"optimiser.clip_grad": 2.0},
    "schedule.per": {"schedule.per": "step"},
    "evaluation.resolution": {"evaluation.resolution": 224},
    "precision": {"precision": "fp32"},
}

LEAVES = {path: recipe for recipe in reversed(KINDS.values()) for path in flatten(recipe)}
"""Every path that a recipe can have, with the first kind that has it."""


@pytest.mark.parametrize("path", sorted(LEAVES.keys() - {"name", "data.dataset"}))
def test_the_fingerprint_changes_with_every_other_leaf(path: str) -> None:
    recipe = LEAVES[path]
    value = flatten(recipe)[path]
    changes = OTHER.get(path) or {path: value * 2 if isinstance(value, int) and value else value * 0.9 or 1 - 0.9}
    if path.startswith("seeds."):
        changes = {path: 1}
    changed = recipe.with_(changes)
    assert path.startswith("seeds.") or any(f"{p}.".startswith(f"{path}.") for p in difference(recipe, changed))
    assert fingerprint(changed, DIGEST, "after" if changed.after else "") != fingerprint(recipe, DIGEST)


def _defaults() -> dict[str, Any]:
    """Part.field -> default, over all parts a recipe can have."""

    def walk(part: type[Part]) -> Iterator[tuple[str, Any]]:
        for name, field in part.model_fields.items():
            default = field.get_default(call_default_factory=True)
            plain = default.model_dump(mode="json") if isinstance(default, Part) else default
            yield f"{part.__name__}.{name}", None if field.is_required() else json.loads(json.dumps(plain))
            for member in set(_members(field.annotation)) - {Recipe}:  # an earlier stage is a recipe again
                yield from walk(member)

    return dict(sorted(walk(Recipe)))


def test_a_default_changes_only_with_the_version() -> None:
    """Fields at their default are not in the fingerprint, so another default would be another result.

    New fields are added to the file, with a default that does what was done before:
    `python -c "from tests.unit.test_recipe import *; write_defaults()"`. For a changed one, raise RESULTS_VERSION.
    """
    known = yaml.safe_load(DEFAULTS.read_text())
    assert known["results_version"] == RESULTS_VERSION
    assert known["defaults"] == _defaults()


def write_defaults() -> None:
    DEFAULTS.write_text(yaml.safe_dump({"results_version": RESULTS_VERSION, "defaults": _defaults()}))


def test_a_model_may_be_named() -> None:
    recipe = Recipe().with_({"model": "cait_xxs24", "model.drop_path": 0.1})
    assert recipe.model == ARCHITECTURES["cait_xxs24"].model_copy(update={"drop_path": 0.1})
    assert from_yaml("model: resmlp_s12", source="a file").model == ARCHITECTURES["resmlp_s12"]
    assert from_yaml(to_yaml(recipe), source="stored") == recipe
    nearest = r"the thesis has no architecture 'cait_s25'; did you mean 'cait_s24'"
    with pytest.raises(InterplayError, match=nearest):
        Recipe().with_({"model": "cait_s25"})
    with pytest.raises(InterplayError, match=nearest):
        from_yaml("model: cait_s25", source="a file")


# -------------------------------------------------------------------------------------------- finding
OWN_FILE = """
from interplay.recipe import Recipe

def default():
    return Recipe(name="own default")

def tiny():
    return Recipe(name="own tiny")

def number():
    return 3

def raises():
    return Recipe().nothing

def impossible():
    return Recipe(data={"batch_size": 0})
"""


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "own_recipes_of_test.py"
    path.write_text(OWN_FILE)
    return path


def test_a_recipe_is_found_by_name() -> None:
    assert find_recipe("digits.deit_small_patch4").name == "digits.deit_small_patch4"


def test_a_recipe_is_found_in_an_own_file(own_file: Path) -> None:
    assert find_recipe(f"{own_file}:tiny").name == "own tiny"
    assert find_recipe(str(own_file)).name == "own default"


def test_a_recipe_is_found_in_a_stored_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(KINDS["every other kind"]))
    assert find_recipe(str(path)) == KINDS["every other kind"]


@pytest.mark.parametrize(
    ("reference", "fix"),
    [
        ("digits.deit_smal_patch4", "did you mean 'deit_small_patch4'"),
        ("digit.deit_small_patch4", "did you mean 'digits.deit_small_patch4'"),
        ("digits.Recipe", "there are: "),
        ("nowhere", "there are: "),
        ("", "there are: "),
        ("missing.py:tiny", "there is no file missing.py"),
        ("missing.yaml", "there is no recipe file missing.yaml"),
        ("{own}:tinny", "did you mean 'tiny'"),
        ("{own}:number", "returned int, not a Recipe"),
        ("{own}:raises", "own_recipes_of_test.py:raises raised AttributeError: 'Recipe' object has no attribute"),
        ("{own}:impossible", "own_recipes_of_test.py:impossible: data.batch_size: Input should be greater than 0"),
    ],
)
def test_a_reference_to_nothing_names_what_there_is(reference: str, fix: str, own_file: Path) -> None:
    with pytest.raises(InterplayError, match=re.escape(fix)):
        find_recipe(reference.format(own=own_file))


def test_a_file_that_fails_says_why(tmp_path: Path) -> None:
    path = tmp_path / "fails_on_purpose.py"
    path.write_text("import nothing_of_that_name")
    with pytest.raises(InterplayError, match=r"fails_on_purpose\.py could not be read: ModuleNotFoundError"):
        find_recipe(str(path))


# -------------------------------------------------------------------------------------------- records
@pytest.mark.parametrize("name", names("recipes"))
def test_every_recipe_of_the_house_has_a_record_and_its_own_name(name: str) -> None:
    record = record_of(find_function(name, package="recipes"))
    assert all((record.summary, record.source, record.expected, record.cost))
    assert name in record.run
    assert find_recipe(name).name == name


def test_a_record_may_run_over_lines() -> None:
    def recipe() -> None:
        """A summary.

        Source: a paper,
          table 3
        Expected: 1
        Cost: 2
        Run: 3
        """

    assert record_of(recipe).source == "a paper, table 3"


def test_a_recipe_without_its_record_is_refused() -> None:
    def recipe() -> None:
        """A summary.

        Source: a paper
        Cost: 2
        """

    with pytest.raises(InterplayError, match="recipe recipe: the docstring lacks expected, run"):
        record_of(recipe)
