"""Trained models on a model hub: a model folder is pushed with a model card."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import torch
from huggingface_hub import CommitOperationAdd, HfApi
from torch import nn

from homolog import checkpoints, model_cards
from homolog.backbones import Backbone, adapters
from homolog.backbones.licences import notice
from homolog.backbones.registry import licences_of
from homolog.config import MatcherConfig
from homolog.errors import HomologError
from homolog.networks.sides import SideHead
from homolog.utils.temporary import temporary_folder

_CARD = "README.md"


def push_to_hub(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    results: str | os.PathLike[str] | None = None,
) -> str:
    """Push a model folder, such as that of a run, to a model hub, with a model card.

    What a run resumes from, its logs and its report are not pushed. The card has the protocol and
    the figures of the run's report; a `README.md` of yours in the folder or on the hub takes its
    place. `Matcher.from_pretrained` takes the name afterwards.

    Args:
        folder: the model folder.
        repo_id: `owner/name`; made on the hub if it is not there.
        private: whether a repository that is made is private; None for the owner's default.
        results: the folder that `homolog evaluate --out` wrote, or its `results.json`, for the
            card; None for the report of the run.

    Returns:
        The address of the commit.

    Raises:
        HomologError: the folder holds no model, the name or the results cannot be used, or the hub
            refuses or cannot be reached.
    """
    folder = Path(folder)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id):
        raise HomologError(f"repo_id: expected owner/name, got {repo_id!r}")
    if not folder.is_dir():
        raise HomologError(f"folder: expected a model folder, got {folder}")
    config, network = checkpoints.load(str(folder), torch.device("cpu"))
    report = Path(results) if results is not None else folder / model_cards.RESULTS
    known = None
    if results is not None or report.is_file():
        known = model_cards.read_results(report)
    names = (*checkpoints.FILES, _CARD)
    files: dict[str, Path | bytes] = {n: folder / n for n in names if (folder / n).is_file()}
    if _CARD not in files:
        files[_CARD] = model_cards.model_card(repo_id, config, network, known).encode()
    if checkpoints.BACKBONE in files and checkpoints.LICENCE not in files:
        # Folders of earlier versions lack it.
        text = notice(licences_of(config.backbone), checkpoints.BACKBONE)
        files[checkpoints.LICENCE] = text.encode()
    return _commit(repo_id, files, private)


def push_matcher(
    config: MatcherConfig,
    backbone: Backbone,
    network: nn.Module | None,
    side_head: SideHead | None,
    name: str,
    repo_id: str,
    *,
    private: bool | None,
    results: str | os.PathLike[str] | None,
) -> str:
    """Push the parts of a matcher likewise.

    Args:
        config: of the matcher.
        backbone: its backbone, of which fine-tuned weights are pushed.
        network: its post-processor, if it has one.
        side_head: its side head, if it has one.
        name: of the model: if it is the folder of a run, and the matcher is still the same, the
            figures are those of its report.
        repo_id: as for `push_to_hub`.
        private: likewise.
        results: likewise.

    Raises:
        HomologError: nothing of it was trained, or as for `push_to_hub`.
    """
    if network is None and side_head is None:
        raise HomologError(
            f"model: expected a trained network to push, got {name}, which has none; its name or "
            "configuration says everything"
        )
    assert network is None or isinstance(network, checkpoints.Network)
    settings, state = config.post_processor, None
    if settings is not None and settings.tuning is not None:
        state = adapters.applied_state(backbone, settings.tuning)
    if results is None and _is_unchanged(name, config, network):
        results = Path(name) / model_cards.RESULTS
    with temporary_folder() as folder:
        checkpoints.save(folder, network, config, state, side_head)
        return push_to_hub(folder, repo_id, private=private, results=results)


def _is_unchanged(name: str, config: MatcherConfig, network: nn.Module | None) -> bool:
    """Whether a folder holds this very model, and a report on it."""
    if not (Path(name) / model_cards.RESULTS).is_file():
        return False
    try:
        found, saved = checkpoints.load(name, torch.device("cpu"))
    except HomologError:
        return False
    if found != config or (saved is None) != (network is None):
        return False
    if saved is None or network is None:
        return True
    own, theirs = network.state_dict(), saved.state_dict()
    return own.keys() == theirs.keys() and all(
        tensor.cpu().equal(theirs[key]) for key, tensor in own.items()
    )


def _commit(repo_id: str, files: dict[str, Path | bytes], private: bool | None) -> str:
    """Add files, given as paths or bytes by name, to a repository on the hub, in one commit."""
    api = HfApi()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if isinstance(files[_CARD], bytes) and api.file_exists(repo_id, _CARD):
            path = api.hf_hub_download(repo_id, _CARD)
            if not model_cards.is_generated(Path(path).read_text("utf-8")):
                warnings.warn(f"{repo_id} keeps the model card that somebody wrote", stacklevel=3)
                del files[_CARD]
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        found = api.create_commit(repo_id, operations, commit_message="Model of homolog")
    except Exception as error:  # the libraries raise many kinds for the same few reasons
        reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
        raise HomologError(
            f"repo_id: cannot write {repo_id} on the hub: {reason}; try: hf auth login"
        ) from None
    return str(found.commit_url)
