"""Makes the samples that show what blur and a broken file look like to quality-metrics.

    python samples/make_damaged_photographs.py

Writes samples/photographs/damaged/: a photograph out of focus (a Gaussian of 0.6 % of the width),
and one whose file ends in the middle.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageFilter

PHOTOGRAPHS = Path(__file__).parent / "photographs"


def main() -> None:
    """Write both files."""
    folder = PHOTOGRAPHS / "damaged"
    folder.mkdir(exist_ok=True)
    sharp = PHOTOGRAPHS / "imagededup" / "ukbench09268.jpg"
    with Image.open(sharp) as picture:
        blurred = picture.filter(ImageFilter.GaussianBlur(0.006 * picture.width))
        blurred.save(folder / "out_of_focus.jpg", quality=90)
    whole = (PHOTOGRAPHS / "imagededup" / "ukbench09040.jpg").read_bytes()
    (folder / "ends_in_the_middle.jpg").write_bytes(whole[: len(whole) // 2])


if __name__ == "__main__":
    main()
