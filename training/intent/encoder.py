"""The frozen sentence encoder in PyTorch, from its ONNX file: the same token vectors, on any device, many at once."""

import re
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional

VECTOR = 384
_HEADS, _EPSILON = 12, 1e-12
_MATRIX = re.compile(r"val_(\d+)_q")
_MATRICES = 6  # in each layer: query, key, value, out, grow, shrink
_TOKENS = 60_000  # encoded at once


class Encoder:
    """BERT over word pieces without padding among them."""

    def __init__(self, path: Path, device: str) -> None:
        stored = {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}

        def floats(name: str) -> Tensor:
            """A weight; where it is stored in int8, times its scale."""
            value = stored[f"{name}_q"].astype(np.float32) * stored[f"{name}_scale"] if f"{name}_q" in stored else None
            return torch.from_numpy(np.array(stored[name] if value is None else value)).to(device)

        self.device = device
        self.words = floats("inner.embeddings.word_embeddings.weight")
        self.places = floats("inner.embeddings.position_embeddings.weight")
        self.kind = floats("inner.embeddings.token_type_embeddings.weight")[0]
        self.norm = [floats(f"inner.embeddings.LayerNorm.{part}") for part in ("weight", "bias")]
        numbers = sorted(int(match[1]) for name in stored if (match := _MATRIX.fullmatch(name)))
        if not numbers or len(numbers) % _MATRICES:
            raise ValueError(f"{path} holds {len(numbers)} int8 matrices, not {_MATRICES} for each layer")
        self.layers = []
        for layer, start in enumerate(range(0, len(numbers), _MATRICES)):
            head = f"inner.encoder.layer.{layer}."
            named = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
                     "intermediate.dense", "output.dense")  # fmt: skip
            matrices = [floats(f"val_{number}") for number in numbers[start : start + _MATRICES]]
            biases = [floats(f"{head}{name}.bias") for name in named]
            norms = [
                [floats(f"{head}{name}.LayerNorm.{part}") for part in ("weight", "bias")]
                for name in ("attention.output", "output")
            ]
            self.layers.append((list(zip(matrices, biases, strict=True)), norms))

    @torch.inference_mode()
    def __call__(self, ids: Tensor) -> Tensor:
        """Vectors (B, L, 384) of word pieces (B, L)."""
        count, length = ids.shape
        x = self.words[ids] + self.kind + self.places[:length]
        x = functional.layer_norm(x, (VECTOR,), self.norm[0], self.norm[1], _EPSILON)
        for (query, key, value, out, grow, shrink), (first, second) in self.layers:
            asks, told, said = (
                (x @ matrix + bias).view(count, length, _HEADS, -1).transpose(1, 2)
                for matrix, bias in (query, key, value)
            )
            seen = functional.scaled_dot_product_attention(asks, told, said).transpose(1, 2)
            seen = seen.reshape(count, length, VECTOR)
            x = functional.layer_norm(x + seen @ out[0] + out[1], (VECTOR,), first[0], first[1], _EPSILON)
            inner = functional.gelu(x @ grow[0] + grow[1])
            x = functional.layer_norm(x + inner @ shrink[0] + shrink[1], (VECTOR,), second[0], second[1], _EPSILON)
        return x

    def packed(self, ids: Tensor, sizes: Tensor) -> Tensor:
        """Vectors (T, 384) float16 of goals whose pieces follow one another (T,), `sizes` (N,) pieces each."""
        ids, sizes = ids.to(self.device), sizes.to(self.device)
        starts = sizes.cumsum(0) - sizes
        out = torch.empty(len(ids), VECTOR, dtype=torch.float16, device=self.device)
        for length in sorted(set(sizes.tolist())):
            rows, most = starts[sizes == length], max(1, _TOKENS // length)
            for first in range(0, len(rows), most):
                at = rows[first : first + most][:, None] + torch.arange(length, device=self.device)
                out[at] = self(ids[at].long()).half()
        return out
