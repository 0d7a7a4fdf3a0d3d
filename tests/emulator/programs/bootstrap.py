"""The runtime: awslambdaric with the handler that the platform names."""

from __future__ import annotations

import os
import sys

os.execv(sys.executable, [sys.executable, "-m", "awslambdaric", os.environ["_HANDLER"]])
