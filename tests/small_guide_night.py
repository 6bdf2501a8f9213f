"""A small simulated night of a guide camera on disk, with its masters and settings, and what one does with it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.guide_frames import camera_file
from visql_lib.tables.store import read_table

ROOT = Path(__file__).parents[1]
NIGHT = "20210611"
PLAN = {
    "seed": 5,
    "start": "2021-06-12T04:58:00",
    "frames": 8,
    "cadence": "40 s",
    "exptimes": [20, 10],
    "sky": {"density": 3.0, "faintest": 16.0, "pairs": 0.0},
    "chip": {"cosmics": 0.0},
    "slews": [{"first": 3}],
    "domes": [{"first": 5, "share": 0.2}],
    "clouds": [{"first": 7, "last": 8, "depth": 0.5, "slope": 0.0}],
    "streaks": [{"frame": 2, "x1": 20, "y1": 60, "x2": 300, "y2": 180, "peak": 150}],
    "calibration": {"biases": 4, "darks": 4, "skies": 4},
}


class GuideFolder:
    """A folder with a simulated night, and what one does in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.results, self.raw = path, path / "results", path / "raw"
        self.night = self.results / "nights" / NIGHT

    def run(self, *words: str | Path, code: int = 0) -> str:
        """Run a command of VISQL's environment; return what it says."""
        command = [str(Path(sys.executable).with_name(str(words[0]))), *map(str, words[1:])]
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            command, cwd=self.path, env=environment, capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "Traceback" not in said, said
        return said

    def settings(self, **changes: object) -> None:
        """Write the settings."""
        values = {"pipeline": "pointing", "nights": NIGHT, "raw": "raw", "results": "results"}
        values |= {"instrument": "camera.yaml", "masters": {"folder": "masters"}}
        values |= {"gaia": {"sources": ["folder"], "folder": "gaia"}, "index": {"growing_age": 0}}
        (self.path / "settings.yaml").write_text(yaml.safe_dump(values | changes))

    def snakemake(self, *words: str, code: int = 0) -> str:
        """Run the workflow."""
        given = ("-s", str(ROOT / "Snakefile"), "-c2", "--configfile", "settings.yaml")
        return self.run("snakemake", *words, *given, code=code)

    def frames(self) -> list[dict]:
        """The rows of the night's table."""
        table = read_table(self.night / f"night_{NIGHT}.parquet")
        return [{name: values[i] for name, values in table.items()} for i in range(table.n_rows)]

    def frame_file(self, number: int, ending: str) -> Path:
        """A product of a frame, by its number from 1."""
        stem = self.raws()[number - 1].stem
        return self.results / "exposures" / NIGHT / stem / f"{stem}{ending}"

    def raws(self) -> list[Path]:
        """The raw frames."""
        return sorted(self.raw.glob("*.fits"))


def guide_night(path: Path, camera: str | None = None, **plan: object) -> GuideFolder:
    """Simulate a night, make its masters by the commands, and write settings."""
    path.mkdir(parents=True, exist_ok=True)
    if camera is None:
        camera_file(path)
    else:
        shutil.copyfile(camera, path / "camera.yaml")
    made = GuideFolder(path)
    content = {"guide_night": PLAN | plan | {"instrument": "camera.yaml"}}
    (path / "plan.yaml").write_text(yaml.safe_dump(content))
    made.settings()
    made.run("visql", "simulate", "plan.yaml", "-o", ".")
    (path / "masters").mkdir()
    for kind, folder, name, needs in (
        ("bias", "bias", "pc_master_bias", ()),
        ("dark", "dark", "pc_master_dark", ("bias",)),
        ("flat", "sky", "pc_master_flat", ("bias", "dark")),
    ):
        frames = sorted((path / "calibration" / folder).iterdir())
        options = [word for n in needs for word in (f"--{n}", f"masters/pc_master_{n}.fits")]
        made.run("visql", "pointing-masters", kind, *frames, "-o", f"masters/{name}.fits", *options, *_CONFIG)
    masters = ("--dark", "masters/pc_master_dark.fits", "--flat", "masters/pc_master_flat.fits")
    made.run("visql", "pointing-masters", "badpix", "-o", "masters/pc_badpix_mask.fits", *masters, *_CONFIG)
    return made


_CONFIG = ("--config", "settings.yaml")
