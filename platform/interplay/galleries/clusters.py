"""Clusters of a trained model's embeddings as labels for the next (ClusterFit, thesis S2.4.2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interplay.atomic import replacing
from interplay.data.reader import read_samples
from interplay.errors import InterplayError
from interplay.galleries.gallery import Gallery

_WHOLE = 50_000
"""Images up to which k-means sees all of them in each step; beyond, mini-batches."""


def write_clusters(gallery: Gallery, count: int, out: Path, *, seed: int = 0) -> NDArray[np.int64]:
    """k-means of the training images' embeddings; every image of the data set gets its nearest centre's number.

    Args:
        gallery: a checkpoint and the data set to be labelled.
        count: of clusters; the thesis has 15,000 for ImageNet and 1,500 for CIFAR-100.
        out: the `.npy` to write, for `data.clusters.file`.
        seed: of the centres that are begun with.

    Returns:
        [N] cluster numbers of all samples of the data set, as written.

    Raises:
        InterplayError: if there are fewer training images than clusters.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    train = gallery.embedded("train")
    if not 1 < count <= len(train):
        raise InterplayError(f"{len(train)} training images cannot make {count} clusters; ask for 2 to {len(train)}")
    if len(train) <= _WHOLE:
        model = KMeans(count, n_init=3, random_state=seed)
    else:
        model = MiniBatchKMeans(count, batch_size=max(4096, 2 * count), n_init=1, random_state=seed)
    model.fit(train.vectors.float().cpu().numpy())
    file = read_samples(gallery.path)
    numbers = np.zeros(len(file.splits), dtype=np.int64)
    for split, samples in gallery.manifest.counts.items():
        if samples:
            images = train if split == "train" else gallery.embedded(split)
            places = file.of_split(split)[images.index.cpu().numpy()]
            numbers[places] = model.predict(images.vectors.float().cpu().numpy())
    with replacing(out) as stream:
        np.save(stream, numbers)
    return numbers
