"""``python -m pycellbox``: the command line."""

from __future__ import annotations

import sys

from pycellbox.cli import main

code = main()
# Under -m Python ends itself by SIGINT, whatever the exit code, if the last text that it executed
# was left by a KeyboardInterrupt, which a library may well execute when it is imported.
eval("0")
sys.exit(code)
