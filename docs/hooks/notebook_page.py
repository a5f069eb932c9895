"""A notebook with its stored outputs, as a page."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

_TOP = "!!! note\n    This is the notebook `examples/{name}` with its outputs. The tests run its cells.\n"
_QUOTED = re.compile(r"<td>&quot;(.*?)&quot;</td>")  # as Polars writes text


def notebook_page(path: Path, page: str) -> tuple[str, dict[str, bytes]]:
    """Return the Markdown of a page, and its pictures by name."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            if len(parts) == 1:
                parts.append(_TOP.format(name=path.name))
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [_output(output, pictures, page) for output in cell["outputs"]]
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def _output(output: dict[str, Any], pictures: dict[str, bytes], page: str) -> str:
    if output["output_type"] == "stream":
        return _framed(f"<pre><code>{_escaped(''.join(output['text']))}</code></pre>")
    data = output["data"]
    if "image/png" in data:
        name = f"picture-{len(pictures) + 1}.png"
        pictures[name] = base64.b64decode("".join(data["image/png"]))
        alt = _escaped("".join(data.get("text/plain", "picture")))
        return _framed(f'<img src="{page}/{name}" alt="{alt}">')
    if "image/svg+xml" in data:
        name = f"picture-{len(pictures) + 1}.svg"
        pictures[name] = "".join(data["image/svg+xml"]).encode()
        alt = _escaped("".join(data.get("text/plain", "chart")))
        return _framed(f'<img src="{page}/{name}" alt="{alt}">')
    if "text/html" in data:
        html = "".join(data["text/html"]).replace("\n", " ")
        return _framed(_QUOTED.sub(r'<td class="text">\1</td>', html))
    return _framed(f"<pre><code>{_escaped(''.join(data['text/plain']))}</code></pre>")


def _framed(html: str) -> str:
    return f'<div class="output">{html}</div>'


def _escaped(text: str) -> str:
    # A blank line would end the block of HTML.
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return escaped.rstrip("\n").replace("\n", "&#10;")
