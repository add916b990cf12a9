"""Drawings of results as RGB images: pairs of images, charts, frames of a video."""

from homolog.viz.charts import plot_curves
from homolog.viz.pairs import plot_errors, plot_flow, plot_heatmap, plot_matches, plot_sides
from homolog.viz.raster import save_image, warp_image
from homolog.viz.video import draw_tracks

__all__ = [
    "draw_tracks",
    "plot_curves",
    "plot_errors",
    "plot_flow",
    "plot_heatmap",
    "plot_matches",
    "plot_sides",
    "save_image",
    "warp_image",
]
