"""Old name of ``python -m avatars_world.preview``."""

import sys

from hspace_exp.commands import renamed

if __name__ == "__main__":
    sys.exit(renamed("hspace_exp.avatars.preview", "avatars_world.preview"))
