"""For small training sets: a network whose cells look at the whole picture and the thing's axis."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from homolog.errors import HomologError
from homolog.networks.attention import (
    HEADS,
    TransformerBlock,
    principal_components,
    sincos_encoding,
)

_WAVES = (0.5, 1.0, 2.0, 4.0)  # of the position in the frame, in half turns a length of the axis
_LANDMARK_NOISE = 0.5  # cells


class AttentionHead(nn.Module, PyTorchModelHubMixin, library_name="homolog"):
    """Descriptors from zero-shot descriptors, each cell seen within the whole picture.

    Principal components of the descriptors go through self-attention at half the resolution, so
    that a cell knows where on the thing it is. With `landmarks` the thing also gets a *frame*: the
    keypoints that are their own mirror image lie on its axis; they are found, a line is fitted
    through them, and every cell learns its place along and across that line. Left and right of a
    thing seen from above are a sign in this frame, and hardly anything in its looks
    (docs/experiments.md). A frame can be wrong, so half of the time it is trained without one. Not
    from the paper.

    Args:
        feature_dim: channels of the descriptors given.
        projection_dim: channels of the descriptors returned.
        components: principal components kept of what is given.
        width: channels within.
        layers: of self-attention.
        landmarks: where each keypoint of the axis usually lies along it; empty for no frame.

    Raises:
        HomologError: sizes that do not go together.
    """

    basis: Tensor
    positions: Tensor

    def __init__(
        self,
        feature_dim: int,
        projection_dim: int = 256,
        components: int = 256,
        width: int = 128,
        layers: int = 2,
        landmarks: Sequence[float] = (),
    ):
        super().__init__()
        if components > feature_dim:
            raise HomologError(f"components: got {components} of {feature_dim} channels")
        if width % (4 * HEADS):
            raise HomologError(f"width: got {width}, takes a multiple of {4 * HEADS}")
        self.feature_dim = feature_dim
        self.projection_dim = projection_dim
        self.register_buffer("basis", torch.eye(feature_dim, components))
        self.enter, self.enter_norm = nn.Linear(components, width), nn.LayerNorm(width)
        self.down = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(TransformerBlock(width) for _ in range(layers))
        self.up, self.leave_norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.leave = nn.Linear(width, projection_dim)
        self.shortcut = nn.Linear(components, projection_dim, bias=False)
        nn.init.normal_(self.shortcut.weight, std=0.5 / math.sqrt(components))
        self.register_buffer("positions", torch.tensor(list(landmarks), dtype=torch.float32))
        if len(self.positions):
            self.find = nn.Linear(width, len(self.positions))
            inputs = width + 3 + 4 * len(_WAVES)
            self.place = nn.Sequential(
                nn.Linear(inputs, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
            )

    def fit(self, features_NC: Float[Tensor, "N C"]) -> None:
        """Take the principal components of some descriptors, scaled halfway to unit variance."""
        self.basis.copy_(principal_components(features_NC, self.basis.shape[1]))

    def reduce(self, features_BHWC: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W K"]:
        """The components of descriptors: all that the rest of the network sees of them."""
        return features_BHWC @ self.basis

    def forward(self, features_BCHW: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        """Descriptors, not normalised.

        Args:
            features_BCHW: zero-shot descriptors.
        """
        reduced = self.reduce(features_BCHW.permute(0, 2, 3, 1))
        descriptors, _ = self.describe(reduced)
        return descriptors.permute(0, 3, 1, 2)

    def describe(
        self,
        reduced_BHWK: Float[Tensor, "B H W K"],
        landmarks_BA2: Float[Tensor, "B A 2"] | None = None,
    ) -> tuple[Float[Tensor, "B H W D"], Float[Tensor, "B A H W"] | None]:
        """Descriptors, not normalised, and logarithms of where the landmarks are.

        Args:
            reduced_BHWK: what `reduce` returns.
            landmarks_BA2: where the landmarks truly are, (x, y) in cells, NaN where not visible;
                while training, every other picture's frame is made from these.
        """
        shape = reduced_BHWK.shape[1:3]
        inside = self.enter_norm(self.enter(reduced_BHWK))
        tokens = self.down(F.relu(inside).permute(0, 3, 1, 2))
        small = tokens.shape[2:]
        tokens = tokens.flatten(2).transpose(1, 2)
        where = sincos_encoding(*small, tokens.shape[2], tokens.device)
        for layer in self.layers:
            tokens = layer(tokens, where)
        seen = self.up(tokens).transpose(1, 2).unflatten(2, small)
        seen = F.interpolate(seen, size=shape, mode="bilinear", align_corners=True)
        inside = inside + seen.permute(0, 2, 3, 1)
        logits = None
        if len(self.positions):
            # Softmax over thousands of cells needs single precision.
            logits = self.find(F.relu(inside)).float().permute(0, 3, 1, 2)
            frame = self._frame(logits, landmarks_BA2).to(inside.dtype)
            frame = torch.cat([frame, torch.ones_like(frame[..., :1])], dim=-1)
            if self.training:
                frame = frame * (torch.rand((), device=frame.device) < 0.5)
            inside = inside + self.place(torch.cat([inside, frame], dim=-1))
        descriptors = self.leave(F.relu(self.leave_norm(inside))) + self.shortcut(reduced_BHWK)
        return descriptors.float(), logits

    def _frame(
        self, logits_BAHW: Float[Tensor, "B A H W"], truth_BA2: Tensor | None
    ) -> Float[Tensor, "B H W F"]:
        """Every cell's place along and across the axis, in lengths of it, and waves of these."""
        count, _, height, width = logits_BAHW.shape
        cells_N2 = _cells(height, width, logits_BAHW.device).to(logits_BAHW)
        found = logits_BAHW.flatten(2).softmax(2)
        sincos_encoding = found @ cells_N2
        spread = (found * (cells_N2 - sincos_encoding[:, :, None]).square().sum(3)).sum(2)
        if truth_BA2 is not None:
            told = (torch.rand(count, device=found.device) < 0.5) & truth_BA2.isfinite().all((1, 2))
            noisy = truth_BA2.nan_to_num() + _LANDMARK_NOISE * torch.randn_like(truth_BA2)
            sincos_encoding = torch.where(told[:, None, None], noisy, sincos_encoding)
            spread = torch.where(told[:, None], torch.zeros_like(spread), spread)
        # A line through the landmarks by weighted least squares: those that are anywhere count
        # little, so that one that is missed does not turn the frame.
        weights = 1 / (spread + 1)
        weights = (weights / weights.sum(1, keepdim=True))[..., None]
        along = self.positions[None, :, None]
        centre, middle = (weights * sincos_encoding).sum(1), (weights * along).sum(1)
        offset = along - middle[:, None]
        variance = (weights * offset.square()).sum(1)
        axis = (weights * offset * (sincos_encoding - centre[:, None])).sum(1) / variance
        origin = (centre - middle * axis)[:, None]
        length = axis.square().sum(1).clamp_min(4.0)[:, None]
        away = cells_N2 - origin
        ahead = (away * axis[:, None]).sum(2) / length
        aside = (away[..., 0] * axis[:, None, 1] - away[..., 1] * axis[:, None, 0]) / length
        place = torch.stack([ahead, aside], dim=2).clamp(-3, 3)
        waves = place[..., None] * place.new_tensor(_WAVES) * math.pi
        waves = waves.flatten(2)
        return torch.cat([place, waves.sin(), waves.cos()], dim=2).unflatten(1, (height, width))


@functools.lru_cache(maxsize=8)
def _cells(height: int, width: int, device: torch.device) -> Float[Tensor, "N 2"]:
    rows, columns = torch.arange(float(height)), torch.arange(float(width))
    x, y = torch.meshgrid(columns, rows, indexing="xy")
    return torch.stack([x, y], dim=2).flatten(0, 1).to(device)
