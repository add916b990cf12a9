"""Model cards: what a model hub's page says of a trained model, with protocol and figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import ModelCardData
from torch import nn

from homolog.backbones import BackboneConfig, FusedConfig
from homolog.backbones.licences import APACHE_2, Licence
from homolog.backbones.registry import licences_of
from homolog.config import MatcherConfig, PostProcessorConfig
from homolog.errors import HomologError
from homolog.networks.post_processor import PostProcessor
from homolog.networks.upsampler import Upsampler

RESULTS = "report/results.json"  # of a run, within its folder
_MARK = "<!-- homolog {} -->\n"


def model_card(
    repo_id: str,
    config: MatcherConfig,
    network: nn.Module | None,
    results: Mapping[str, Any] | None = None,
) -> str:
    """The model card of a trained matcher, in Markdown with metadata.

    Images and folders on this machine are not named in it.

    Args:
        repo_id: `owner/name` on the hub.
        config: of the matcher.
        network: its post-processor, if it has one.
        results: a report as `homolog evaluate` or `homolog adapt` writes it; None if nothing is
            known of the accuracy.
    """
    licences = licences_of(config.backbone)
    parts = [
        f"# {repo_id.split('/')[-1]}",
        "Semantic correspondence: given a point on an object in one image, this model finds the "
        "same part on another object of its kind in another image. It is a model of homolog.",
        f'```python\nimport homolog\n\nmatcher = homolog.Matcher.from_pretrained("{repo_id}")\n'
        'matches = matcher.transfer("a.jpg", "b.jpg", [[120, 80]])\n```',
        *_weights_note(config.backbone),
        "## Model",
        "\n".join(f"- {line}" for line in _describe(config, network)),
        "## Figures",
        *_figures(results),
        "## Licences",
        _licences_section(config.post_processor, licences),
    ]
    text = f"---\n{_metadata(config, licences)}\n---\n\n" + "\n\n".join(parts) + "\n\n"
    return text + _MARK.format(_digest(text))


def is_generated(card: str) -> bool:
    """Whether a card is one that `model_card` made, and nobody has changed it since."""
    text, _, mark = card.replace("\r\n", "\n").rpartition("<!-- homolog ")
    return bool(text) and _MARK.format(_digest(text)).strip() == f"<!-- homolog {mark}".strip()


def read_results(path: Path) -> dict[str, Any]:
    """A report's figures, for a card.

    Args:
        path: `results.json`, or the folder that holds it.

    Raises:
        HomologError: there is none, or it is damaged.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise HomologError(f"results: cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise HomologError(f"results: expected a report in JSON, got {file}: {error}") from None
    if not isinstance(found, dict):
        raise HomologError(f"results: expected a report in JSON, got {file} with other content")
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _metadata(config: MatcherConfig, licences: Sequence[Licence]) -> str:
    """The card's metadata, in YAML."""
    licence: dict[str, Any] = {}
    # Of several, those that ask for more than to be passed on.
    strict = [each for each in licences if each is not APACHE_2] or list(licences)
    if len(strict) == 1 and strict[0].listed:
        licence = {"license": strict[0].identifier}
    elif strict:
        names = "-and-".join(each.identifier for each in strict)
        licence = {"license": "other", "license_name": names, "license_link": strict[0].url}
    models = [name for name in _models(config.backbone) if not Path(name).is_dir()]
    data = ModelCardData(
        **licence,
        library_name="homolog",
        tags=["semantic-correspondence", "keypoint-matching"],
        base_model=models or None,
    )
    return str(data.to_yaml())


def _models(backbone: str | BackboneConfig) -> list[str]:
    """The names of the foundation models that a backbone is made of."""
    if isinstance(backbone, FusedConfig):
        return [name for part in backbone.parts for name in _models(part)]
    name = getattr(backbone, "model", None)
    return [name] if isinstance(name, str) else []


def _weights_note(backbone: str | BackboneConfig) -> list[str]:
    """What to add to the example where the backbone was loaded from a folder."""
    if not any(Path(name).is_dir() for name in _models(backbone)):
        return []
    return ["It was made with a backbone from a folder: name yours by `weights=`."]


def _describe(config: MatcherConfig, network: nn.Module | None) -> list[str]:
    """What the model consists of, a line for each part."""
    models = [
        PurePath(name).name if Path(name).is_dir() else name for name in _models(config.backbone)
    ]
    settings = config.post_processor
    tuning = None if settings is None else settings.tuning
    how = "frozen"
    if tuning is not None:
        if isinstance(tuning.blocks, int):
            blocks = "its last block" if tuning.blocks == 1 else f"its last {tuning.blocks} blocks"
        else:
            blocks = f"its blocks {', '.join(map(str, tuning.blocks))}"
        how = f"{blocks} fine-tuned"
        if tuning.rank is not None:
            how = f"with adapters of rank {tuning.rank} (LoRA) in {blocks}"
        if tuning.bottleneck is not None:
            how = f"with adapters of {tuning.bottleneck} channels (AdaptFormer) in {blocks}"
    backbone = config.backbone if isinstance(config.backbone, str) else " + ".join(models)
    lines = [f"Backbone: {backbone}, {how}."]
    if network is not None and settings is not None:
        kind = "an attention head"
        if isinstance(network, PostProcessor):
            kind = "a residual post-processor" if network.residual else "a post-processor"
        elif isinstance(network, Upsampler):
            kind = "upsamplers"
        source = "annotated keypoints"
        if settings.trained_on == "pseudo-labels":
            source = "its own consistent matches, without labels"
        count = sum(parameter.numel() for parameter in network.parameters())
        lines.append(f"Head: {kind} of {count:,} parameters, trained on {source}.")
    if config.sides is not None:
        lines.append("A side head that tells an animal's left side from its right.")
    return lines


def _figures(results: Mapping[str, Any] | None) -> list[str]:
    """The protocol and the figures of a report."""
    if results is None:
        return ["None are known for these weights."]
    consistency = results.get("consistency")
    if isinstance(consistency, Mapping):
        return [
            "Adapted to images without labels. Of the points of "
            f"{results['images']['held_aside']} images that it was not trained on, "
            f"{100 * consistency['after']:.1f} % are led to another image's object and back to "
            f"themselves; {100 * consistency['before']:.1f} % were before. This says how "
            "consistent matches are, not how accurate."
        ]
    rows = {
        kind: row
        for kind, row in results.items()
        if isinstance(row, Mapping) and "intervals" in row
    }
    names = list(dict.fromkeys(name for row in rows.values() for name in row["intervals"]))
    lines = [["%, 95 % interval", *names, "of"], ["---", *["---:"] * (len(names) + 1)]]
    for kind, row in rows.items():
        cells = [""] * len(names)
        for number, name in enumerate(names):
            if name in row["intervals"]:
                low, high = row["intervals"][name]
                cells[number] = f"{100 * row[name]:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        lines.append([kind.replace("_", " "), *cells, f"{row['count']:,}"])
    data, poses = PurePath(str(results.get("data", ""))).name, results.get("poses", "none")
    shown = [f"poses {poses}"] + [
        f"{name} {results[name]}" for name in ("boxes", "zoom") if results.get(name)
    ]
    return [
        f"On {data} ({', '.join(shown)}). {results.get('protocol', '')}",
        "\n".join("| " + " | ".join(line) + " |" for line in lines),
    ]


def _licences_section(settings: PostProcessorConfig | None, licences: Sequence[Licence]) -> str:
    tuned = settings is not None and settings.tuning is not None
    if not licences:
        return "The licence of the backbone's weights is not known here; see where they come from."
    lines = [
        f"- The backbone's weights: [{each.name}]({each.url}). {each.terms}" for each in licences
    ]
    what = "This model holds weights that were fine-tuned from them."
    if not tuned:
        what = "This model does not hold them; its own weights were trained on what they compute."
    return "\n".join(lines) + f"\n\n{what}"
