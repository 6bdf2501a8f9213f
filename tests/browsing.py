"""Pages in a real browser: without errors, without any request to a network, and accessible."""

import json
import time
from pathlib import Path

import axe_core_python as axe


def wait_for(browser, script, *arguments):
    """Run a script until it gives something; fails after 10 s."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if found := browser.execute_script(script, *arguments):
            return found
        time.sleep(0.1)
    raise AssertionError(script)


def check_page(browser, results):
    """Demand no console error, no request outside the results, and no serious finding of axe."""
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert asked
    assert [url for url in asked if not url.startswith((results.as_uri(), "data:", "blob:"))] == []
    browser.execute_script((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = browser.execute_async_script(
        "const done = arguments[0]; axe.run().then((r) => done(r.violations.map("
        "(v) => [v.impact, v.id, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200))])))"
    )
    assert [v for v in found if v[0] in ("serious", "critical")] == []
