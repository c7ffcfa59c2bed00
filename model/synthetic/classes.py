"""The three classes of drawn cells, in the order of the BCCD category ids 1, 2, 3."""

from __future__ import annotations

CLASS_NAMES = ("Platelets", "RBC", "WBC")
PLATELET, RED, WHITE = range(3)
