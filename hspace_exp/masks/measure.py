"""Old name of ``python -m avatars_world.mask_quality``."""

import sys

from hspace_exp.commands import renamed

if __name__ == "__main__":
    sys.exit(renamed("hspace_exp.masks.measure", "avatars_world.mask_quality"))
