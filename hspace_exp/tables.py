"""Old name of ``python -m hspace_exp tables``."""

import sys

from hspace_exp.commands import renamed

if __name__ == "__main__":
    sys.exit(renamed("hspace_exp.tables", "hspace_exp tables"))
