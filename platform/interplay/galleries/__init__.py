"""A trained checkpoint and a data set as a gallery: neighbours of an image, clusters, probes. Without Ray."""

from interplay.galleries.clusters import write_clusters
from interplay.galleries.gallery import Gallery, open_gallery
from interplay.galleries.neighbours import Neighbour, Ranking, rank_images, ranking_page
from interplay.galleries.probes import probed
from interplay.retrieval import energy, probe, separability

__all__ = [
    "Gallery",
    "Neighbour",
    "Ranking",
    "energy",
    "open_gallery",
    "probe",
    "probed",
    "rank_images",
    "ranking_page",
    "separability",
    "write_clusters",
]
