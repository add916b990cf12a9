"""Time to annotate an image besides the backbone, for several numbers of exemplars.

python benchmarks/annotate_speed.py [--threads 2]
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import real_images
import torch
from rich.console import Console
from rich.table import Table

from homolog import Matcher
from homolog.labelling.exemplars import Exemplars


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    matcher = Matcher.from_pretrained("embedded")
    train_set, test = real_images.bees("train"), real_images.bees("test").annotations[:12]
    table = Table("exemplars", "backbone, ms", "prediction, ms", "as a share of it, %")
    for count in (1, 5, 10, 20):
        step = len(train_set.annotations) // count
        exemplars = Exemplars(matcher, train_set.annotations[::step][:count], train_set.schemas)
        rows = []
        for annotation in test:
            features = matcher.load_image(annotation.path)
            begin = time.perf_counter()
            matcher.extract(features)
            middle = time.perf_counter()
            exemplars.find(features)
            rows.append((middle - begin, time.perf_counter() - middle))
        backbone, prediction = (1000 * median(part) for part in zip(*rows[2:], strict=True))
        cells = (f"{backbone:.0f}", f"{prediction:.1f}", f"{100 * prediction / backbone:.0f}")
        table.add_row(str(count), *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
