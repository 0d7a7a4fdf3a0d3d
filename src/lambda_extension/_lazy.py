"""Public names that are imported when they are first used.

Most of them need attrs and msgspec, which an extension can do without until it has registered.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any


def importer(package: str, homes: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Make a package's `__getattr__`.

    Args:
        package: Full name of the package.
        homes: Names by the module of the package that they are in; a module without names is itself one.
    """
    modules = {name: home for home, names in homes.items() for name in names or (home,)}

    def find(name: str) -> Any:
        if name not in modules:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        home = f"{package}.{modules[name]}"
        __import__(home)  # and not importlib.import_module, which -X importtime does not see
        found: Any = sys.modules[home]
        if name != modules[name]:
            found = getattr(found, name)
            # Tracebacks and documentation name what users import, not the private module that it lives in; but msgspec
            # looks the annotations of a struct up in that module.
            if isinstance(found, type | FunctionType) and not hasattr(found, "__struct_fields__"):
                found.__module__ = package
        setattr(sys.modules[package], name, found)
        return found

    return find
