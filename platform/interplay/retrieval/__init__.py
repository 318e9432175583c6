"""What embeddings are good for: rankings and classification by nearest neighbours. Pure functions of tensors."""

from interplay.retrieval.ranking import average_precision, class_votes, conditioned_scores
from interplay.retrieval.scoring import Embedded, Totals, score

__all__ = ["Embedded", "Totals", "average_precision", "class_votes", "conditioned_scores", "score"]
