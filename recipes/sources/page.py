"""docs/recipes.md: every recipe with its procedure. `python -m recipes.sources.page > docs/recipes.md`."""

from __future__ import annotations

from interplay.recipe import Record, find_function, find_recipe, record_of
from interplay.recipe.find import names
from interplay.report.draw import DASH, to_markdown
from recipes.sources.facts import NOT_BUILT, procedures
from recipes.sources.stated import Origin, origin_of


def recipes_markdown() -> str:
    """The page as Markdown."""
    headers = ["recipe", "what it is", "procedure", "tables of the thesis", "expected", "stages"]
    own, table = [], []
    for name in names("recipes"):
        function = find_function(name, package="recipes")
        origin, record = origin_of(function), record_of(function)
        if origin is None:
            own.append([name, record.summary.rstrip("."), record.expected])
        else:
            table.append(_row(name, origin, record))
    left_out = [
        [name, procedures()[name].title, ", ".join(procedures()[name].tables), why] for name, why in NOT_BUILT.items()
    ]
    return f"""# Recipes

Every training procedure of the thesis that trains a classifier, as recipes that run: {len(table)} of them, after
{len({row[2] for row in table})} procedures.

- `interplay recipe list` prints this list, `interplay recipe show NAME` every value of one, and with `--why` the
  source of each value, what sources disagree on, and what none of them states.
- Values are in `recipes/*.py` and, independently, in `recipes/thesis.yaml` with their sources. A test compares both.
  Where the thesis and the code of its author disagree, the choice and its reason are there too. What no source
  states is assumed, and `--why` says so and after what.
- A later stage trains the earlier one first (`after`). Classifiers and position embeddings are fitted.
- Distilled recipes need a teacher, whose weights no recipe can carry:
  `interplay train deit.small_distilled -s distillation.teacher.checkpoint=regnety_160.pth`.
- Published numbers stand beside recipes to compare with. None of these was trained here at full size.
- Data sets are found by their names in the storage's folder (`runs/datasets/imagenet1k.beton`), or set:
  `-s data.dataset=/data/imagenet.beton`, and `-s after.data.dataset=...` for the earlier stage.
- Flowers-102 has fewer images than the batch of 2048 that `transfer.patchconvnet_*_flowers102` inherits: train them
  with `-s data.batch_size=1024 -s optimiser.lr=1.5e-4`.
- Transfer at other sizes (384 in T3.7, 320 in T5.5): `-s data.resolution=384`.

{to_markdown((headers, table))}

## Our own

{to_markdown((["recipe", "what it is", "expected"], own))}

## Not built

ResNet strikes back's A1 and A3 are not described in the thesis, apart from what T6.1 mixes into A2's column. Of
Grafit, the baseline with cross-entropy is here; its own losses are not. These procedures have no recipe:

{to_markdown((["procedure", "what it is", "tables", "why not"], left_out))}
"""


def stages(name: str) -> list[str]:
    """The names of a recipe and of its earlier stages, the first one first."""
    recipe, found = find_recipe(name), [name]
    while recipe.after is not None:
        recipe = recipe.after
        found.insert(0, recipe.name)
    return found


def _row(name: str, origin: Origin, record: Record) -> list[str]:
    earlier = " → ".join(stages(name)[:-1])
    tables = ", ".join(procedures()[origin.procedure].tables)
    return [name, record.summary.rstrip("."), origin.procedure, tables, record.expected, earlier or DASH]


if __name__ == "__main__":
    print(recipes_markdown(), end="")
