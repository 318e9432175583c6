"""Multi-head self-attention."""

# B batch, N tokens, D width, H heads, d width of a head
from __future__ import annotations

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
        out_BHNd = F.scaled_dot_product_attention(q_BHNd, k_BHNd, v_BHNd)
        out: Tensor = self.proj_drop(self.proj(out_BHNd.transpose(1, 2).reshape(batch, tokens, width)))
        return out

    def extra_repr(self) -> str:
        return f"heads={self.heads}"
