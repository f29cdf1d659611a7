"""``python -m stack up``."""

import sys

from .up import up

if sys.argv[1:] != ["up"]:
    sys.exit("usage: python -m stack up")
sys.exit(up())
