"""Rankings and on-the-fly classification, against scikit-learn and against slow references in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.nn import functional as F

from interplay.recipe import ByNearest
from interplay.retrieval import Embedded, average_precision, class_votes, conditioned_scores, score
from interplay.retrieval.scoring import rows_within

SIGMA = 0.05
BY = ByNearest(neighbours=(1, 3, 5), sigma=SIGMA)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def images(count: int, seed: int, *, tied: bool = False, fine: int = 6) -> Embedded:
    """Unit vectors with labels of two levels; `tied` ones are of a few directions, so that cosines repeat exactly."""
    rng = np.random.default_rng(seed)
    vectors = F.normalize(random(count, 5, seed=seed), dim=1)
    if tied:
        vectors = torch.from_numpy(np.eye(5)[rng.integers(0, 4, count)])
    labels = torch.from_numpy(rng.integers(0, fine, count))
    return Embedded(vectors, torch.stack([labels, labels // 2], dim=1), labels // 2, torch.arange(count))


# -------------------------------------------------------------------------------------- average precision
@pytest.mark.parametrize("values", ["distinct", "tied", "all alike"])
def test_average_precision_is_scikit_learns(values: str) -> None:
    rng = np.random.default_rng(0)
    scores = {
        "distinct": rng.normal(size=(9, 50)),
        "tied": rng.integers(0, 6, (9, 50)) / 4,
        "all alike": np.ones((9, 50)),
    }
    relevant = rng.random((9, 50)) < 0.3
    found = torch.from_numpy(scores[values]).sort(dim=1, descending=True)
    ours = average_precision(found.values, torch.from_numpy(relevant).gather(1, found.indices))
    theirs = [average_precision_score(y, s) for y, s in zip(relevant, scores[values], strict=True)]
    assert ours.tolist() == pytest.approx(theirs, rel=1e-12)


def test_average_precision_of_a_part_of_the_ranking_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    scores, relevant, counted = rng.integers(0, 9, (7, 40)) / 4, rng.random((7, 40)) < 0.3, rng.random((7, 40)) < 0.6
    found = torch.from_numpy(scores).sort(dim=1, descending=True)
    parts = (torch.from_numpy(part).gather(1, found.indices) for part in (relevant, counted))
    theirs = [average_precision_score(y[c], s[c]) for y, s, c in zip(relevant, scores, counted, strict=True)]
    assert average_precision(found.values, *parts).tolist() == pytest.approx(theirs, rel=1e-12)


def test_without_anything_relevant_there_is_no_precision() -> None:
    assert average_precision(torch.tensor([[0.3, 0.1]]), torch.tensor([[False, False]])).isnan().all()


# ------------------------------------------------------------------------------------------------ votes
def neighbours(gallery: Embedded, level: NDArray[np.int64], count: int) -> KNeighborsClassifier:
    def weights(distances: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.exp((1.0 - distances) / SIGMA))

    model = KNeighborsClassifier(count, weights=weights, algorithm="brute", metric="cosine")
    return model.fit(gallery.vectors.numpy(), level)


@pytest.mark.parametrize("count", [1, 10, 30])
def test_votes_are_scikit_learns(count: int) -> None:
    gallery, queries = images(200, 0), images(40, 1)
    labels = gallery.levels[:, 0]
    cosines = queries.vectors @ gallery.vectors.T
    found = cosines.sort(dim=1, descending=True, stable=True)
    votes = class_votes(found.values[:, :count], labels[found.indices[:, :count]], 6, SIGMA)
    theirs = neighbours(gallery, labels.numpy(), count).predict_proba(queries.vectors.numpy())
    np.testing.assert_allclose(votes.numpy(), theirs, rtol=1e-8, atol=1e-12)


def test_votes_of_equal_cosines_are_scikit_learns() -> None:
    """All neighbours of a query are equally near; two classes with as many of them are told apart by their number."""
    labels = torch.tensor([2, 1, 2, 1, 0, 3])
    gallery = Embedded(torch.full((6, 2), math.sqrt(0.5)).double(), labels[:, None], labels, torch.arange(6))
    votes = class_votes(torch.ones(1, 6).double(), labels[None], 4, SIGMA)
    theirs = neighbours(gallery, labels.numpy(), 6).predict_proba(np.ones((1, 2)))
    np.testing.assert_allclose(votes.numpy(), theirs, rtol=1e-8)
    assert int(votes.argmax(dim=1)) == int(theirs.argmax(axis=1)[0]) == 1


# ----------------------------------------------------------------------------------------- all together
def slow(
    queries: Embedded, gallery: Embedded, probabilities: NDArray[np.float64] | None, coarse: int
) -> dict[str, Any]:
    """The same scores, one query and one image after the other, in float64."""
    fine_g, fine_q = gallery.levels[:, 0].tolist(), queries.levels[:, 0].tolist()
    coarse_g, coarse_q = gallery.trained.tolist(), queries.trained.tolist()
    hits = {k: 0 for k in BY.neighbours}
    plain, conditioned, oracle = [], [], []
    for q, vector in enumerate(queries.vectors.double()):
        cosines = [float(vector @ other) for other in gallery.vectors.double()]
        order = sorted(range(len(cosines)), key=lambda j: (-cosines[j], j))
        for k in BY.neighbours:
            votes: dict[int, float] = {}
            for j in order[:k]:
                votes[fine_g[j]] = votes.get(fine_g[j], 0.0) + math.exp(cosines[j] / SIGMA)
            hits[k] += min(votes, key=lambda y: (-votes[y], y)) == fine_q[q]
        right = [y == fine_q[q] for y in fine_g]
        if not any(right):
            continue
        weights = [math.exp(cosines[j] / SIGMA) for j in order[:coarse]]
        p = {
            c: sum(w for w, j in zip(weights, order, strict=False) if coarse_g[j] == c) / sum(weights)
            for c in coarse_g
        }
        if probabilities is not None:
            p = dict(enumerate(probabilities[q]))
        p = {c: min(max(value, 1e-6), 1 - 1e-6) for c, value in p.items()}
        given = [s + math.log(p[c] / (1 - p[c])) for s, c in zip(cosines, coarse_g, strict=True)]
        same = [s if c == coarse_q[q] else s - 10.0 for s, c in zip(cosines, coarse_g, strict=True)]
        for scores, into in ((cosines, plain), (given, conditioned), (same, oracle)):
            into.append(average_precision_score(right, scores))
    return {"hits": [*hits.values()], "ap": [sum(plain), sum(conditioned), sum(oracle)], "counted": len(plain)}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("classifier", [False, True])
@pytest.mark.parametrize("bound", [1, 1 << 30])
def test_scores_are_the_slow_references(tied: bool, classifier: bool, bound: int) -> None:
    gallery, queries = images(60, 0, tied=tied), images(11, 1, tied=tied, fine=7)  # class 6 is in no gallery
    known = random(11, 4, seed=2).softmax(dim=1)
    if classifier:
        queries = Embedded(queries.vectors, queries.levels, queries.trained, queries.index, known)
    found = score(queries, gallery, BY, coarse=3, bound=bound)
    expected = slow(queries, gallery, known.numpy() if classifier else None, 3)
    assert found.hits[0].tolist() == expected["hits"]
    assert found.precision[[0, -2, -1]].tolist() == pytest.approx(expected["ap"], rel=1e-9)
    assert set(found.counted[[0, -2, -1]].tolist()) == {expected["counted"]}
    assert expected["counted"] < len(queries) == int(found.queries)


def test_every_level_has_its_scores() -> None:
    gallery, queries = images(60, 0), images(11, 1)
    found = score(queries, gallery, BY)
    for level in (0, 1):
        alone = [Embedded(e.vectors, e.levels[:, [level]], e.trained, e.index) for e in (queries, gallery)]
        one = score(*alone, BY)
        assert torch.equal(found.hits[level], one.hits[0])
        assert torch.equal(found.precision[level], one.precision[0])
    assert torch.equal(found.hits[2], found.hits[1])  # what was trained is the second level
    assert not found.precision[-2:].any()  # no coarse labels, no conditions


def test_in_single_precision_scores_are_nearly_the_same() -> None:
    gallery, queries = images(500, 0), images(50, 1)
    half = [Embedded(e.vectors.float(), e.levels, e.trained, e.index) for e in (queries, gallery)]
    exact, found = score(queries, gallery, BY, coarse=5), score(*half, BY, coarse=5)
    torch.testing.assert_close(found.precision, exact.precision, rtol=1e-4, atol=0.0)


def test_totals_of_parts_add_up() -> None:
    gallery, queries = images(60, 0), images(11, 1)
    whole = score(queries, gallery, BY, coarse=3)
    parts = [
        Embedded(queries.vectors[rows], queries.levels[rows], queries.trained[rows], queries.index[rows])
        for rows in (slice(0, 4), slice(4, None))
    ]
    sums = whole.like(sum((score(part, gallery, BY, coarse=3).flat() for part in parts), torch.zeros(())))
    for name in ("hits", "precision", "counted", "queries"):
        torch.testing.assert_close(getattr(sums, name), getattr(whole, name))


def test_a_bound_bounds_the_rows() -> None:
    assert rows_within(1 << 30, 1_300_000) == 8
    assert rows_within(1, 1_300_000) == 1


def test_certain_coarse_classes_have_finite_odds() -> None:
    scores = conditioned_scores(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([0, 1]))
    assert scores.isfinite().all()
    assert scores[0, 0] > 13.0
    assert scores[0, 1] == pytest.approx(-float(scores[0, 0]), rel=1e-2)
