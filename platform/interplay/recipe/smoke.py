"""A recipe's smoke form: the same procedure on a tiny model, to see in a second that it runs."""

from __future__ import annotations

from typing import Any

from interplay.recipe.architecture import (
    AttentionPool,
    LayerScale,
    Model,
    OwnModel,
    PatchConvNet,
    PooledConvNet,
    ResMLP,
    TimmModel,
    ViT,
)
from interplay.recipe.embedding import LearntEmbedding, Likeness, MlpProjector, NoClusters, NoProjector
from interplay.recipe.procedure import NoDistillation, Steps, Weights
from interplay.recipe.tree import Recipe

SIDE, PATCH, WIDTH, HEADS, DEPTH = 32, 16, 16, 2, 2
BATCH, EPOCHS = 8, 2
MARK = " (smoke)"
_TINY = {True: "test_vit", False: "test_resnet"}
_TRANSFORMERS = ("vit", "deit", "cait", "swin", "pit", "tnt", "convit")


def smoke(recipe: Recipe, teacher: str = "") -> Recipe:
    """`recipe` with a tiny model of its family, 32x32 images, batches of 8 and two epochs.

    Everything that makes the procedure stays: the parts of the model, its drop path, augmentation, loss,
    distillation, optimiser with its rates, the kind of schedule, average and what is trained. An earlier stage
    (`after`) becomes its own smoke form, of the same tiny model.

    The smoke form of a smoke form is itself.

    Args:
        recipe: any recipe; `OwnModel` is left as it is.
        teacher: a checkpoint of ours that takes the teacher's place, trained at 32x32 for as many classes.
    """
    changes: dict[str, Any] = {
        "name": recipe.name.removesuffix(MARK) + MARK,
        "model": _tiny(recipe.model),
        "start": None,
        "after": None,
        "data.resolution": SIDE,
        "data.batch_size": BATCH,
        "evaluation.resolution": None,
        "evaluation.every": EPOCHS,
        "evaluation.also": {},
        "schedule.epochs": EPOCHS,
        "schedule.warmup_epochs": 1.0 if recipe.schedule.warmup_epochs else 0.0,
    }
    if recipe.data.level is not None:
        changes |= {"data.level": 0, "data.clusters": NoClusters()}  # which every data set has
    if isinstance(recipe.embedding, LearntEmbedding):
        changes["embedding"] = _narrow(recipe.embedding)
    if isinstance(recipe.schedule, Steps):
        changes["schedule.every"] = 1
    if not isinstance(recipe.distillation, NoDistillation):
        changes["distillation.teacher"] = Weights(checkpoint=teacher)
        if recipe.distillation.teacher_resolution is not None:
            changes["distillation.teacher_resolution"] = SIDE
    small = recipe.model_copy(update={"after": None, "start": None}).with_(changes)
    if recipe.after is None:
        return small
    return small.model_copy(update={"after": smoke(recipe.after, teacher)})


def _narrow(embedding: LearntEmbedding) -> LearntEmbedding:
    """The same parts and losses in few channels."""
    projector, instance = embedding.projector, embedding.instance
    if not isinstance(projector, NoProjector):
        hidden = {"hidden": WIDTH} if isinstance(projector, MlpProjector) else {}
        projector = projector.model_copy(update={"width": WIDTH, **hidden})
    if isinstance(instance, Likeness):
        instance = instance.model_copy(update={"hidden": WIDTH})
    return embedding.model_copy(update={"projector": projector, "instance": instance})


def _tiny(model: Model) -> Model:
    """A model of the same family and parts, of two blocks."""
    if isinstance(model, ViT):
        update: dict[str, Any] = {"patch_size": PATCH, "width": WIDTH, "depth": DEPTH, "heads": HEADS}
        if getattr(model.pool, "at", 0):
            update["pool"] = model.pool.model_copy(update={"at": 1})
    elif isinstance(model, ResMLP):
        update = {"patch_size": PATCH, "width": WIDTH, "depth": DEPTH}
    elif isinstance(model, PatchConvNet):
        update = {"width": WIDTH, "depth": DEPTH}
        if isinstance(model.pool, AttentionPool):
            update["pool"] = model.pool.model_copy(update={"heads": 1})
    elif isinstance(model, PooledConvNet):
        update = {"trunk": _TINY[False], "pool": model.pool.model_copy(update={"heads": 1})}
    elif isinstance(model, TimmModel):
        tiny = model.name if model.name in _TINY.values() else _TINY[model.name.startswith(_TRANSFORMERS)]
        update = {"name": tiny, "heads": None, "options": ()}
    else:
        assert isinstance(model, OwnModel)
        return model
    if getattr(getattr(model, "scale", None), "kind", "") == "fixed":
        update["scale"] = LayerScale()  # its values are of the full model
    return model.model_copy(update=update)
