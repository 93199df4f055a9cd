"""Configuration of the documentation site: ``make docs`` builds it into build/docs."""

import re
from pathlib import Path

from sphinx.application import Sphinx

from llmbench import __version__

_ROOT = Path(__file__).parents[1]
_INCLUDE = re.compile(r"```\{include\} \.\./(\w+\.md)\n```")

project = "llmbench"
author = "the llmbench authors"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]

# Every heading is an anchor, so that a link to one that is gone fails the build.
myst_heading_anchors = 4

# A bare name in backticks is code, in docstrings as in Markdown; blocks without a language are terminal output.
default_role = "code"
highlight_language = "none"

toc_object_entries = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "undoc-members": True, "exclude-members": "__new__, __init__"}
python_use_unqualified_type_names = True
python_display_short_literal_types = True
add_module_names = False

html_theme = "furo"
html_title = f"llmbench {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False


def _include_root_pages(_app: Sphinx, _name: str, source: list[str]) -> None:
    """Put pages of the repository's root, as ``../README.md``, into the site, and point links to their copies."""
    text = _INCLUDE.sub(lambda found: (_ROOT / found[1]).read_text(encoding="utf-8"), source[0])
    text = re.sub(r"\]\((?:\.\./)?([A-Z]+)\.md", lambda found: f"]({found[1].lower()}.md", text)
    source[0] = text.replace("](docs/", "](")


def setup(app: Sphinx) -> None:
    """Register the inclusion of pages whose links, in the repository, lead out of docs/."""
    app.connect("source-read", _include_root_pages)
