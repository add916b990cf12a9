"""How fast images are rendered, and how Embree compares with a z-buffer in NumPy.

python benchmarks/synth.py FOLDER_OF_MODELS [--count 100]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from homolog.synth import load_models, render_set
from homolog.synth.canonical import build_rigs
from homolog.synth.render import Renderer
from homolog.synth.scene import random_scene

SIZE = 480


def rasterise(renderer: Renderer) -> np.ndarray:
    """The triangle that is visible in each pixel, by a z-buffer in NumPy."""
    camera, size = renderer.scene.camera, renderer.size
    points, depth = camera.project(renderer.mesh.vertices.astype(float))
    buffer, found = np.full((size, size), np.inf), np.full((size, size), -1)
    for k, corners in enumerate(renderer.mesh.triangles):
        p, z = points[corners], depth[corners]
        if not np.isfinite(z).all():
            continue
        x0, y0 = np.maximum(np.floor(p.min(0) - 0.5), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(p.max(0) + 0.5), size).astype(int)
        (ax, ay), (bx, by), (cx, cy) = p
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if x0 >= x1 or y0 >= y1 or abs(area) < 1e-12:
            continue
        x, y = np.arange(x0, x1)[None] + 0.5, np.arange(y0, y1)[:, None] + 0.5
        u = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
        v = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
        with np.errstate(divide="ignore"):
            away = 1 / ((1 - u - v) / z[0] + u / z[1] + v / z[2])
        part = buffer[y0:y1, x0:x1]
        nearer = (u >= 0) & (v >= 0) & (u + v <= 1) & (away < part)
        part[nearer] = away[nearer]
        found[y0:y1, x0:x1][nearer] = k
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    print(f"| {arguments.count} images of {SIZE} px, all files written | images/s | start |")
    print("|---|---|---|")
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            begun = time.perf_counter()
            render_set(arguments.models, Path(folder) / "a", count=2, size=SIZE, workers=workers)
            start = time.perf_counter() - begun
            begun = time.perf_counter()
            render_set(
                arguments.models,
                Path(folder) / "b",
                count=arguments.count,
                size=SIZE,
                workers=workers,
            )
            whole = time.perf_counter() - begun
        speed = (arguments.count - 2) / (whole - start)
        print(
            f"| {workers} process{'es' * (workers > 1)} | {speed:.1f} | {start:.1f} s |", flush=True
        )

    rigs, _, _ = build_rigs(load_models(arguments.models)[0])
    times = {"Embree": [], "z-buffer in NumPy": []}
    same = []
    y, x = np.divmod(np.arange(SIZE * SIZE), SIZE)
    for index in range(10):
        rng = np.random.default_rng([0, index])
        scene = random_scene(rigs, rng, SIZE)
        begun = time.perf_counter()
        renderer = Renderer(scene, SIZE, rng)
        rays = scene.camera.rays(np.stack([x, y], 1) + 0.5).astype(np.float32)
        origins = np.broadcast_to(scene.camera.position.astype(np.float32), rays.shape)
        hits = renderer.tracer.first_hits(origins, rays).triangle
        times["Embree"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        other = rasterise(renderer).ravel()
        times["z-buffer in NumPy"].append(time.perf_counter() - begun)
        same.append((hits == other).mean())
    print()
    print("| the visible triangle in each pixel, 10 scenes | ms per image |")
    print("|---|---|")
    for name, spent in times.items():
        print(f"| {name} | {1000 * np.median(spent):.0f} |")
    print(f"\nThe same triangle in {100 * np.mean(same):.2f} % of the pixels.")


if __name__ == "__main__":
    main()
