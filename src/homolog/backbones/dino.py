"""DINOv2 (Oquab et al., arXiv 2304.07193) and DINOv3 (Siméoni et al., arXiv 2508.10104)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from homolog.backbones.base import BackboneModule
from homolog.backbones.configs import DinoConfig
from homolog.backbones.hub import dtype_of, from_pretrained
from homolog.errors import HomologError
from homolog.image.geometry import MEAN_COLOUR, Grid
from homolog.utils.optional import require

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_TRANSFORMERS = ("dinov2", "dinov2_with_registers", "dinov3_vit")
_CONVNEXT = "dinov3_convnext"
_OFFSET = 0.1  # that the original code adds to the size position embeddings are resized to


class DinoBackbone(BackboneModule):
    """The tokens or attention keys of some layers of a DINO model, one feature map for each layer.

    Args:
        model: a model of `transformers`.
        config: the layers, the canvas, and how position embeddings and padding are treated.

    Raises:
        HomologError: another architecture, a layer that the model does not have, or a canvas size
            that is no multiple of the patch size.
    """

    def __init__(self, model: Any, config: DinoConfig):
        super().__init__()
        model_type = model.config.model_type
        if model_type not in (*_TRANSFORMERS, _CONVNEXT):
            known = ", ".join((*_TRANSFORMERS, _CONVNEXT))
            raise HomologError(
                f"model: expected one of {known}, got {config.model}, a {model_type}"
            )
        self.model = model
        self.config = config
        self.canvas_size = config.canvas_size
        self.padding = config.padding
        self.is_convnext = model_type == _CONVNEXT
        blocks = self.blocks
        if not config.layers or not all(-len(blocks) <= i < len(blocks) for i in config.layers):
            raise HomologError(
                f"layers: expected numbers from 0 to {len(blocks) - 1} for {config.model}, got "
                f"{list(config.layers)}"
            )
        self.layers = tuple(layer % len(blocks) for layer in config.layers)
        if self.is_convnext and config.facet == "keys":
            raise HomologError("facet: expected 'tokens', for a ConvNeXt has no keys, got 'keys'")
        if self.is_convnext and config.crop_padding:
            raise HomologError(
                "crop_padding: expected False, for a ConvNeXt takes whole canvases, got True"
            )
        if config.pos_embed_mode == "published" and model_type == "dinov3_vit":
            raise HomologError(
                "pos_embed_mode: expected 'exact', for DINOv3 has no position embeddings to "
                "interpolate, got 'published'"
            )
        if config.debias and config.crop_padding:
            raise HomologError(
                "crop_padding: expected False with debias, whose directions are those of whole "
                "canvases, got True"
            )
        if config.crop_padding and config.padding != "centred":
            raise HomologError(
                f"crop_padding: expected False with padding={config.padding!r}, got True"
            )
        strides = [self._stride(layer) for layer in self.layers]
        largest = max(strides)
        if config.canvas_size < largest or config.canvas_size % largest:
            raise HomologError(
                f"canvas_size: expected a multiple of {largest}, got {config.canvas_size}"
            )
        self.grids = tuple(Grid.from_patches(config.canvas_size, stride) for stride in strides)
        self.grid = min(self.grids, key=lambda grid: grid.stride)
        for grid, layer in zip(self.grids, self.layers, strict=True):
            limit = min(grid.height * grid.width, self._channels(layer))
            if not 0 <= config.debias < limit:
                raise HomologError(
                    f"debias: expected fewer than {limit} directions for {config.model} at "
                    f"{config.canvas_size} pixels, got {config.debias}"
                )
        if config.pos_embed_mode == "published" and not self.is_convnext:
            self._embeddings.interpolate_pos_encoding = self._published_positions

    def _stride(self, layer: int) -> int:
        return 4 * 2**layer if self.is_convnext else int(self.model.config.patch_size)

    def _channels(self, layer: int) -> int:
        sizes = self.model.config
        return int(sizes.hidden_sizes[layer] if self.is_convnext else sizes.hidden_size)

    @property
    def blocks(self) -> nn.ModuleList:
        """The blocks of a transformer, or the stages of a ConvNeXt."""
        for path in ("encoder.layer", "encoder.layers", "model.layer", "layer", "encoder.stages",
                     "stages", "model.stages"):  # fmt: skip
            found: Any = self.model
            for name in path.split("."):
                found = getattr(found, name, None)
            if isinstance(found, nn.ModuleList):
                return found
        raise HomologError(
            f"model: expected layers where transformers keeps them, got {self.config.model} "
            "without any; try another version of transformers"
        )

    @property
    def _embeddings(self) -> Any:
        return self.model.embeddings

    @torch.no_grad()
    def forward(
        self, canvases: UInt8[Tensor, "B size size 3"]
    ) -> list[Float[Tensor, "B _C _h _w"]]:
        """The feature map of each configured layer, on its own grid."""
        return self.feature_maps(canvases)

    def feature_maps(
        self, canvases: UInt8[Tensor, "B size size 3"]
    ) -> list[Float[Tensor, "B _C _h _w"]]:
        """The same as `forward`, with gradients, for fine-tuning."""
        maps = self._biased_maps(canvases)
        if not self.config.debias:
            return maps
        return [
            remove_directions(features, basis)
            for features, basis in zip(maps, self.positional_bases, strict=True)
        ]

    @cached_property
    @torch.no_grad()
    def positional_bases(self) -> Sequence[Float[Tensor, "k _C"]]:
        """For each feature map, the directions along which it varies with the position alone.

        They are computed once, when the model is loaded: a model that is fine-tuned keeps those of
        the weights that it was loaded with.
        """
        size = self.canvas_size
        black = torch.zeros(1, size, size, 3, dtype=torch.uint8, device=self.device)
        return [positional_basis(f[0], self.config.debias) for f in self._biased_maps(black)]

    def _biased_maps(
        self, canvases: UInt8[Tensor, "B size size 3"]
    ) -> list[Float[Tensor, "B _C _h _w"]]:
        images = canvases.to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, std = (images.new_tensor(x)[:, None, None] for x in (_MEAN, _STD))
        images = (images - mean) / std
        if self.padding == "right-bottom":
            images = images.masked_fill(_margins(canvases.to(self.device))[:, None], 0.0)
        images = images.to(next(self.parameters()).dtype)
        if not self.config.crop_padding:
            return self._maps(images)
        parts = [
            self._maps_without_padding(canvas, image[None])
            for canvas, image in zip(canvases, images, strict=True)
        ]
        return [torch.cat(maps) for maps in zip(*parts, strict=True)]

    def _maps_without_padding(self, canvas: Tensor, image: Tensor) -> list[Tensor]:
        """Feature maps of one image without the black padding around it; they are zero there."""
        patch = int(self.model.config.patch_size)
        light = canvas.amax(2).unfold(0, patch, patch).unfold(1, patch, patch).amax((2, 3)) > 0
        rows, columns = (light.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
        if not rows:
            return self._maps(image)
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        inner = image[..., top * patch : bottom * patch, left * patch : right * patch]
        maps = []
        for features in self._maps(inner):
            whole = features.new_zeros(1, features.shape[1], *self.grid.shape)
            whole[..., top:bottom, left:right] = features
            maps.append(whole)
        return maps

    def _maps(self, images: Float[Tensor, "B 3 h w"]) -> list[Float[Tensor, "B _C _h _w"]]:
        outputs: dict[int, Tensor] = {}
        blocks = self.blocks
        handles = []
        for layer in set(self.layers):
            hooked = _keys_of(blocks[layer]) if self.config.facet == "keys" else blocks[layer]

            def store(_: nn.Module, __: Any, output: Any, layer: int = layer) -> None:
                outputs[layer] = output[0] if isinstance(output, tuple) else output

            handles.append(hooked.register_forward_hook(store))
        try:
            last = self.model(pixel_values=images).last_hidden_state
        finally:
            for handle in handles:
                handle.remove()
        maps = []
        for layer, grid in zip(self.layers, self.grids, strict=True):
            output = outputs[layer]
            if layer == len(blocks) - 1 and self.config.facet == "tokens":
                output = last
            if output.ndim == 3:
                height = images.shape[2] // round(grid.stride)
                width = images.shape[3] // round(grid.stride)
                # Before the patches come the class token, and registers where there are any.
                output = output[:, output.shape[1] - height * width :]
                output = output.transpose(1, 2).unflatten(2, (height, width))
            maps.append(output.float())
        return maps

    def _published_positions(self, embeddings: Tensor, height: int, width: int) -> Tensor:
        """Position embeddings resized as the original code does it."""
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


def _margins(canvases: UInt8[Tensor, "B size size 3"]) -> Bool[Tensor, "B size size"]:
    """The columns and rows that have the mean colour to the right end, or to the bottom."""
    mean = (canvases == canvases.new_tensor(MEAN_COLOUR)).all(3)
    columns, rows = (mean.all(axis).flip(1).cummin(1).values.flip(1) for axis in (1, 2))
    return columns[:, None, :] | rows[:, :, None]


def _keys_of(block: nn.Module) -> nn.Module:
    """The layer of a transformer block that computes its attention keys."""
    for name, module in block.named_modules():
        if name.split(".")[-1] in ("k_proj", "key"):
            return module
    raise HomologError(
        "facet: expected attention keys where transformers keeps them, got a block without any; "
        "try another version of transformers"
    )


def positional_basis(features_CHW: Float[Tensor, "C H W"], count: int) -> Float[Tensor, "k C"]:
    """The directions along which the features of an image without content vary most.

    As in INSID3 (Cuttano et al., CVPR 2026, arXiv 2603.28480): the first right singular vectors of
    the features, of unit length, less their mean over all positions.

    Args:
        features_CHW: a black canvas's.
        count: of the directions, k.
    """
    # In double precision, for the variation between positions is small; some devices have none.
    features = F.normalize(features_CHW.flatten(1).T.cpu().double(), dim=1)
    centred = features - features.mean(0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh
    return directions[:count].to(features_CHW)


def remove_directions(
    features_BCHW: Float[Tensor, "B C H W"], basis_KC: Float[Tensor, "K C"]
) -> Float[Tensor, "B C H W"]:
    """Features without their components along some directions, of unit length.

    Args:
        features_BCHW: the features.
        basis_KC: the directions, orthonormal.
    """
    with torch.autocast(features_BCHW.device.type, enabled=False):
        basis = basis_KC.to(features_BCHW)
        components = torch.einsum("kc,bchw->bkhw", basis, features_BCHW)
        rest = features_BCHW - torch.einsum("kc,bkhw->bchw", basis, components)
        return F.normalize(rest, dim=1)


def load(config: DinoConfig, device: torch.device) -> DinoBackbone:
    """Load a DINO model onto a device.

    Raises:
        HomologError: `transformers` or the model is missing, or the configuration does not fit it.
    """
    transformers = require("transformers", "dino")
    dtype = dtype_of(config.precision, device, torch.bfloat16)
    model = from_pretrained(transformers.AutoModel, config.model, use_safetensors=True, dtype=dtype)
    backbone = DinoBackbone(model, config).eval().requires_grad_(False).to(device)
    if config.debias:
        _ = backbone.positional_bases
    return backbone
