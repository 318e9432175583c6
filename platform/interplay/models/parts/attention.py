"""Attention: among tokens, with talking heads, and from a few tokens to patches."""

# B batch, N tokens, D width, H heads, d width of a head, T query tokens
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Softmax attention over tokens: [B, N, D] -> [B, N, D]."""

    def __init__(self, width: int, heads: int, qkv_bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, x_BND: Tensor) -> Tensor:
        batch, tokens, width = x_BND.shape
        qkv = self.qkv(x_BND).view(batch, tokens, 3, self.heads, width // self.heads)
        q_BHNd, k_BHNd, v_BHNd = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        out_BHNd = self.attend(q_BHNd, k_BHNd, v_BHNd)
        out: Tensor = self.proj_drop(self.proj(out_BHNd.transpose(1, 2).reshape(batch, tokens, width)))
        return out

    def attend(self, q_BHNd: Tensor, k_BHNd: Tensor, v_BHNd: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q_BHNd, k_BHNd, v_BHNd)

    def extra_repr(self) -> str:
        return f"heads={self.heads}"


class TalkingHeads(Attention):
    """Attention whose heads are mixed by one linear map before the softmax and another after it (CaiT)."""

    def __init__(self, width: int, heads: int, qkv_bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__(width, heads, qkv_bias, dropout)
        self.before = nn.Linear(heads, heads)
        self.after = nn.Linear(heads, heads)

    def attend(self, q_BHNd: Tensor, k_BHNd: Tensor, v_BHNd: Tensor) -> Tensor:
        logits_BHNN = (q_BHNd * q_BHNd.shape[-1] ** -0.5) @ k_BHNd.transpose(-2, -1)
        weights_BHNN = _mix_heads(self.before, logits_BHNN).softmax(dim=-1)
        return _mix_heads(self.after, weights_BHNN) @ v_BHNd


def _mix_heads(linear: nn.Linear, x_BHNN: Tensor) -> Tensor:
    """The linear map over heads, as one matrix product for each image: no copy into another order."""
    batch, heads = x_BHNN.shape[:2]
    weight, bias = linear.weight.expand(batch, heads, heads), linear.bias[:, None].expand(batch, heads, 1)
    return torch.baddbmm(bias, weight, x_BHNN.flatten(2)).view_as(x_BHNN)


class TokenAttention(nn.Module):
    """Attention from query tokens to keys: [B, T, D], [B, N, D] -> [B, T, D]."""

    def __init__(self, width: int, heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=qkv_bias)
        self.kv = nn.Linear(width, 2 * width, bias=qkv_bias)
        self.proj = nn.Linear(width, width)

    def forward(self, queries_BTD: Tensor, keys_BND: Tensor) -> Tensor:
        q_BHTd = self._split(self.q(queries_BTD))
        k_BND, v_BND = self.kv(keys_BND).chunk(2, dim=-1)
        out_BHTd = F.scaled_dot_product_attention(q_BHTd, self._split(k_BND), self._split(v_BND))
        out: Tensor = self.proj(out_BHTd.transpose(1, 2).flatten(2))
        return out

    def attention_map(self, queries_BTD: Tensor, keys_BND: Tensor) -> Tensor:
        """The weights: [B, H, T, N], each row sums to 1."""
        q_BHTd, k_BHNd = self._split(self.q(queries_BTD)), self._split(self.kv(keys_BND).chunk(2, dim=-1)[0])
        logits_BHTN: Tensor = q_BHTd @ k_BHNd.transpose(-2, -1) * q_BHTd.shape[-1] ** -0.5
        return logits_BHTN.softmax(dim=-1)

    def _split(self, x_BND: Tensor) -> Tensor:
        batch, tokens, width = x_BND.shape
        return x_BND.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)

    def extra_repr(self) -> str:
        return f"heads={self.heads}"
