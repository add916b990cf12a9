"""A model hub that is not there: what would be pushed to it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml


class Hub:
    """Stands in for `huggingface_hub.HfApi`; remembers what is committed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.created: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.created = {"repo_id": repo_id, **options}

    def file_exists(self, repo_id: str, name: str) -> bool:
        return name in self.files

    def hf_hub_download(self, repo_id: str, name: str) -> str:
        path = self.folder / name
        path.write_bytes(self.files[name])
        return str(path)

    def create_commit(self, repo_id: str, operations: Any, **options: Any) -> Any:
        for each in operations:
            content = each.path_or_fileobj
            data = content if isinstance(content, bytes) else Path(content).read_bytes()
            self.files[each.path_in_repo] = data
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    @property
    def card(self) -> str:
        return self.files["README.md"].decode()

    @property
    def metadata(self) -> dict[str, Any]:
        return yaml.safe_load(self.card.split("---\n")[1])
