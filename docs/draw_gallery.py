"""Draw the images of a page whose examples leave a `figure` before each: ``python docs/draw_gallery.py [page.md]``."""

import doctest
import re
import sys
from pathlib import Path

from optdesign.plotting import save

HERE = Path(__file__).parent


def main(page: Path) -> None:
    """Run the examples in order; what stands before an image is saved under its name."""
    known: dict[str, object] = {}
    *pieces, _ = re.split(r"^!\[.*\]\((.*)\.png\)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for text, image in zip(pieces[::2], pieces[1::2], strict=True):
        for example in doctest.DocTestParser().get_examples(text):
            exec(example.source, known)
        svg, _ = save(known["figure"], HERE / image, dpi=110)
        svg.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE / "gallery.md")
