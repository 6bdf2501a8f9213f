"""Known holes of what VISQL depends on: pip-audit where its data can be had, else a line that says why not.

Exit code 1 only if there is a hole. `audit.py [--url URL] [arguments of pip-audit]`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import requests

URL = "https://api.osv.dev/v1/query"
REACHED, LONGEST = 3.0, 300.0  # s until the service must have answered; until all must be done


def main(arguments: list[str]) -> int:
    """Ask, tell, judge."""
    url = URL
    if arguments[:1] == ["--url"]:
        url, arguments = arguments[1], arguments[2:]
    try:
        requests.get(f"{urlsplit(url).scheme}://{urlsplit(url).netloc}", timeout=REACHED)
    except requests.RequestException as error:
        return skipped(f"{url} cannot be reached ({type(error).__name__})")
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service=osv", f"--osv-url={url}"]
    command += ["--format=json", "--progress-spinner=off", "--skip-editable", *(arguments or ["--local"])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, check=False)
    except subprocess.TimeoutExpired:
        return skipped(f"{url} was too slow")
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return skipped(next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}"))
    return judged(packages)


def skipped(reason: str) -> int:
    """Say why nothing was looked at."""
    sys.stdout.write(f"pip-audit skipped: {reason}\n")
    return 0


def judged(packages: list[dict[str, Any]]) -> int:
    """Name the holes; return 1 if there are any."""
    holes = [(p, hole) for p in packages for hole in p.get("vulns", ())]
    for package, hole in holes:
        fixed = ", ".join(hole.get("fix_versions", ())) or "no version yet"
        sys.stdout.write(f"{package['name']} {package['version']}: {hole['id']}, mended in {fixed}\n")
    sys.stdout.write(f"pip-audit: {len(packages)} packages, {len(holes)} known holes\n")
    if holes:
        sys.stdout.write("Install the mended versions and write them to constraints.txt: make lock\n")
    return int(bool(holes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
