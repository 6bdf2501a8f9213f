"""Settings of acquisition and continuous operation."""

from __future__ import annotations

from visql_lib.config.units import SettingsSection, setting


class FetchSettings(SettingsSection):
    """Download of raw frames from the Euclid archive. Passwords are read from netrc or a keyring only."""

    source: str = setting(
        "none",
        None,
        "Source of new frames: euclid, or none (the raw folders are filled by others).",
        pattern="^(euclid|none)$",
    )
    query_url: str = setting("https://eas-dps-rest-ops.esac.esa.int", None, "The archive's query service.")
    file_url: str = setting("https://euclidsoc.esac.esa.int", None, "The archive's file service.")
    folder: str = setting("", None, "Folder of new frames; empty: the first raw folder.")
    days: float = setting(14.0, "d", "Frames that the archive got within so long are fetched.", gt=0)
    parallel: int = setting(2, None, "Downloads at once.", ge=1, le=8)
    max_files: int = setting(99, None, "Downloads of one run at most.", ge=1)
    min_free: float = setting(500.0, "Gbyte", "Downloads stop when less space than this would be left.", ge=0)
    timeout: float = setting(120.0, "s", "A server that sends nothing for so long has failed.", gt=0)
    attempts: int = setting(5, None, "Attempts at a query, and in a row without progress at a file.", ge=1)
    backoff: float = setting(
        5.0, "s", "Delay before the second attempt; each further one is twice as long.", ge=0
    )
    netrc: str = setting("", None, "Password file; empty: .netrc in the home folder.")
    keyring: bool = setting(
        False, None, "Look for passwords in the keyring of the system before the password file."
    )
    raw_age: float = setting(60.0, "d", "Age below which `visql archive-month` leaves frames in place.", ge=0)


class WatchSettings(SettingsSection):
    """Continuous operation with `visql watch`."""

    interval: float = setting(10.0, "min", "Time between two looks.", gt=0)
    target: str = setting("", None, "Target of Snakemake; empty: the default one.", pattern="^[a-z_]*$")
    cores: int = setting(0, None, "Cores for Snakemake; 0: all.", ge=0)
    profile: str = setting("", None, "Snakemake profile; empty: the default one.")
    stale_after: float = setting(
        60.0,
        "min",
        "Without a heartbeat for so long, the lock of a watch on another machine is taken over.",
        gt=0,
    )
