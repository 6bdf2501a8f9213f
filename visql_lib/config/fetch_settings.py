"""Settings of acquisition and continuous operation."""

from __future__ import annotations

from visql_lib.config.units import Section, setting


class FetchSettings(Section):
    """Download of raw frames from the Euclid archive. Passwords are read from netrc or a keyring only."""

    source: str = setting(
        "none",
        None,
        "Source of new frames: euclid, or none (the raw folders are filled by other means).",
        pattern="^(euclid|none)$",
    )
    query_url: str = setting(
        "https://eas-dps-rest-ops.esac.esa.int", None, "Address of the query service of the archive."
    )
    file_url: str = setting(
        "https://euclidsoc.esac.esa.int", None, "Address of the file service of the archive."
    )
    folder: str = setting("", None, "Folder for downloaded frames; empty: the first raw folder.")
    days: float = setting(14.0, "d", "Look for frames that reached the archive within this time.", gt=0)
    parallel: int = setting(2, None, "Number of simultaneous downloads.", ge=1, le=8)
    max_files: int = setting(99, None, "Largest number of downloads per run.", ge=1)
    min_free: float = setting(
        500.0, "Gbyte", "Smallest free disk space; downloads stop before it is reached.", ge=0
    )
    timeout: float = setting(120.0, "s", "Timeout of a server that sends no data.", gt=0)
    attempts: int = setting(5, None, "Number of attempts per query or file without progress.", ge=1)
    backoff: float = setting(5.0, "s", "First pause between attempts; doubled after each attempt.", ge=0)
    netrc: str = setting("", None, "Password file; empty: .netrc in the home folder.")
    keyring: bool = setting(
        False, None, "Look for passwords in the keyring of the system before the password file."
    )
    raw_age: float = setting(60.0, "d", "Age below which `visql archive-month` leaves frames in place.", ge=0)


class WatchSettings(Section):
    """Continuous operation with `visql watch`."""

    interval: float = setting(10.0, "min", "Time between two checks for new frames.", gt=0)
    target: str = setting("month", None, "Snakemake target to make.", pattern="^[a-z_]+$")
    cores: int = setting(0, None, "Number of cores for Snakemake; 0: all.", ge=0)
    profile: str = setting("", None, "Snakemake profile; empty: the default one.")
    stale_after: float = setting(
        60.0,
        "min",
        "Time without a heartbeat after which a lock held on another machine is stale and is replaced.",
        gt=0,
    )
