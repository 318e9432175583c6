"""What a trained model looks at, and what augmentation does: arrays first, drawing apart (`figures`).

Each explanation is a pure function of a model and normalised images, or of a recipe and images. `making` chooses
what applies to a checkpoint and writes it; `interplay explain` is thin over it.
"""

from interplay.explain.attention import rollout, self_attention, token_attention
from interplay.explain.augmentation import draw_rows, policies, steps
from interplay.explain.crops import draw_crops
from interplay.explain.embeddings import embed, neighbours_map, pca_energy
from interplay.explain.making import Explained, explain_augmentation, explain_checkpoint
from interplay.explain.patches import patch_rows, sparsity
from interplay.explain.residuals import branch_ratios, branch_scales
from interplay.explain.similarity import token_similarity

__all__ = [
    "Explained",
    "branch_ratios",
    "branch_scales",
    "draw_crops",
    "draw_rows",
    "embed",
    "explain_augmentation",
    "explain_checkpoint",
    "neighbours_map",
    "patch_rows",
    "pca_energy",
    "policies",
    "rollout",
    "self_attention",
    "sparsity",
    "steps",
    "token_attention",
    "token_similarity",
]
