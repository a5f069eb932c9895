"""Make docs/images/page.png and report.png: the page and the report of a run of the packaged sample.

twotower demo --out RUN && twotower report RUN && python docs/pictures.py RUN

Needs playwright, Pillow, a chromium (``CHROMIUM``, or on the path) and a font with Chinese letters.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 800}
USER = 14
COLOURS = 256  # fewer bytes, and no difference that one sees
MOST_BYTES = 200_000


def main() -> None:
    """Serve the run given on the command line, and picture its page and its report."""
    run = Path(sys.argv[1])
    IMAGES.mkdir(exist_ok=True)
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        picture_page(page, run)
        page.goto((run / "report.html").absolute().as_uri())
        page.screenshot(path=IMAGES / "report.png")
        browser.close()
    for name in ("page.png", "report.png"):
        picture = Image.open(IMAGES / name).convert("RGB")
        picture.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            IMAGES / name, optimize=True
        )
        size = (IMAGES / name).stat().st_size
        print(f"{IMAGES / name}: {size:,} bytes")
        assert size < MOST_BYTES, (
            f"{name} has {size:,} bytes; pictures of the README are below {MOST_BYTES:,}"
        )


def picture_page(page: Any, run: Path) -> None:
    """Show a user, with an item of the map pointed at."""
    command = [sys.executable, "-m", "twotower", "serve", str(run), "--port", "0", "--store", ":memory:"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        address = next(line.split(" at ")[1].split(" ")[0] for line in server.stderr if " at http" in line)
        page.goto(f"{address}#user={USER}")
        page.wait_for_selector("#list .card")
        page.focus("#map")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#tip:not([hidden])")
        page.screenshot(path=IMAGES / "page.png")
    finally:
        server.terminate()
        server.wait(timeout=30)


if __name__ == "__main__":
    main()
