"""What MkDocs does not know of this repository: four rules, one function each.

- Every public name has a place on a page of the API, or the build fails.
- A link out of `docs/`, right in the repository, leads to a copy of the file in the site.
- A notebook is a page.
- The changelog of the repository is a page.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGE = "ckrm_tf"
# Where copies of files outside of `docs/` go.
COPIES = "repository"
CHANGELOG = "changelog.md"
# What lists the names that must have a page: a dictionary or a list, read and not imported.
LISTS = {"__init__.py": "_PUBLIC", "stats/__init__.py": "__all__"}
# `::: ckrm_tf.stats.NAME` is how mkdocstrings is asked for a name.
ASKED = re.compile(rf"^::: {PACKAGE}\.(?:\w+\.)*(\w+)\s*$", re.MULTILINE)
LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s:]+)(?P<rest>(?:#[^)\s]*)?\))")
FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*?$", re.MULTILINE | re.DOTALL)


def public_names() -> set[str]:
    """The public names of this checkout: those at the top of the package, and its statistics."""
    found: set[str] = set()
    for file, name in LISTS.items():
        tree = ast.parse((ROOT / PACKAGE / file).read_text(encoding="utf-8"))
        assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
        (value,) = [node.value for node in assigned if ast.unparse(node.targets[0]) == name]
        found.update(ast.literal_eval(value))
    return found


def check_public(texts: Iterable[str], names: set[str]) -> None:
    """Raise unless each of the public names is on one of these pages."""
    missing = names.difference(*(ASKED.findall(text) for text in texts))
    if missing:
        raise PluginError(f"public names without a page of the API: {', '.join(sorted(missing))}")


def copied(path: str, page: str) -> str | None:
    """Where a link of a page leads in the site, if it leads out of `docs/` to a file."""
    target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), path))
    if target.startswith(("docs/", "../")) or not (ROOT / target).is_file():
        return None
    return CHANGELOG if target == "CHANGELOG.md" else f"{COPIES}/{target}"


def links(text: str) -> Iterator[re.Match[str]]:
    """The links of a Markdown text to files."""
    yield from LINK.finditer(FENCE.sub("", text))


def rewritten(text: str, page: str) -> str:
    """The text with its links to notebooks and out of `docs/` as they are in the site."""

    def change(found: re.Match[str]) -> str:
        path = found["path"]
        copy = copied(path, page)
        if copy is not None:
            path = posixpath.relpath(copy, posixpath.dirname(page) or ".")
        elif path.endswith(".ipynb"):
            path = path.removesuffix(".ipynb") + ".md"
        return path + found["rest"]

    return LINK.sub(change, text)


def as_markdown(notebook: dict[str, Any]) -> str:
    """A notebook's cells and what they printed."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += [shown(output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def shown(output: dict[str, Any]) -> str:
    """One output of a cell: a picture where there is one, else its text."""
    data = output.get("data", {})
    if "image/png" in data:
        return f"![Output](data:image/png;base64,{''.join(data['image/png'].split())})"
    text = "".join(output["text"] if "text" in output else data["text/plain"])
    return f"```text\n{text.rstrip()}\n```"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made of notebooks, and what pages link to outside of `docs/`."""
    docs = Path(config.docs_dir)
    made = {CHANGELOG: (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")}
    for path in sorted(docs.glob("notebooks/*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        made[f"notebooks/{path.stem}.md"] = as_markdown(notebook)
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    outside = {
        copy
        for file in files.documentation_pages()
        for found in links(file.content_string)
        if (copy := copied(found["path"], file.src_uri)) not in (None, CHANGELOG)
    }
    for copy in sorted(outside):
        source = ROOT / copy.removeprefix(f"{COPIES}/")
        files.append(File.generated(config, copy, abs_src_path=str(source)))
    check_public((file.content_string for file in files.documentation_pages()), public_names())
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Rewrite the links of one page."""
    return rewritten(markdown, page.file.src_uri)
