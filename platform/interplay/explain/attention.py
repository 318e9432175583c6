"""Where a model looks: weights of its attention layers, recomputed from what these layers were given."""

# B batch, L layers, H heads, T tokens, N patches (M = T + N), h w the grid
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from interplay.errors import InterplayError
from interplay.explain.capture import answer, as_maps, before, named
from interplay.models.backbone import Backbone
from interplay.models.parts.attention import Attention, TalkingHeads, TokenAttention
from interplay.models.parts.head import PerClassHead
from interplay.models.parts.tokens import JoinTokens, TokenStage


def attention_weights(module: Attention, x_BMD: Tensor) -> Tensor:
    """What the values are weighted with when `module` is given `x_BMD`: [B, H, M, M].

    Rows sum to 1, but not with talking heads, whose weights are mixed after the softmax.
    """
    batch, tokens, width = x_BMD.shape
    qkv = module.qkv(x_BMD).view(batch, tokens, 3, module.heads, width // module.heads)
    q_BHMd, k_BHMd, _ = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    logits_BHMM = q_BHMd @ k_BHMd.transpose(-2, -1) * q_BHMd.shape[-1] ** -0.5
    if not isinstance(module, TalkingHeads):
        weights_BHMM: Tensor = logits_BHMM.softmax(dim=-1)
        return weights_BHMM
    weights_BHMM = _over_heads(module.before, logits_BHMM).softmax(dim=-1)
    return _over_heads(module.after, weights_BHMM)


def token_attention(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    """Where the class tokens look, for each layer of class attention or attention pooling.

    Returns:
        [L, B, H, T, h, w], not negative. Over the map it sums to 1 where tokens see patches alone, and to less where
        they see themselves as well (thesis S3.6, S5.2).

    Raises:
        InterplayError: if no token of the model looks at patches like this.
    """
    stage, layers = _token_layers(model)
    count = 0
    found: list[Tensor] = []

    def see_stage(inputs: tuple[Tensor, ...]) -> None:
        nonlocal count
        count = inputs[0].shape[1]

    def see(module: TokenAttention) -> Callable[[tuple[Tensor, Tensor]], None]:
        return lambda inputs: found.append(module.attention_map(*inputs)[..., -count:])

    with ExitStack() as hooks:
        hooks.enter_context(before(stage, see_stage))
        for layer in layers:
            hooks.enter_context(before(layer, see(layer)))
        answer(model, x_BCHW)
    return as_maps(torch.stack(found))


def self_attention(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    """Where the class tokens among the patches look, for each block that has them: [L, B, H, T, h, w].

    With talking heads weights may be negative.

    Raises:
        InterplayError: if the model has no class token among its patches.
    """
    count = class_tokens(model)
    if not count:
        raise InterplayError("the model has no class token among its patches")
    assert isinstance(model, Backbone)
    found: list[Tensor] = []

    def see(module: Attention) -> Callable[[tuple[Tensor]], None]:
        def look(inputs: tuple[Tensor]) -> None:
            found.append(attention_weights(module, inputs[0])[:, :, :count, count:])

        return look

    with ExitStack() as hooks:
        for number in blocks_with_tokens(model):
            _, module = named(model.blocks[str(number)], Attention)[0]  # of parallel branches the first
            hooks.enter_context(before(module, see(module)))
        answer(model, x_BCHW)
    return as_maps(torch.stack(found))


def rollout(model: nn.Module, x_BCHW: Tensor) -> Tensor:
    """How much of each patch reaches what is classified, layers multiplied (Abnar and Zuidema, arXiv:2005.00928).

    Heads are averaged to A, a block is (A + I) / 2: the skip path counts as much as attention. Parallel branches are
    averaged too.

    Returns:
        [B, T, h, w]: of the class tokens, or of the mean over the patches (T = 1). What is missing to a sum of 1 is
        the tokens' own.

    Raises:
        InterplayError: if the model's blocks do not attend, or their weights are no shares.
    """
    if (reason := why_no_rollout(model)) is not None:
        raise InterplayError(f"attention rollout does not apply: {reason}")
    assert isinstance(model, Backbone)
    count = class_tokens(model)
    total_BMM: Tensor | None = None
    layers: dict[str, list[Tensor]] = {}

    def see(block: str, module: Attention) -> Callable[[tuple[Tensor]], None]:
        def look(inputs: tuple[Tensor]) -> None:
            layers.setdefault(block, []).append(attention_weights(module, inputs[0]).mean(dim=1))

        return look

    with ExitStack() as hooks:
        for name, block in model.blocks.items():
            for _, module in named(block, Attention):
                hooks.enter_context(before(module, see(name, module)))
        answer(model, x_BCHW)
    for branches in layers.values():
        mean_BMM = torch.stack(branches).mean(dim=0)
        step_BMM = (mean_BMM + torch.eye(mean_BMM.shape[-1], device=mean_BMM.device)) / 2
        if total_BMM is None:
            total_BMM = step_BMM
        else:
            total_BMM = step_BMM @ _with_tokens(total_BMM, step_BMM.shape[-1] - total_BMM.shape[-1])
    assert total_BMM is not None
    rows_BTM = total_BMM[:, :count] if count else total_BMM.mean(dim=1, keepdim=True)
    return as_maps(rows_BTM[..., count:])


def why_no_rollout(model: nn.Module) -> str | None:
    """What is missing for attention rollout, None if nothing is."""
    if not isinstance(model, Backbone) or not (layers := named(model.blocks, Attention)):
        return "the blocks have no self-attention"
    if any(isinstance(module, TalkingHeads) for _, module in layers):
        return "talking heads mix the weights after the softmax, so they are no shares of a whole"
    if named(model, TokenStage):
        return "the token that is classified joins after the blocks"
    return None


def why_no_token_attention(model: nn.Module) -> str | None:
    """What is missing for maps of class attention or attention pooling, None if nothing is."""
    return (
        None if named(model, TokenAttention) else "no token looks at the patches through attention layers of its own"
    )


def why_no_self_attention(model: nn.Module) -> str | None:
    """What is missing for maps of class tokens among patches, None if nothing is."""
    return None if class_tokens(model) else "it has no class token among its patches"


def class_tokens(model: nn.Module) -> int:
    """Number of class tokens among the patches of attending blocks."""
    joins = [module for _, module in named(model, JoinTokens)]
    return joins[0].token.shape[1] if joins and isinstance(model, Backbone) and named(model, Attention) else 0


def blocks_with_tokens(model: nn.Module) -> list[int]:
    """Numbers of the blocks that have class tokens among their patches."""
    names = list(model.blocks) if isinstance(model, Backbone) else []
    return [int(name) for name in names[names.index("tokens") + 1 :]] if "tokens" in names else []


def tokens_per_class(model: nn.Module) -> bool:
    """Whether each class has a token of its own."""
    return isinstance(model, Backbone) and isinstance(model.head, PerClassHead)


def _token_layers(model: nn.Module) -> tuple[TokenStage, list[TokenAttention]]:
    if why_no_token_attention(model) is not None:
        raise InterplayError("the model's tokens do not gather the patches through attention")
    stage = named(model, TokenStage)[0][1]
    return stage, [module for _, module in named(stage, TokenAttention)]


def _with_tokens(total_BMM: Tensor, joined: int) -> Tensor:
    """With `joined` tokens before the others, which have seen nothing yet."""
    if not joined:
        return total_BMM
    size = total_BMM.shape[-1] + joined
    wider = torch.eye(size, device=total_BMM.device, dtype=total_BMM.dtype).repeat(len(total_BMM), 1, 1)
    wider[:, joined:, joined:] = total_BMM
    return wider


def _over_heads(linear: nn.Linear, x_BHMM: Tensor) -> Tensor:
    mixed: Tensor = linear(x_BHMM.permute(0, 2, 3, 1))
    return mixed.permute(0, 3, 1, 2)
