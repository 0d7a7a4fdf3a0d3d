"""The launcher: the file that Lambda starts, which registers before it imports anything."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from lambda_extension._environment import names_alone
from lambda_extension.packaging._registration import RegistrationCall

# -I: neither PYTHONPATH nor the user's site, which the function may have set; -u: what is printed is seen at once;
# -S: no site-packages, which belong to the function's image.
_TEMPLATE = """\
#!{interpreter} -IuS
# Made by `lambda-extension package`: registers, then runs {script}.
import sys

_own = __file__.rpartition("/")
_home = _own[0].rpartition("/")[0] + "/{folder}"
sys.path.append(_home)
{register}{environment}
import _frozen_importlib_external as _loading

try:
    _path = _home + "/{script}"
    __file__ = _path
    # As an import would: its bytecode is used if it is there.
    exec(_loading.{loader}("__main__", _path).get_code("__main__"))
except SystemExit:
    raise
except BaseException as _error:
    # Whatever ends it: first all of it, as the interpreter says it, then one line that names the extension.
    sys.excepthook(type(_error), _error, _error.__traceback__)
    _what = "cannot start" if isinstance(_error, ImportError) else "failed"
    sys.exit(_own[2] + " " + _what + ": " + type(_error).__name__ + ": " + str(_error))
"""


@attrs.frozen(kw_only=True)
class Launcher:
    """A file for `/opt/extensions`.

    Attributes:
        script: The file name of the extension's script, or of its bytecode.
        folder: The folder of the extension below `/opt`.
        interpreter: What starts it, on Lambda.
        environment: Variables to set where they are not set.
    """

    script: str
    folder: str
    interpreter: str
    environment: Mapping[str, str] = attrs.field(factory=dict, repr=names_alone)

    def text(self, registration: RegistrationCall | None) -> bytes:
        """Return the file.

        Args:
            registration: What to register at once; None leaves that to the script.
        """
        variables = ""
        if self.environment:
            pairs = sorted(self.environment.items())
            lines = "".join(f"_os.environ.setdefault({name!r}, {value!r})\n" for name, value in pairs)
            variables = f"import os as _os\n\n{lines}"
        return _TEMPLATE.format(
            interpreter=self.interpreter,
            script=self.script,
            folder=self.folder,
            environment=variables,
            register="" if registration is None else _register(registration),
            loader="SourcelessFileLoader" if self.script.endswith(".pyc") else "SourceFileLoader",
        ).encode()


def _register(registration: RegistrationCall) -> str:
    """Return the lines that register, by a module that imports nothing, from a folder that is on the path for it."""
    events, account_id = list(registration.events), registration.account_id
    return (
        'sys.path.insert(0, _home + "/lambda_extension")\n'
        "import early as _early\n\n"
        "del sys.path[0]\n"
        f"_early.register(name=_own[2], events={events!r}, account_id={account_id!r})\n\n"
    )
