"""Public names: a heading each, and what autodoc says of it."""

from __future__ import annotations

import enum
import importlib
import inspect
import pathlib
import re
import types
import typing
from typing import Any

import attrs
from docutils import nodes
from sphinx.pycode import ModuleAnalyzer
from sphinx.roles import XRefRole
from sphinx.util.nodes import make_refnode

from lambda_extension._lazy import _listed


def public_names(package: str) -> list[str]:
    """Return the public names of a package that are at home there, those of the root first of all."""
    module = importlib.import_module(package)
    return [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]


def home_of(package: str, name: str) -> str:
    """Return the package whose page documents a name; several offer some of them."""
    found = getattr(importlib.import_module(package), name)
    for other in _HOMES.get(package, ()):
        if getattr(importlib.import_module(other), name, None) is found:
            return other
    return package


# Names that a package passes on are documented where they come from.
_HOMES = {
    "lambda_extension.processing": ("lambda_extension",),
    "lambda_extension.delivery": ("lambda_extension.processing",),
    "lambda_extension.logs": ("lambda_extension.telemetry",),
}


def names(package: str, group: str = "") -> str:
    """Return a section for each public name of a package; of the root, of a group of them."""
    parts, elsewhere = [], []
    for name in sorted(public_names(package), key=lambda name: (_rank(package, name), name.casefold())):
        home = home_of(package, name)
        if home != package:
            elsewhere.append(f"[`{name}`]({page_of(home, name)}#{name.lower()})")
        elif group == group_of(package, name):
            parts.append(f"## {name}\n\n" + _body(package, name))
    if not group:
        parts.insert(0, f"```{{eval-rst}}\n.. py:module:: {package}\n```\n")
    if elsewhere:
        parts.insert(1, f"It also offers {', '.join(elsewhere)}.\n")
    return "\n".join(parts)


# The root has too many names for one page: what the platform's APIs say and are told has its own, and so have errors.
_API = {
    "Buffering",
    "Destination",
    "Environment",
    "EventType",
    "ExtensionClient",
    "InitializationType",
    "InvokeEvent",
    "LogsSchemaVersion",
    "LogsSubscription",
    "Registration",
    "SchemaVersion",
    "ShutdownEvent",
    "ShutdownReason",
    "TelemetrySubscription",
    "TelemetryType",
    "Tracing",
}
_RECORD = {"Clock", "Entry", "Finding", "Record", "Span", "Timeline"}
_TRANSFORMS = {"AWS_KEY", "BEARER", "CARD", "EMAIL", "Named", "Pattern", "Pipeline", "Sample", "Transform"}


def group_of(package: str, name: str) -> str:
    """Return the part of a package's page that a name stands in; empty for the first."""
    found = getattr(importlib.import_module(package), name)
    match package:
        case "lambda_extension" if inspect.isclass(found) and issubclass(found, BaseException):
            return "errors"
        case "lambda_extension" if name in _API:
            return "api"
        case "lambda_extension.telemetry" if getattr(found, "__module__", "").endswith("._records"):
            return "records"
        case "lambda_extension.delivery.sinks" if inspect.isclass(found):
            return "classes"
        case "lambda_extension.records" if inspect.isroutine(found) or name in _TRANSFORMS:
            return "transforms"
        case "lambda_extension.simulator" if name in _RECORD:
            return "record"
    return ""


def _rank(package: str, name: str) -> int:
    """Sort functions before classes, and classes before what is neither."""
    found = getattr(importlib.import_module(package), name)
    return 0 if inspect.isroutine(found) else 1 if inspect.isclass(found) else 2


def page_of(package: str, name: str = "") -> str:
    """Return the file of the page that a package, or a name of it, is documented on."""
    group = group_of(package, name) if name else ""
    if package == "lambda_extension" and group:
        return f"{group}.md"
    page = package.removeprefix("lambda_extension").strip(".").replace(".", "-").replace("_", "-") or "lambda-extension"
    return f"{page}-{group}.md" if group else f"{page}.md"


def _body(package: str, name: str) -> str:
    found = getattr(importlib.import_module(package), name)
    if inspect.isclass(found):
        options = ["members"]
        if issubclass(found, enum.Enum):
            options.append("undoc-members")
        if issubclass(found, BaseException):
            options.append("show-inheritance")
        if fields := _fields(found):  # the signature has them, and the docstring what they mean
            options.append(f"exclude-members: {', '.join(fields)}")
        return _directive("autoclass", f"{package}.{name}", options)
    if inspect.isroutine(found):
        return _directive("autofunction", f"{package}.{name}", [])
    data = f"```{{eval-rst}}\n.. py:data:: {name}\n   :module: {package}\n```\n"
    return "\n\n".join([data, *filter(None, [_said_of(package, name), _value(found)])]) + "\n"


def _fields(found: type) -> list[str]:
    if attrs.has(found):
        return [field.name for field in attrs.fields(found)]
    return list(getattr(found, "__struct_fields__", ()))


def _directive(directive: str, target: str, options: list[str]) -> str:
    lines = "".join(f"   :{option}{'' if ':' in option else ':'}\n" for option in options)
    return f"```{{eval-rst}}\n.. {directive}:: {target}\n{lines}```\n"


def _said_of(package: str, name: str) -> str:
    """Return the docstring that stands below a constant."""
    source = pathlib.Path(importlib.import_module(package).__file__ or "").read_text(encoding="utf-8")
    home = dict(_listed(source)).get(name, package)
    docs = ModuleAnalyzer.for_module(home).find_attr_docs()
    return "\n".join(docs.get(("", name), [])).strip()


def _value(found: Any) -> str:
    """Say what a name stands for that is no class and no function; nothing of an object."""
    if isinstance(found, types.UnionType):
        return f"One of {', '.join(f'{{py:class}}`{each.__name__}`' for each in typing.get_args(found))}."
    if typing.get_origin(found) is typing.Literal:
        return f"One of {', '.join(f'`{each!r}`' for each in typing.get_args(found))}."
    return f"`{tidy(str(found))}`" if typing.get_origin(found) is not None or isinstance(found, str) else ""


def errors() -> str:
    """Return the tree of errors, with what each means."""
    from lambda_extension import LambdaExtensionError

    lines = ["| Error | When |", "|---|---|"]

    def add(error: type, depth: int) -> None:
        summary = (inspect.getdoc(error) or "").partition("\n\n")[0].replace("\n", " ")
        indent = "&nbsp;&nbsp;" * 2 * depth
        lines.append(f"| {indent}{{py:class}}`~{error.__module__}.{error.__name__}` | {summary} |")
        for child in sorted(error.__subclasses__(), key=lambda each: each.__name__):
            if child.__module__.startswith("lambda_extension"):
                add(child, depth + 1)

    import lambda_extension

    for name in lambda_extension.__all__:
        getattr(lambda_extension, name)
    add(LambdaExtensionError, 0)
    return "\n".join(lines) + "\n"


_PRIVATE = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])")


def tidy(text: str) -> str:
    """Leave out where a type comes from."""
    return _PRIVATE.sub("", text).replace("NoneType", "None")


def load() -> None:
    """Import every public name, which gives each class the module that users know it by."""
    for package in PACKAGES:
        for name in public_names(package):
            _KNOWN.setdefault(name, home_of(package, name))


PACKAGES = (
    "lambda_extension",
    "lambda_extension.early",
    "lambda_extension.telemetry",
    "lambda_extension.processing",
    "lambda_extension.records",
    "lambda_extension.delivery",
    "lambda_extension.delivery.sinks",
    "lambda_extension.otel",
    "lambda_extension.logs",
    "lambda_extension.serving",
    "lambda_extension.simulator",
    "lambda_extension.simulator.pytest_plugin",
)
_KNOWN: dict[str, str] = {}


def tidy_signature(
    _app: Any, what: str, _name: str, found: Any, _options: Any, arguments: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Leave an enumeration without a signature, and write aliases of types as their names."""
    if what == "class" and inspect.isclass(found) and issubclass(found, enum.Enum):
        return "", None
    if what == "class" and arguments:
        arguments = with_defaults(found, arguments)
    return _named(arguments), _named(returns)


def with_defaults(found: Any, arguments: str) -> str:
    """Return the arguments of a class of attrs with its defaults as values; of anything else, as they are."""
    if not (inspect.isclass(found) and attrs.has(found)):
        return arguments
    fields = {field.alias: field.default for field in attrs.fields(found)}
    arguments = _DEFAULT.sub(lambda place: shown_default(attrs.fields_dict(found)[place[1]].default), arguments)
    return _MADE.sub(lambda place: place[1] + shown_default(fields[place[2]]), arguments)


# How the constructor that attrs writes gives its defaults.
_DEFAULT = re.compile(r"attr_dict\['(\w+)'\]\.default")
# And those that it makes at each call.
_MADE = re.compile(r"((\w+)(?:: (?:(?!: )[^=])+?)? ?= ?)NOTHING")


def shown_default(default: Any) -> str:
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = default.factory()
    # Members of enumerations are written as the text that may be passed in their place.
    return re.sub(r"<\w+\.\w+: ('[^']*')>", r"\1", repr(default))


def _named(text: str | None) -> str | None:
    """Write an alias as its name, within a union too."""
    return None if text is None else re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)


def keep_colons(_app: Any, what: str, _name: str, _found: Any, _options: Any, lines: list[str]) -> None:
    """Keep napoleon from taking the first words of an attribute's docstring, up to a colon, for its type."""
    if what in {"attribute", "property", "data"} and lines:
        lines[0] = lines[0].replace(": ", "\\: ")


def say_attributes(_app: Any, doctree: nodes.document) -> None:
    """Call attributes what autodoc calls variables."""
    for name in doctree.findall(nodes.field_name):
        if name.astext() == "Variables":
            name.children = [nodes.Text("Attributes")]


def linked(
    _: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = ()
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Show what a docstring has in backticks as code, and link it where it is a public class or a name of the root."""
    head = text.partition(".")[0]
    public = head in _KNOWN and (head[0].isupper() or _KNOWN[head] == "lambda_extension")
    if not public or not text.replace(".", "").isidentifier():
        return [nodes.literal(rawtext, text)], []
    return XRefRole()("py:obj", rawtext, text, lineno, inliner, options or {}, content)


def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Find a public name that a docstring or a signature gives without its package."""
    if node.get("refdomain") != "py":
        return None
    *_, owner, last = ["", *node["reftarget"].split(".")]
    domain = env.get_domain("py")
    for target in (f"{_KNOWN.get(last)}.{last}", f"{_KNOWN.get(owner)}.{owner}.{last}"):
        if target in domain.objects:
            entry = domain.objects[target]
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, target)
    return None
