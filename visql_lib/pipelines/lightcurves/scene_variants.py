"""The decompositions of a target: its own, and those its file asks for besides, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from visql_lib.errors import ConfigError
from visql_lib.photometry.scene_model import Core, SceneOptions
from visql_lib.pipelines.lightcurves.settings.curves import SceneSettings
from visql_lib.pipelines.lightcurves.target_file import GalaxyModel, Spot, Target

_KEYS = ("scene", "galaxy", "sources")


@dataclass(frozen=True)
class SceneVariant:
    """A decomposition of a target.

    Parameters
    ----------
    name : str
        "" for the target's own.
    sources : tuple of str
        Its point sources.
    galaxy : GalaxyModel
    settings : SceneSettings
    """

    name: str
    sources: tuple[str, ...]
    galaxy: GalaxyModel
    settings: SceneSettings

    def label(self, source: str) -> str:
        """Return how a source is called in tables: with the name of the decomposition behind it."""
        return f"{source}_{self.name}" if self.name else source

    def options(self, core: Core | None) -> SceneOptions:
        """Return the options of the fit; `core` is where the file puts it, if it does."""
        s = self.settings
        auto = "none" if self.galaxy.core == "none" or not self.galaxy.image else "auto"
        return SceneOptions(
            image=self.galaxy.image,
            radius=s.radius,
            core=core if core is not None else auto,  # type: ignore[arg-type]
            fixed=s.fixed,
            shift=s.shift,
            rounds=s.rounds,
            clip=s.clip,
            clip_share=s.clip_share,
        )


def variants_of(target: Target, settings: SceneSettings) -> list[SceneVariant]:
    """List the decompositions of a target, its own first.

    Raises
    ------
    ConfigError
        If one of `Target.fits` has a key that is not known, a wrong value, or a source there is not.
    """
    sources = tuple(target.point_sources)
    own = SceneVariant("", sources, target.galaxy, settings)
    return [own, *(_variant(target, own, name, asked) for name, asked in target.fits.items())]


def _variant(target: Target, own: SceneVariant, name: str, asked: Mapping[str, Any]) -> SceneVariant:
    where = f"{target.file or target.name}: fits: {name}"
    if unknown := [key for key in asked if key not in _KEYS]:
        raise ConfigError(f"{where}: {unknown[0]!r} is none of {', '.join(_KEYS)}")
    for key, kind in (("scene", Mapping), ("galaxy", Mapping), ("sources", (list, tuple))):
        if not isinstance(asked.get(key, kind() if kind is dict else {} if kind is Mapping else []), kind):
            raise ConfigError(
                f"{where}: {key}: a {'list of names' if key == 'sources' else 'mapping'} is needed"
            )
    sources = tuple(map(str, asked.get("sources", own.sources)))
    if wrong := [source for source in sources if source not in own.sources]:
        raise ConfigError(f"{where}: sources: {wrong[0]!r} is none of {', '.join(own.sources)}")
    try:
        galaxy = GalaxyModel.model_validate({**own.galaxy.model_dump(), **asked.get("galaxy", {})})
        settings = SceneSettings.model_validate({**own.settings.model_dump(), **asked.get("scene", {})})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{where}: {place}: {first['msg']}") from error
    return SceneVariant(name, sources or own.sources, galaxy, settings)


def core_spot(variant: SceneVariant) -> Spot | None:
    """Return where the user puts the core, in one-based pixels of the frame `Target.on`; None: nowhere."""
    core = variant.galaxy.core
    return core if isinstance(core, Spot) and variant.galaxy.image else None
