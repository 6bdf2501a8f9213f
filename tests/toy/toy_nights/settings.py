from typing import ClassVar

from visql_lib.config import Settings
from visql_lib.config.units import GroupNames, setting


class ToySettings(Settings):
    group_key: ClassVar[str] = "nights"
    nights: GroupNames = setting((), None, "Nights to process: YYYYMMDD, of the evening.")
    limits: str = setting("", None, "Threshold file.")

    groups = property(lambda self: self.nights)
    thresholds = property(lambda self: self.limits)


SETTINGS = ToySettings
