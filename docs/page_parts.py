"""What this site adds to Sphinx's work on a page: labels for the cells of tables, links for file names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from docutils import nodes  # type: ignore[import-untyped]  # no stubs are locked
from sphinx.writers.html5 import HTML5Translator

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
LONGEST_NAME = 200


class LabellingTranslator(HTML5Translator):
    """Gives each cell of a table the title of its column, for narrow screens where rows are cards."""

    def visit_entry(self, node: nodes.Element) -> None:
        super().visit_entry(node)
        label = _column_title(node)
        if label and self.body[-1].startswith("<td"):
            self.body[-1] = f'<td data-label="{self.attval(label)}"{self.body[-1][3:]}'


def _column_title(entry: nodes.Element) -> str:
    """The text at the head of the cell's column; "" in the head itself and without one."""
    row = entry.parent
    if not isinstance(row.parent, nodes.tbody):
        return ""
    for head in row.parent.parent.findall(nodes.thead):
        titles = head.children[0].children
        at = row.index(entry)
        return titles[at].astext() if at < len(titles) else ""
    return ""


def link_file_names(app: Sphinx, document: nodes.document) -> None:
    """Make each name of a file of the repository, given as code, a link to that file."""
    repository: str = app.config.repository
    for literal in list(document.findall(nodes.literal)):
        name = literal.astext()
        if isinstance(literal.parent, nodes.reference):
            continue
        path = next((each for each in (name, f"pyrallel_consumer/{name}") if _is_file(each)), None)
        if path is not None:
            link = nodes.reference("", "", refuri=f"{repository}/blob/main/{quote(path)}")
            literal.replace_self(link)
            link += literal


def _is_file(name: str) -> bool:
    """Whether a file of the repository has this path; no pattern, no folder, nothing outside."""
    return not name.startswith(("/", "~", "..")) and len(name) < LONGEST_NAME and (ROOT / name).is_file()


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("repository", "", "env", (str,))
    app.set_translator("html", LabellingTranslator, override=True)
    app.connect("doctree-read", link_file_names)
    return {"version": "1", "parallel_read_safe": True}
