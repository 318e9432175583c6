"""How patches talk without attention (thesis S4.2, S4.3.4)."""

# B batch, N patches, D width, h w the grid, M hidden units
from __future__ import annotations

import torch
from torch import Tensor, nn

from interplay.models.parts.mlp import Mlp
from interplay.models.parts.resize import resize_inputs, resize_map, resize_outputs

Grid = tuple[int, int]


class LinearOverPatches(nn.Linear):
    """One linear map over places, the same for each channel: [B, N, D] -> [B, N, D]."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid[0] * grid[1], grid[0] * grid[1])
        self.grid = grid

    def forward(self, x_BND: Tensor) -> Tensor:
        # from the left, one product for each image: the patches need not be copied into another order
        batch, places = x_BND.shape[:2]
        bias, weight = self.bias[:, None].expand(batch, places, 1), self.weight.expand(batch, places, places)
        return torch.baddbmm(bias, weight, x_BND)

    @torch.no_grad()
    def set_grid(self, grid: Grid) -> None:
        """Takes another number of patches; the map is interpolated over the places it reads and writes."""
        if grid == self.grid:
            return  # the same parameters: an optimiser may have them
        self.weight = _like(self.weight, resize_map(self.weight, self.grid, grid))
        self.bias = _like(self.bias, resize_outputs(self.bias[:, None], self.grid, grid)[:, 0])
        self.in_features = self.out_features = grid[0] * grid[1]
        self.grid = grid

    def extra_repr(self) -> str:
        return f"grid={self.grid}, {super().extra_repr()}"


class MlpOverPatches(Mlp):
    """Two linear maps over places with an activation between: [B, N, D] -> [B, N, D], hidden width 4 N."""

    def __init__(self, grid: Grid, activation: str = "gelu") -> None:
        super().__init__(grid[0] * grid[1], 4.0, activation=activation)
        self.grid = grid

    def forward(self, x_BND: Tensor) -> Tensor:
        return super().forward(x_BND.transpose(1, 2)).transpose(1, 2)

    @torch.no_grad()
    def set_grid(self, grid: Grid) -> None:
        """Takes another number of patches.

        Hidden units have no place, so they stay as many as there are: 4 for each patch of the grid it was built
        for. A model built for the new grid has another number of them and does not take this one's weights.
        """
        if grid == self.grid:
            return  # the same parameters: an optimiser may have them
        self.fc1.weight = _like(self.fc1.weight, resize_inputs(self.fc1.weight, self.grid, grid))
        self.fc2.weight = _like(self.fc2.weight, resize_outputs(self.fc2.weight, self.grid, grid))
        self.fc2.bias = _like(self.fc2.bias, resize_outputs(self.fc2.bias[:, None], self.grid, grid)[:, 0])
        self.fc1.in_features = self.fc2.out_features = grid[0] * grid[1]
        self.grid = grid

    def extra_repr(self) -> str:
        return f"grid={self.grid}, {super().extra_repr()}"


class OnGrid(nn.Module):
    """A convolution of the map that the patches are, one that keeps its sides: [B, N, D] -> [B, N, D]."""

    def __init__(self, conv: nn.Module, grid: Grid) -> None:
        super().__init__()
        self.conv, self.grid = conv, grid

    def forward(self, x_BND: Tensor) -> Tensor:
        batch, _, width = x_BND.shape
        x_BDhw = x_BND.transpose(1, 2).reshape(batch, width, *self.grid)
        out: Tensor = self.conv(x_BDhw).flatten(2).transpose(1, 2)
        return out

    def set_grid(self, grid: Grid) -> None:
        """Takes another number of patches."""
        self.grid = grid

    def extra_repr(self) -> str:
        return f"grid={self.grid}"


def conv3x3(width: int, grid: Grid) -> OnGrid:
    """A dense 3x3 convolution."""
    return OnGrid(nn.Conv2d(width, width, 3, padding=1), grid)


def depthwise3x3(width: int, grid: Grid) -> OnGrid:
    """A 3x3 convolution of each channel by itself."""
    return OnGrid(_depthwise(width), grid)


def separable3x3(width: int, grid: Grid) -> OnGrid:
    """A depth-wise 3x3 convolution, then a 1x1 convolution, with nothing between them."""
    return OnGrid(nn.Sequential(_depthwise(width), nn.Conv2d(width, width, 1)), grid)


class PatchesToToken(nn.Linear):
    """What class-MLP has for attention: one linear map from all places to the token, the same for each channel.

    [B, 1, D] tokens, [B, N, D] patches -> [B, 1, D]. The token itself is not read.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid[0] * grid[1], 1)
        self.grid = grid

    def forward(self, tokens_B1D: Tensor, patches_BND: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(patches_BND.transpose(1, 2)).transpose(1, 2)

    @torch.no_grad()
    def set_grid(self, grid: Grid) -> None:
        """Takes another number of patches; the map is interpolated over the places it reads."""
        if grid == self.grid:
            return  # the same parameters: an optimiser may have them
        self.weight = _like(self.weight, resize_inputs(self.weight, self.grid, grid))
        self.in_features = grid[0] * grid[1]
        self.grid = grid

    def extra_repr(self) -> str:
        return f"grid={self.grid}, {super().extra_repr()}"


def _depthwise(width: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=1, groups=width)


def _like(old: Tensor, values: Tensor) -> nn.Parameter:
    """A parameter with other values: frozen if the old one was."""
    return nn.Parameter(values, requires_grad=old.requires_grad)
