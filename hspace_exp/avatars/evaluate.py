"""Old name of ``python -m avatars_world.evaluate``."""

import sys

from hspace_exp.commands import renamed

if __name__ == "__main__":
    sys.exit(renamed("hspace_exp.avatars.evaluate", "avatars_world.evaluate.__main__"))
