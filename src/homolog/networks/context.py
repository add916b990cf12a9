"""A post-processor for small training sets, with attention and a frame of body coordinates."""

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
from homolog.networks.bundled import NETWORK, read_bundled
from homolog.utils.tensor_files import load_state

_WAVES = (0.5, 1.0, 2.0, 4.0)  # frequencies of the frame's encoding, in half turns per axis length
_LANDMARK_NOISE = 0.5  # standard deviation in cells
_MAX_COORDINATE = 3  # in axis lengths; further away coordinates are clamped


class AttentionHead(nn.Module, PyTorchModelHubMixin, library_name="homolog"):
    """A post-processor with self-attention: each cell's descriptor depends on the whole image.

    Principal components of zero-shot descriptors go through self-attention at half the resolution,
    so that a cell's descriptor can depend on where on the object it is. With `landmarks` there is
    a coordinate frame on the object, too: keypoints that are their own mirror counterparts lie on
    the object's axis; the network localises them, a line is fitted through them, and every cell
    is given its coordinates along and across that line. In an object seen from above, left and
    right differ in the sign of a coordinate and hardly in appearance (docs/experiments.md). Since
    a frame can be wrong, it is dropped in half of the training steps. Not from the paper.

    Args:
        feature_dim: channels of the zero-shot descriptors.
        projection_dim: channels of the descriptors that are returned.
        components: number of principal components.
        width: channels of the hidden layers.
        layers: number of transformer blocks.
        landmarks: the usual coordinate along the axis of each keypoint on it; empty for no frame.

    Raises:
        HomologError: more components than channels, or a width that does not fit the attention.
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
        for name, size in (("feature_dim", feature_dim), ("projection_dim", projection_dim)):
            if size < 1:
                raise HomologError(f"{name}: expected at least 1, got {size}")
        if not 0 < components <= feature_dim:
            raise HomologError(
                f"components: expected at most {feature_dim}, and at least 1, got {components}"
            )
        if width < 1 or width % (4 * HEADS):
            raise HomologError(f"width: expected a multiple of {4 * HEADS}, got {width}")
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
        """Set the basis to the scaled principal components of descriptors."""
        self.basis.copy_(principal_components(features_NC, self.basis.shape[1]))

    def reduce(self, features_BHWC: Float[Tensor, "B H W C"]) -> Float[Tensor, "B H W K"]:
        """Project descriptors onto the principal components, the input of `describe`."""
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
        """Descriptors, not normalised, and logits of the landmarks' positions.

        Args:
            reduced_BHWK: the output of `reduce`.
            landmarks_BA2: true positions of the landmarks, (x, y) in cells, NaN where not visible.
                While training, the frames of half of the images are computed from these.

        Returns:
            The descriptors, and for each landmark a logit for each cell; None without landmarks.
        """
        shape = reduced_BHWK.shape[1:3]
        hidden = self.enter_norm(self.enter(reduced_BHWK))
        tokens = self.down(F.relu(hidden).permute(0, 3, 1, 2))
        small = tokens.shape[2:]
        tokens = tokens.flatten(2).transpose(1, 2)
        encoding = sincos_encoding(*small, tokens.shape[2], tokens.device)
        for layer in self.layers:
            tokens = layer(tokens, encoding)
        context = self.up(tokens).transpose(1, 2).unflatten(2, small)
        context = F.interpolate(context, size=shape, mode="bilinear", align_corners=True)
        hidden = hidden + context.permute(0, 2, 3, 1)
        logits = None
        if len(self.positions):
            # A softmax over thousands of cells needs float32.
            logits = self.find(F.relu(hidden)).float().permute(0, 3, 1, 2)
            frame = self.frame_encoding(logits, landmarks_BA2).to(hidden.dtype)
            frame = torch.cat([frame, torch.ones_like(frame[..., :1])], dim=-1)
            if self.training:
                frame = frame * (torch.rand((), device=frame.device) < 0.5)
            hidden = hidden + self.place(torch.cat([hidden, frame], dim=-1))
        descriptors = self.leave(F.relu(self.leave_norm(hidden))) + self.shortcut(reduced_BHWK)
        return descriptors.float(), logits

    def frame_encoding(
        self, logits_BAHW: Float[Tensor, "B A H W"], truth_BA2: Tensor | None
    ) -> Float[Tensor, "B H W F"]:
        """Every cell's coordinates along and across the axis, in axis lengths, and their encoding.

        Args:
            logits_BAHW: of the landmarks' positions.
            truth_BA2: their true positions in cells, used instead for half of the images.
        """
        count, _, height, width = logits_BAHW.shape
        cells_N2 = _cells(height, width, logits_BAHW.device).to(logits_BAHW)
        probabilities = logits_BAHW.flatten(2).softmax(2)
        landmarks = probabilities @ cells_N2
        squared = (cells_N2 - landmarks[:, :, None]).square().sum(3)
        variance = (probabilities * squared).sum(2)
        if truth_BA2 is not None:
            known = truth_BA2.isfinite().all((1, 2))
            use_truth = (torch.rand(count, device=landmarks.device) < 0.5) & known
            noisy = truth_BA2.nan_to_num() + _LANDMARK_NOISE * torch.randn_like(truth_BA2)
            landmarks = torch.where(use_truth[:, None, None], noisy, landmarks)
            variance = torch.where(use_truth[:, None], torch.zeros_like(variance), variance)
        # The axis is fitted to the landmarks by weighted least squares: a landmark whose
        # probability is spread over many cells has a small weight, so that it does not turn it.
        weights = 1 / (variance + 1)
        weights = (weights / weights.sum(1, keepdim=True))[..., None]
        usual = self.positions[None, :, None]
        centre, middle = (weights * landmarks).sum(1), (weights * usual).sum(1)
        offset = usual - middle[:, None]
        spread = (weights * offset.square()).sum(1)
        axis = (weights * offset * (landmarks - centre[:, None])).sum(1) / spread
        origin = (centre - middle * axis)[:, None]
        length = axis.square().sum(1).clamp_min(4.0)[:, None]
        away = cells_N2 - origin
        along = (away * axis[:, None]).sum(2) / length
        across = (away[..., 0] * axis[:, None, 1] - away[..., 1] * axis[:, None, 0]) / length
        coordinates = torch.stack([along, across], dim=2).clamp(-_MAX_COORDINATE, _MAX_COORDINATE)
        waves = coordinates[..., None] * coordinates.new_tensor(_WAVES) * math.pi
        waves = waves.flatten(2)
        encoding = torch.cat([coordinates, waves.sin(), waves.cos()], dim=2)
        return encoding.unflatten(1, (height, width))


def load_bundled(preset: str = "embedded") -> AttentionHead:
    """The post-processor that comes with the package for a preset, ready for use.

    Its architecture is that of its weights. docs/explanation/default-model.md describes its
    training data.

    Raises:
        HomologError: the weights are missing or damaged.
    """
    state = read_bundled(preset, NETWORK)
    name = f"the post-processor of {preset}"
    try:
        feature_dim, components = state["basis"].shape
        projection_dim, width = state["leave.weight"].shape
        landmarks = state["positions"].tolist()
    except KeyError as error:
        raise HomologError(
            f"checkpoint: expected the weights of an attention head in {name}, got none called "
            f"{error}"
        ) from None
    layers = len({key.split(".")[1] for key in state if key.startswith("layers.")})
    network = AttentionHead(feature_dim, projection_dim, components, width, layers, landmarks)
    load_state(network, state, name)
    return network.eval().requires_grad_(False)


@functools.lru_cache(maxsize=8)
def _cells(height: int, width: int, device: torch.device) -> Float[Tensor, "N 2"]:
    """(x, y) of all cells of a grid, row by row."""
    rows, columns = (torch.arange(n, dtype=torch.float32) for n in (height, width))
    x, y = torch.meshgrid(columns, rows, indexing="xy")
    return torch.stack([x, y], dim=2).flatten(0, 1).to(device)
