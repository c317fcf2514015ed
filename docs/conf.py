"""How Sphinx builds the documentation: ``nox -s docs``."""

import builtins

import anyws

project = "anyws"
author = "The anyws authors"
project_copyright = "The anyws authors"
version = release = anyws.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = f"anyws {release}"

default_role = "code"  # `name` in a docstring
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Each reference to a name of ours must resolve. The names of others cannot: the build needs no network.
nitpicky = True
not_ours = "anyio|asyncio|collections|contextlib|h11|os|pathlib|socket|ssl|trio|types|typing"
nitpick_ignore_regex = [
    ("py:.*", rf"({not_ours})\..*"),
    ("py:.*", "|".join(name for name in dir(builtins) if name[0].isalpha())),
]
