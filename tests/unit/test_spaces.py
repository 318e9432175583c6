"""The spaces that are shipped: every draw is a recipe, no dimension is dead, published points fit somewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from interplay.cli.options import find_space
from interplay.errors import InterplayError
from interplay.recipe import Recipe, find_recipe
from interplay.recipe.find import names
from interplay.study.foresight.preflight import dead_dimensions
from interplay.study.search.points import start_points
from interplay.study.search.spaces import bind, changes_of, published_points, random_draws

DIGITS, DEIT, RESMLP, PATCHCONVNET = "digits.deit_small_patch4", "deit.small", "resmlp.s12", "patchconvnet.s60"
SHIPPED = [name for name in names("search_spaces") if not name.startswith(("digits.", "grafit."))]  # tested elsewhere

INTENDED = {
    "augmentation.policy": [DIGITS],
    "augmentation.mixing": [DIGITS],
    "augmentation.erasing": [DIGITS],
    "augmentation.repetition": [DIGITS],
    "heads.fixed_width": [DIGITS, DEIT, "cait.s24", "deit3.large"],
    "heads.shape": [DIGITS, DEIT],
    "layerscale.default": [DEIT, "cait.s36", RESMLP],
    "layerscale.init": ["cait.s24", "deit3.base", RESMLP],
    "optimiser.choice": [DIGITS],
    "optimiser.default": [DIGITS, "deit3.small"],
    "optimiser.rate": [DEIT, RESMLP],
    "regularisation.default": [DIGITS, DEIT, RESMLP],
    "regularisation.drop_path": [DEIT, RESMLP],
    "regularisation.dropout": [DEIT],
    "regularisation.weight_decay": [DEIT, "baselines.torchvision"],
    "resolution.crop": [DIGITS],
    "resolution.size": [DIGITS, DEIT, "deit.base_384"],
    # of parts that are looked at above
    "augmentation.default": [],
    "resolution.default": [],
    "joint.default": [],
}

recipe_of: Callable[[str], Recipe] = cache(find_recipe)


def test_all_that_is_shipped_is_tested() -> None:
    assert sorted(INTENDED) == SHIPPED


@pytest.mark.slow
@pytest.mark.parametrize(("space", "recipe"), [(s, r) for s, recipes in INTENDED.items() for r in recipes])
def test_no_dimension_is_dead(space: str, recipe: str) -> None:
    dimensions, dead = dead_dimensions(find_space(space), recipe_of(recipe))
    assert dimensions
    assert not dead


@pytest.mark.parametrize("recipe", [DIGITS, DEIT, RESMLP, PATCHCONVNET, "deit3.base"])
@pytest.mark.parametrize(
    "space", ["augmentation", "resolution", "optimiser", "regularisation", "layerscale", "joint"]
)
def test_every_draw_is_a_recipe(space: str, recipe: str) -> None:
    base = recipe_of(recipe)
    bound = bind(find_space(space), base)
    made = {base.with_(changes_of(bound, draw)).model_dump_json() for draw in random_draws(bound, 30)}
    assert len(made) > 12  # without LayerScale's start, kinds of scaling are few


def test_widths_that_heads_do_not_divide_are_refused() -> None:
    base = recipe_of(DEIT)
    bound = bind(find_space("heads.shape"), base)
    refused = 0
    for draw in random_draws(bound, 60):
        changes = changes_of(bound, draw)
        if draw["model.width"] % draw["model.heads"] == 0:
            assert base.with_(changes).model.width == draw["model.width"]
            continue
        refused += 1
        with pytest.raises(InterplayError, match=r"does not divide model\.width"):
            base.with_(changes)
    assert 0 < refused < 60


@pytest.mark.parametrize(("recipe", "low"), [("deit3.small", 1e-4), ("cait.s24", 1e-6), ("cait.s36", 1e-7)])
def test_the_start_of_layerscale_depends_on_depth(recipe: str, low: float) -> None:
    base = recipe_of(recipe)
    drawn = [draw["model.scale.init"] for draw in random_draws(bind(find_space("layerscale.init"), base), 50)]
    assert low <= min(drawn) < 10 * low
    assert low <= base.model.scale.init <= max(drawn)


@pytest.mark.parametrize(
    ("space", "recipe", "expected"),
    [
        ("regularisation", DEIT, 6),
        ("layerscale", DEIT, 4),  # 1e-5 and 1e-6 are of deeper models
        ("layerscale", "cait.s36", 5),
        ("heads.fixed_width", DEIT, 6),
        ("augmentation", DEIT, 4),
        ("resolution", DEIT, 6),
        ("optimiser.choice", DEIT, 2),
        ("joint", DEIT, 17),
    ],
)
def test_published_points_are_tried(space: str, recipe: str, expected: int) -> None:
    points = start_points([], find_space(space), recipe_of(recipe), published_first=True)
    assert len(points) == expected
    assert {point.name for point in points} <= set(published_points(find_space(space)))


def test_published_points_of_one_name_are_one_point() -> None:
    together = published_points(find_space("regularisation+augmentation.erasing"))["DeiT (T3.9)"]
    assert together["model.drop_path"] == 0.1
    assert together["augment.erasing"] == 0.25


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("regularisation+regularisation.dropout", r"n\.default and regularisation\.dropout both set model\.dropout;"),
        ("layerscale+joint", r"layerscale\.default and joint\.default both set model\.scale; leave one"),
        ("augmentation.erasing+augmentation.erasing", r"both set augment\.erasing; leave one of the spaces out"),
        ("regularisation+layerscal", "no 'layerscal' in search_spaces"),
        ("heads.fixed_width", "resmlp.s12 is of the family resmlp, which has no heads to search"),
    ],
)
def test_spaces_that_do_not_go_together(reference: str, message: str) -> None:
    def draw() -> Any:
        recipe = RESMLP if reference.startswith("heads") else DEIT
        return random_draws(bind(find_space(reference), recipe_of(recipe)), 3)

    with pytest.raises(InterplayError, match=message):
        draw()
