"""DINOv2 (Oquab et al., arXiv 2304.07193) and DINOv3 (Siméoni et al., arXiv 2508.10104)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from homolog.backbones.base import BackboneModule
from homolog.backbones.configs import DinoConfig
from homolog.backbones.hub import dtype_of, pretrained
from homolog.errors import HomologError
from homolog.image.geometry import Grid
from homolog.utils.optional import require

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_TRANSFORMERS = ("dinov2", "dinov2_with_registers", "dinov3_vit")
_CONVNEXT = "dinov3_convnext"
_OFFSET = 0.1  # that the original code adds to the size position embeddings are brought to


class DinoBackbone(BackboneModule):
    """Tokens or keys of some layers, each a map.

    Args:
        model: one of `transformers`.
        config: which layers, and how.

    Raises:
        HomologError: another architecture, a layer that is not there, or a side that is no
            multiple of the patch.
    """

    def __init__(self, model: Any, config: DinoConfig):
        super().__init__()
        kind = model.config.model_type
        if kind not in (*_TRANSFORMERS, _CONVNEXT):
            known = ", ".join((*_TRANSFORMERS, _CONVNEXT))
            raise HomologError(f"model: {config.model} is a {kind}, takes one of {known}")
        self.model = model
        self.config = config
        self.side = config.side
        self.is_convnext = kind == _CONVNEXT
        blocks = self.blocks
        if not config.layers or not all(-len(blocks) <= i < len(blocks) for i in config.layers):
            raise HomologError(
                f"layers: got {list(config.layers)}, {config.model} has 0 to {len(blocks) - 1}"
            )
        self.layers = tuple(layer % len(blocks) for layer in config.layers)
        if self.is_convnext and (config.facet == "keys" or config.native):
            raise HomologError("facet: a ConvNeXt has no keys, and takes whole canvases")
        if config.positions == "published" and kind == "dinov3_vit":
            raise HomologError("positions: DINOv3 rotates, and has no embeddings to interpolate")
        strides = [self._stride(layer, kind) for layer in self.layers]
        largest = max(strides)
        if config.side < largest or config.side % largest:
            raise HomologError(f"side: got {config.side}, takes a multiple of {largest}")
        self.grids = tuple(Grid.from_patches(config.side, stride) for stride in strides)
        self.grid = min(self.grids, key=lambda grid: grid.stride)
        if config.positions == "published" and not self.is_convnext:
            self._embeddings.interpolate_pos_encoding = self._published_positions

    def _stride(self, layer: int, kind: str) -> int:
        return 4 * 2**layer if kind == _CONVNEXT else int(self.model.config.patch_size)

    @property
    def blocks(self) -> nn.ModuleList:
        """Blocks of a transformer, stages of a ConvNeXt."""
        for path in ("encoder.layer", "encoder.layers", "model.layer", "layer", "encoder.stages",
                     "stages", "model.stages"):  # fmt: skip
            found: Any = self.model
            for name in path.split("."):
                found = getattr(found, name, None)
            if isinstance(found, nn.ModuleList):
                return found
        raise HomologError(f"model: this version of transformers hides the layers of {self.config}")

    @property
    def _embeddings(self) -> Any:
        return self.model.embeddings

    @torch.no_grad()
    def forward(
        self, canvases: UInt8[Tensor, "B side side 3"]
    ) -> list[Float[Tensor, "B _C _h _w"]]:
        """The map of each layer asked for, on its own grid."""
        return self.maps(canvases)

    def maps(self, canvases: UInt8[Tensor, "B side side 3"]) -> list[Float[Tensor, "B _C _h _w"]]:
        """As `forward`, with gradients."""
        pictures = canvases.to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, std = (pictures.new_tensor(x)[:, None, None] for x in (_MEAN, _STD))
        pictures = ((pictures - mean) / std).to(next(self.parameters()).dtype)
        if not self.config.native:
            return self._maps(pictures)
        parts = [
            self._native(canvas, picture[None])
            for canvas, picture in zip(canvases, pictures, strict=True)
        ]
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _native(self, canvas: Tensor, picture: Tensor) -> list[Tensor]:
        """Maps of one picture without the black around it, zero there."""
        patch = int(self.model.config.patch_size)
        light = canvas.amax(2).unfold(0, patch, patch).unfold(1, patch, patch).amax((2, 3)) > 0
        rows, columns = (light.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
        if not rows:
            return self._maps(picture)
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        inner = picture[..., top * patch : bottom * patch, left * patch : right * patch]
        maps = []
        for features in self._maps(inner):
            whole = features.new_zeros(1, features.shape[1], *self.grid.shape)
            whole[..., top:bottom, left:right] = features
            maps.append(whole)
        return maps

    def _maps(self, pictures: Float[Tensor, "B 3 h w"]) -> list[Float[Tensor, "B _C _h _w"]]:
        caught: dict[int, Tensor] = {}
        blocks = self.blocks
        handles = []
        for layer in set(self.layers):
            watched = _keys_of(blocks[layer]) if self.config.facet == "keys" else blocks[layer]

            def catch(_: nn.Module, __: Any, output: Any, layer: int = layer) -> None:
                caught[layer] = output[0] if isinstance(output, tuple) else output

            handles.append(watched.register_forward_hook(catch))
        try:
            last = self.model(pixel_values=pictures).last_hidden_state
        finally:
            for handle in handles:
                handle.remove()
        maps = []
        for layer, grid in zip(self.layers, self.grids, strict=True):
            found = caught[layer]
            if layer == len(blocks) - 1 and self.config.facet == "tokens":
                found = last
            if found.ndim == 3:
                height = pictures.shape[2] // round(grid.stride)
                width = pictures.shape[3] // round(grid.stride)
                # Before the patches come the class token, and registers where there are any.
                found = found[:, found.shape[1] - height * width :]
                found = found.transpose(1, 2).unflatten(2, (height, width))
            maps.append(found.float())
        return maps

    def _published_positions(self, embeddings: Tensor, height: int, width: int) -> Tensor:
        """Position embeddings as the original code brings them to another size."""
        patch = int(self.model.config.patch_size)
        positions = self._embeddings.position_embeddings
        count = math.isqrt(positions.shape[1] - 1)
        rows, columns = height // patch, width // patch
        if rows == columns == count:
            return positions
        grid = positions[:, 1:].float().unflatten(1, (count, count)).permute(0, 3, 1, 2)
        factors = ((rows + _OFFSET) / count, (columns + _OFFSET) / count)
        resized = F.interpolate(grid, scale_factor=factors, mode="bicubic")
        assert resized.shape[2:] == (rows, columns)
        flat = resized.flatten(2).transpose(1, 2).to(positions.dtype)
        return torch.cat([positions[:, :1], flat], dim=1)


def _keys_of(block: nn.Module) -> nn.Module:
    for name, module in block.named_modules():
        if name.split(".")[-1] in ("k_proj", "key"):
            return module
    raise HomologError("facet: this version of transformers hides the keys")


def load(config: DinoConfig, device: torch.device) -> DinoBackbone:
    """The backbone on a device.

    Raises:
        HomologError: `transformers` or the model cannot be had, or the settings do not fit it.
    """
    transformers = require("transformers", "dino")
    dtype = dtype_of(config.precision, device, torch.bfloat16)
    model = pretrained(transformers.AutoModel, config.model, use_safetensors=True, dtype=dtype)
    backbone = DinoBackbone(model, config).eval().requires_grad_(False)
    return backbone.to(device)
