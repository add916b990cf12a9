"""Training sets rendered from 3-D models on which left and right are known everywhere.

Needs the extra `synth`: `pip install 'homolog[synth]'`.
"""

from homolog.synth.dataset import Report, render_set
from homolog.synth.loading import load_models
from homolog.synth.model import Model

__all__ = ["Model", "Report", "load_models", "render_set"]
