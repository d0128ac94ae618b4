"""``python -m elboroom`` is the command ``elboroom``."""

import sys

from elboroom.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
