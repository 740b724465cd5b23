"""Old name of ``python -m avatars_world.train``."""

import sys

from hspace_exp.commands import renamed

if __name__ == "__main__":
    sys.exit(renamed("hspace_exp.avatars.train", "avatars_world.train.__main__"))
