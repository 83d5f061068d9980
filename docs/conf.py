"""How the site is built: guides as they are, the reference from the code. Nothing on it is loaded from elsewhere."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from reference_pages import pages

import pyrallel_consumer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Pyrallel Consumer"
version = release = pyrallel_consumer.__version__
project_copyright = "the Pyrallel Consumer project; Apache-2.0"

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
repository = _PROJECT["urls"]["Repository"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "page_parts"]
exclude_patterns = ["_generated"]
myst_heading_anchors = 3
smartquotes = False  # what is quoted is copied

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__new__"}
napoleon_use_rtype = False

add_module_names = False
toc_object_entries = False

html_theme = "furo"
html_title = f"Pyrallel Consumer {release}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "../pyrallel_consumer/observability/status/status_page/icon.svg"


def write_reference(_: Sphinx) -> None:
    """Before anything is read: what the pages of the reference include."""
    folder = Path(__file__).with_name("_generated")
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", write_reference)
