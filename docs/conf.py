"""The Sphinx configuration of the documentation: ``nox -s docs``."""

import builtins
import dataclasses
import inspect
import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import stringify_annotation

import anyws
import anyws.asgi
import anyws.callbacks
import anyws.protocol

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
pygments_dark_style = "github-dark"
html_title = f"anyws {release}"
html_static_path = ["_static"]
html_css_files = ["anyws.css"]

default_role = "py:obj"  # `name` in a docstring becomes a link
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = False  # see show_attributes

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Every reference to an anyws name must resolve. Other packages are ignored, so the build needs no network.
nitpicky = True
not_ours = "anyio|asyncio|collections|contextlib|h11|http|os|pathlib|socket|ssl|trio|types|typing|werkzeug"
nitpick_ignore_regex = [
    ("py:.*", rf"({not_ours})\..*"),
    ("py:class", r"anyws\.protocol\._(pure|speedups)\.Payload"),
    ("py:class", r"anyws\.protocol\.headers\.T"),
    ("py:class", r"anyws\._transport\.given_streams\.Trio\w+"),
    ("py:class", r"anyws\._(client|server)\.options\.\w+Keywords"),
    ("py:.*", "|".join(name for name in dir(builtins) if name[0].isalpha())),
]


OPTIONS: dict[str, type] = {
    "anyws.connect": anyws.ClientOptions,
    "anyws.reconnecting": anyws.ReconnectOptions,
    "anyws.run": anyws.RunOptions,
    "anyws.serve": anyws.ServerOptions,
    "anyws.open_server": anyws.ServerOptions,
    "anyws.accept": anyws.AcceptOptions,
    "anyws.asgi.endpoint": anyws.asgi.EndpointOptions,
    "anyws.client_connect": anyws.callbacks.ClientConnectOptions,
    "anyws.server": anyws.callbacks.SocketServerOptions,
    "anyws.testing.local_server": anyws.ServerOptions,
}


def link_options(_: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Replace the options in a function's docstring by a line of links, because their classes explain them."""
    if what != "function" or "Options:" not in lines:
        return
    start = lines.index("Options:")
    shown = [
        found.groups() for line in lines[start:] if (found := re.match(r"    (\w+) \(.*, default (.*?)\): ", line))
    ]
    links = [f":py:attr:`{option} <{home_of(option, OPTIONS[name])}>` ``= {default}``" for option, default in shown]
    lines[start:] = ["**Options:** " + ", ".join(links)]


def home_of(option: str, options_class: type) -> str:
    """Return the full name of the attribute that describes an option: that of the nearest class that does."""
    for base in options_class.__mro__:
        if re.search(rf"^ +{option}: ", base.__doc__ or "", re.MULTILINE):
            return f"{base.__module__}.{base.__qualname__}.{option}"
    raise ValueError(f"{options_class.__name__} does not describe its option {option}")


def show_attributes(_: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Add the type of each attribute of a class, and the default of each dataclass field."""
    if not isinstance(obj, type):
        return
    types: dict[str, object] = {}
    for base in reversed(obj.__mro__):
        types |= inspect.get_annotations(base)
    defaults: dict[str, object] = {}
    if dataclasses.is_dataclass(obj):
        fields = dataclasses.fields(obj)
        defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    for number, line in reversed(list(enumerate(lines))):
        directive, _colons, attribute = line.partition(":: ")
        if directive == ".. attribute" and attribute in types:
            lines.insert(number + 1, f"   :type: {shown_type(types[attribute])}")
            if attribute in defaults:
                lines.insert(number + 2, f"   :value: {defaults[attribute]!r}")


def shown_type(annotation: object) -> str:
    """Return the annotation as in the source, with our type aliases instead of the types that they stand for."""
    shown = annotation if isinstance(annotation, str) else stringify_annotation(annotation, "smart")
    for long, short in NAMED.items():
        shown = shown.replace(long, short)
    return shown


NAMED = {
    stringify_annotation(alias, "smart"): name
    for alias, name in (
        (anyws.protocol.HeadersLike, "~anyws.protocol.HeadersLike"),
        (anyws.protocol.SubprotocolSelector, "~anyws.protocol.SubprotocolSelector"),
    )
}


def resolve_in_rooms(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement
) -> nodes.reference | None:
    """Resolve a name in any public module, so that every docstring can refer to `WebSocket` or `Socket`."""
    if node.get("refdomain") != "py":
        return None
    for module in ("anyws", "anyws.callbacks", "anyws.testing", "anyws.protocol"):
        target = f"{module}.{node['reftarget']}"
        found = env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, contnode)
        if found is not None:
            return found
    return None


AT_THE_ROOT = {"changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}


def read_from_the_root(_: Sphinx, page: str, text: list[str]) -> None:
    """Show a file of the repository's root as a page; links to other such files become plain text."""
    if page in AT_THE_ROOT:
        source = (Path(__file__).parent.parent / AT_THE_ROOT[page]).read_text(encoding="utf-8")
        text[0] = re.sub(r"\[([^]]+)\]\([A-Z_]+(\.md)?\)", r"\1", source.replace("](docs/", "]("))


def setup(app: Sphinx) -> None:
    """Connect the hooks: for pages, before and after napoleon, and for references."""
    app.connect("source-read", read_from_the_root)
    app.connect("missing-reference", resolve_in_rooms)
    app.connect("autodoc-process-docstring", link_options, priority=100)
    app.connect("autodoc-process-docstring", show_attributes, priority=900)
