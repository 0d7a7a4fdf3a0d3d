"""The program that makes and holds the mount namespace of a simulation: a script, on the standard library alone.

It says `ok` once all is mounted, or what went wrong, and lives until its standard input ends: with the simulator,
however that ends. Participants are put into its namespaces by nsenter.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000


def check(result: int, what: str) -> None:
    if result:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def main() -> None:
    order = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    flags = _CLONE_NEWNS | (_CLONE_NEWUSER if order["user"] else 0)
    check(libc.unshare(flags), "unshare")
    if order["user"]:
        # Everybody stays who they are; the kernel wants setgroups denied before it lets a user write a map of groups.
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib takes milliseconds
                file.write(text)
    # Before anything is mounted: else it would show in the namespace that this one was made from.
    check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None), "private mounts")
    for source, target in order["mounts"]:
        result = libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None)
        check(result, f"mount on {target}")
    os.chdir(order["cwd"])  # as the new mounts have it: participants begin here
    os.write(1, b"ok\n")
    os.read(0, 1)


main()
