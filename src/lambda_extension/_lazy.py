"""Public names that are imported when they are first used, read from the one list that a package's head has.

Most of the names need attrs and msgspec, which an extension can do without until it has registered. anyio's packages do
the same; reading the list without `ast` and `inspect` is what makes it cheap enough to stand before register. For the
same reason nothing is imported here that is not part of a bare interpreter: `typing` alone takes several milliseconds.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def import_on_use(package: str) -> bool:
    """Give a package `__getattr__`, `__dir__` and `__all__`, made from the list in its head.

    The list is the body of the statement that calls this function, in the package's `__init__`:

        if TYPE_CHECKING or not import_on_use(__name__):
            from package._module import Name as Name

    Args:
        package: Full name of the package.

    Returns:
        Whether that was done. Where there is no source to read (a package shipped as bytecode alone), it was not, and
        the body of the statement imports everything at once.
    """
    module = sys.modules[package]
    path = module.__file__ or ""
    if not path.endswith(".py"):
        return False
    # By the loader, since the package may lie in a zip file; and by data, which pytest's loader has too.
    source = module.__spec__.loader.get_data(path)  # type: ignore[union-attr]  # it is being imported
    homes = dict(_listed(source.decode()))
    names = sorted(homes)

    def find(name: str) -> object:
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        home = homes[name]
        if home == package:  # a module of the package that is itself public
            home = f"{package}.{name}"
        __import__(home)  # and not importlib.import_module, which -X importtime does not see
        found: object = sys.modules[home]
        if home == homes[name]:
            found = getattr(found, name)
            # Tracebacks and documentation name what users import, not the private module that it lives in; but msgspec
            # looks the annotations of a struct up in that module.
            if (
                isinstance(found, (type, type(import_on_use)))
                and found.__module__.startswith(f"{package}.")
                and not hasattr(found, "__struct_fields__")
            ):
                found.__module__ = package
        setattr(module, name, found)
        return found

    def directory() -> list[str]:
        return names

    vars(module).update(__getattr__=find, __dir__=directory, __all__=names)
    return True


def _listed(source: str) -> "Iterator[tuple[str, str]]":
    """Give each name of the list and the module that it is imported from."""
    _, _, body = source.partition("\nif TYPE_CHECKING or not import_on_use(__name__):\n")
    block = "".join(line for line in body.splitlines(keepends=True) if line.startswith((" ", "\n")))
    words = iter(block.replace("(", " ").replace(")", " ").replace(",", " ").split())
    home = ""
    for word in words:
        if word == "from":
            home = next(words)
            next(words)  # import
        elif word == "as":
            next(words)  # the same name again, which tells type checkers that it is public
        else:
            yield word, home
