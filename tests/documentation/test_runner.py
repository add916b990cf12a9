"""What runs the documentation finds all code on a page, and fails on what is wrong in it."""

from __future__ import annotations

import pytest

from documentation import blocks, pages, programs
from documentation.pages import Page
from documentation.workspace import Workspace

PAGE = """# A page

Text with `homolog match
A B` and ``a ` b``, and a list:

- an item

    that goes on, and is no code

| `x` | y |

    homolog demo  # indented

<!-- not run: takes a GPU -->
```sh
homolog match a.jpg \\
  b.jpg
# a comment

make test
```

=== "Tab"

    ```python
    matcher = 1
    ```
"""


def test_all_code_of_a_page_is_found(tmp_path):
    (tmp_path / "page.md").write_text(PAGE)
    found = [(c.line, c.language, c.text, c.exempt) for c in blocks.read(tmp_path / "page.md")]
    assert found == [
        (3, "inline", "homolog match A B", None),
        (4, "inline", "a ` b", None),
        (10, "inline", "x", None),
        (12, "sh", "homolog demo  # indented", None),
        (16, "sh", "homolog match a.jpg \\\n  b.jpg\n# a comment\n\nmake test", "takes a GPU"),
        (26, "python", "matcher = 1", None),
    ]


def test_a_block_without_end_is_an_error(tmp_path):
    (tmp_path / "page.md").write_text("```sh\nhomolog demo\n")
    with pytest.raises(ValueError, match="line 1"):
        blocks.read(tmp_path / "page.md")


def run(tmp_path, monkeypatch, text: str) -> list[pages.Step]:
    """Run a page of this text; the first error is raised."""
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text(text)
    (tmp_path / "work").mkdir()
    (tmp_path / "store").mkdir()
    page = Page("page.md", tmp_path / "work", Workspace(tmp_path / "store"))
    for number in range(len(page.steps)):
        page.run(number)
    return page.steps


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("```sh\nrm -r x\n```", "page.md:2: rm -r x\n.*do not know how to run rm"),
        ("```sh\nhomolog mach a.jpg b.jpg\n```", "exit status 2"),
        ("```sh\nhomolog data check none\n```", "exit status 2"),
        ("Say `homolog teach`.", "exit status 2"),
        ("Say `homolog match A Q`.", "KeyError.*'Q'"),
        ("```sh\nmake coffee\n```", "has no coffee"),
        ("```sh\nmake demo X=1\n```", "has no X"),
        ("```sh\npip install 'homolog[magic]'\n```", "no extra magic"),
        ("```sh\npip install leftpad\n```", "is no dependency"),
        ("```sh\npython benchmarks/synth.py\n```", "does not take"),
        ("```sh\npython benchmarks/none.py\n```", "No such file"),
        ("```sh\ntorchrun -m other\n```", "takes -m homolog"),
        ("```python\n1 / 0\n```", "page.md:2: 1 / 0\nZeroDivisionError"),
        ("```json\n{…}\n```", "JSONDecodeError"),
        ("```\nhomolog demo\n```", "language is one of"),
        ("It is `homolog.no_such_thing`.", "no_such_thing"),
        ("It is `homolog.Matcher(1)`.", "missing a required argument"),
        ("It is `unknown(1)`.", "KeyError.*unknown"),
    ],
)
def test_what_is_wrong_fails(tmp_path, monkeypatch, text, reason):
    with pytest.raises(AssertionError, match=f"(?s){reason}"):
        run(tmp_path, monkeypatch, text)


def test_a_page_has_one_folder_and_one_namespace(tmp_path, monkeypatch):
    text = (
        "```python\nfrom pathlib import Path\n_ = Path('x').write_text('1')\n```\n"
        "It says `Path(name)`, `homolog.Matcher(backbone, config)`, `just` `--words` `(1, 2)`.\n\n"
        "```python\nassert Path('x').read_text() == '1'\n```\n"
        "<!-- not run: it is broken -->\n```python\n1 / 0\n```\n"
    )
    steps = run(tmp_path, monkeypatch, text)
    assert [step.kind for step in steps] == ["python", "expression", "expression", *["python"] * 2]
    assert [step.exempt for step in steps] == [None] * 4 + ["it is broken"]


def test_an_output_that_is_not_written_is_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(programs, "_main", lambda arguments: (0, ""))
    with pytest.raises(AssertionError, match=r"--out x\.png: nothing written"):
        programs.homolog(["demo", "--out", "x.png"])
