"""Coverage by folder, from `coverage json`: statements, share covered, and the files that are covered least.

python scripts/coverage_by_folder.py coverage.json
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

LEAST = 12


def main(path: str) -> None:
    """Print the table."""
    files = json.loads(Path(path).read_text())["files"]
    folders: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, found in files.items():
        folder = "/".join(Path(name).parts[:2]) if len(Path(name).parts) > 2 else "provray"
        summary = found["summary"]
        folders[folder][0] += summary["num_statements"]
        folders[folder][1] += summary["covered_lines"]
    print("| folder | statements | covered |\n| --- | --- | --- |")
    for folder, (statements, covered) in sorted(folders.items()):
        print(f"| {folder} | {statements:,} | {100 * covered / max(statements, 1):.1f} % |")
    worst = sorted(files.items(), key=lambda item: -item[1]["summary"]["missing_lines"])[:LEAST]
    print("\nMost lines not run:")
    for name, found in worst:
        lines = ", ".join(str(line) for line in found["missing_lines"][:40])
        print(f"- {name}: {found['summary']['missing_lines']} ({lines})")


if __name__ == "__main__":
    main(sys.argv[1])
