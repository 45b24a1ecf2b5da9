"""Put results into docs/performance.md, between its marks, and draw docs/performance.svg.

python bench/page.py OUT.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from plot import plot
from report import HEADS, HEADS_BESIDE, NOTES, Row, describe, main_rows, markdown, rows_beside
from targets import outcomes

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- figures: python bench/page.py -->", "<!-- end of figures -->"


def figures(result: dict[str, Any]) -> str:
    """The tables of a run, as Markdown."""
    rows = [Row.from_json(row) for row in result["results"]]
    reached = [
        [each.title, each.who, each.target, each.measured, "yes" if each.reached else "**no**"]
        for each in outcomes(rows)
    ]
    before, after = result["load_average"]
    parts = [
        "![How many times as fast as torch](performance.svg)",
        f"{describe(result['machine'])}.\nLoad average before and after: {before}, {after}.",
        markdown(("work", "by", "target", "measured", "reached"), reached),
        markdown(HEADS, main_rows(rows)),
        markdown(HEADS_BESIDE, rows_beside(rows)),
        "\n".join(NOTES),
    ]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish the results of a run.")
    parser.add_argument("results", type=Path, help="what `run.py --json` wrote")
    result = json.loads(parser.parse_args().results.read_text(encoding="utf-8"))
    page = DOCS / "performance.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{figures(result)}\n{END}{after}", encoding="utf-8")
    drawing = plot([Row.from_json(row) for row in result["results"]])
    (DOCS / "performance.svg").write_text(drawing, encoding="utf-8")


if __name__ == "__main__":
    main()
