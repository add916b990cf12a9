"""Training pictures rendered from 3D models whose every vertex knows its side.

Needs the extra `synth`: `pip install 'homolog[synth]'`.
"""

from homolog.synth.dataset import Report, render_set
from homolog.synth.gltf import Model, load_models

__all__ = ["Model", "Report", "load_models", "render_set"]
