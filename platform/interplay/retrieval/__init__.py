"""What embeddings are good for: rankings, classification by nearest neighbours, probes. Pure functions of tensors."""

from interplay.retrieval.granularity import energy, probe, separability
from interplay.retrieval.probes import Kind, Probe, fit_probe
from interplay.retrieval.ranking import average_precision, class_votes, conditioned_scores
from interplay.retrieval.scoring import Embedded, Totals, score

__all__ = [
    "Embedded",
    "Kind",
    "Probe",
    "Totals",
    "average_precision",
    "class_votes",
    "conditioned_scores",
    "energy",
    "fit_probe",
    "probe",
    "score",
    "separability",
]
