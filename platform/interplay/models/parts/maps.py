"""What works on feature maps."""

# B batch, D width, h w sides of the map, N = h w patches
from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class MapNorm(nn.LayerNorm):
    """LayerNorm over the channels at each place: [B, D, h, w] -> [B, D, h, w].

    A map in `channels_last` is not copied, and the result is in `channels_last`.
    """

    def forward(self, x_BDhw: Tensor) -> Tensor:
        return super().forward(x_BDhw.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SqueezeExcite(nn.Module):
    """Each channel is weighted by what the mean over the map says: [B, D, h, w] -> [B, D, h, w].

    The weights, between 0 and 1, come from two layers whose hidden width is `ratio` D.
    """

    def __init__(self, width: int, ratio: float) -> None:
        super().__init__()
        hidden = max(1, round(width * ratio))
        self.reduce = nn.Conv2d(width, hidden, kernel_size=1)
        self.expand = nn.Conv2d(hidden, width, kernel_size=1)

    def forward(self, x_BDhw: Tensor) -> Tensor:
        mean_BD11 = x_BDhw.mean(dim=(2, 3), keepdim=True)
        gate_BD11: Tensor = self.expand(F.relu(self.reduce(mean_BD11))).sigmoid()
        return x_BDhw * gate_BD11


class MapToTokens(nn.Module):
    """A map as tokens, row by row: [B, D, h, w] -> [B, N, D]."""

    def forward(self, x_BDhw: Tensor) -> Tensor:
        return x_BDhw.flatten(2).transpose(1, 2)
