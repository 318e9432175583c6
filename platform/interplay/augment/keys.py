"""What identifies the images of a batch, and the random numbers that belong to them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from interplay.counter_rng import normal, uniform


@dataclass(frozen=True)
class Keys:
    """What identifies the images of a batch: the seed, the epoch, and [B] samples and views.

    `use` is put before the names of operations: the same image used twice gets other draws.
    """

    seed: int
    epoch: int
    sample: NDArray[np.int64]
    view: NDArray[np.int64]
    use: str = ""

    def __len__(self) -> int:
        return len(self.sample)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Keys:
        """The keys of some of the images: what they draw does not change."""
        return replace(self, sample=self.sample[rows], view=self.view[rows])

    def uniform(self, operation: str, count: int = 1) -> NDArray[np.float64]:
        """[B, count] uniforms in [0, 1) that belong to these images."""
        return uniform(self.use + operation, self.seed, self.epoch, self.sample, self.view, count=count)

    def normal(self, operation: str, count: int = 1) -> NDArray[np.float64]:
        """[B, count] standard normals that belong to these images."""
        return normal(self.use + operation, self.seed, self.epoch, self.sample, self.view, count=count)

    def beta(self, operation: str, alpha: float) -> NDArray[np.float64]:
        """[B] draws of Beta(alpha, alpha), alpha > 0, that belong to these images."""
        # as a quotient of gammas, in logarithms: for a small alpha both may be zero in floats
        difference = self._log_gamma(f"{operation}.0", alpha) - self._log_gamma(f"{operation}.1", alpha)
        return np.asarray(np.exp(-np.logaddexp(0.0, -difference)))

    def dirichlet(self, operation: str, alpha: float, count: int) -> NDArray[np.float64]:
        """[B, count] shares that sum to 1, of a symmetric Dirichlet distribution, that belong to these images."""
        logs = np.stack([self._log_gamma(f"{operation}.{n}", alpha) for n in range(count)], axis=1)
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def _log_gamma(self, operation: str, alpha: float) -> NDArray[np.float64]:
        """Logarithms of [B] draws of Gamma(alpha): Marsaglia and Tsang (2000), with their step for alpha < 1.

        Written here because NumPy's generators draw one stream after another: an image's number would depend on
        its neighbours'. An image is drawn again, with another key, until its draw is accepted (95 % at once).
        """
        d = alpha + 1.0 - 1.0 / 3.0
        found = np.zeros(len(self))
        pending = np.arange(len(self))
        attempt = 0
        while len(pending):
            keys = self[pending]
            x = keys.normal(f"{operation}.normal.{attempt}")[:, 0]
            u = keys.uniform(f"{operation}.accept.{attempt}")[:, 0]
            v = np.maximum(1.0 + x / np.sqrt(9.0 * d), 0.0) ** 3
            log_v = np.log(np.maximum(v, np.finfo(np.float64).tiny))
            accepted = (v > 0.0) & (np.log1p(-u) < 0.5 * x**2 + d * (1.0 - v + log_v))
            found[pending[accepted]] = np.log(d) + log_v[accepted]
            pending = pending[~accepted]
            attempt += 1
        return found + np.log1p(-self.uniform(f"{operation}.power")[:, 0]) / alpha
