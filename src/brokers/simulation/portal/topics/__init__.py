"""The words of the portal's WebSocket: one table, assembled from the modules of this folder."""

from __future__ import annotations

from ..routes import Topic
from .sbd import TOPICS as SBD
from .sld import TOPICS as SLD
from .smd import TOPICS as SMD
from .smh import TOPICS as SMH
from .sor import TOPICS as SOR
from .spl import TOPICS as SPL
from .ssd import TOPICS as SSD
from .str_ import TOPICS as STR

TOPICS: tuple[Topic, ...] = (*SMD, *SMH, *SBD, *SOR, *STR, *SPL, *SSD, *SLD)
