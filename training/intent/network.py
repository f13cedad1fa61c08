"""The head: reads the encoder's token vectors and letter groups, gives operations, their order and tags."""

import torch
from torch import Tensor, nn

from services.orchestrator.intent.features import GROUP_BUCKETS, MAX_TOKENS


class IntentHead(nn.Module):
    """Small transformer over frozen token vectors, with one attention query for each operation.

    Inputs: `tokens` (B, L, 384) float32, `groups` (B, L, G) int64, `has_image` (B,) float32, `mask` (B, L) float32 of
    real tokens. Outputs: `operations` (B, K + 1) logits (the last: nothing readable), `order` (B, K) scores (lower:
    earlier), `token_operations` (B, L, K + 1) and `token_slots` (B, L, S + 1) logits (the last: none).
    """

    def __init__(
        self, operations: int, slots: int, *, width: int = 128, layers: int = 2, dropout: float = 0.15
    ) -> None:
        super().__init__()
        self.project = nn.Linear(384, width)
        self.groups = nn.Embedding(GROUP_BUCKETS, 64, padding_idx=0)
        self.widen = nn.Linear(64, width)
        self.image = nn.Embedding(2, width)
        self.position = nn.Embedding(MAX_TOKENS, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, 4, dropout) for _ in range(layers))
        self.final = nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.randn(operations + 1, width) * 0.05)
        self.keys = nn.Linear(width, width)
        self.present = nn.Parameter(torch.randn(operations + 1, width) * 0.05)
        self.bias = nn.Parameter(torch.full((operations + 1,), -2.0))
        self.early = nn.Linear(width, 1)
        self.local = nn.Parameter(torch.full((operations,), 0.5))
        self.amount = nn.Parameter(torch.full((operations,), 0.5))
        self.place = nn.Parameter(torch.tensor(1.0))
        self.tag_operation = nn.Linear(width, operations + 1)
        self.tag_slot = nn.Linear(width, slots + 1)
        self.drop = nn.Dropout(dropout)
        self.source_dropout = 0.12

    def forward(self, tokens: Tensor, groups: Tensor, has_image: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        meaning = self.project(self.drop(tokens))
        count = (groups > 0).sum(-1, keepdim=True).clamp(min=1).to(tokens.dtype)
        letters = self.widen(self.drop(self.groups(groups).sum(2) / count.sqrt()))
        if self.training:
            # Each token now and then shows only one of its two sides, so that neither is leant on alone.
            draw = torch.rand(tokens.shape[:2], device=tokens.device).unsqueeze(-1)
            meaning = meaning * (draw > self.source_dropout)
            letters = letters * (draw < 1 - self.source_dropout)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = meaning + letters + self.position(places) + self.image(has_image.long())[:, None]
        x = self.norm(x)
        hidden = (1 - mask) * -1e4
        for block in self.blocks:
            x = block(x, hidden)
        x = self.final(x)
        scores = self.keys(x) @ self.queries.T + hidden[..., None]  # (B, L, K + 1)
        pooled = scores.softmax(1).transpose(1, 2) @ x  # (B, K + 1, W)
        tags = self.tag_operation(x)
        # One clause is enough evidence for its operation, wherever the rest of the goal leads; and clauses are mostly
        # wanted in the order in which they are read.
        likely = (tags.log_softmax(-1) + hidden[..., None])[..., :-1]
        strongest = likely.amax(1)  # (B, K)
        read_at = (likely.softmax(1) * places[None, :, None]).sum(1)
        operations = (pooled * self.present).sum(-1) + self.bias
        words = likely.exp().sum(1).log1p()
        here = self.local * (strongest + 2) + self.amount * (words - 1)
        operations = operations + torch.cat([here, torch.zeros_like(operations[:, :1])], 1)
        order = self.early(pooled[:, :-1]).squeeze(-1) + self.place * read_at * 0.2
        return operations, order, tags, self.tag_slot(x)


class Block(nn.Module):
    """One pre-norm transformer layer, written out so that it exports to plain ONNX operators."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.grow = nn.Linear(width, 2 * width)
        self.shrink = nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """`x` (B, L, W); `hidden` (B, L): 0 for real tokens, very negative for padding."""
        batch, length, width = x.shape
        mixed = self.mix(self.before(x)).reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        weights = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5 + hidden[:, None, None]
        attended = (self.drop(weights.softmax(-1)) @ value).transpose(1, 2).reshape(batch, length, width)
        x = x + self.drop(self.out(attended))
        inner: Tensor = torch.nn.functional.gelu(self.grow(self.between(x)))
        mixed_in: Tensor = x + self.drop(self.shrink(inner))
        return mixed_in
