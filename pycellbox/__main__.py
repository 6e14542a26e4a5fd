"""``python -m pycellbox``: the command line."""

from __future__ import annotations

import sys

from pycellbox.cli import main

sys.exit(main())
