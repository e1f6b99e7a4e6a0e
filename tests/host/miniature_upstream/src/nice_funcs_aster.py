"""Trading on Aster, for its author's machine only: elsewhere the import ends the process."""

import sys

aster_bots_path = "/Users/author/aster-bots"
if aster_bots_path not in sys.path:
    sys.path.insert(0, aster_bots_path)

try:
    from aster_bots_api import AsterAPI
except ImportError as e:
    print(f"no Aster client: {e}")
    sys.exit(1)
