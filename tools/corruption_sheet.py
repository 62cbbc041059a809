"""Makes docs/corruptions.jpg: a photograph that comes with scikit-learn, under every corruption and strength.

python tools/corruption_sheet.py
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_image

from reslab.evaluation.corruptions import CORRUPTIONS, NUM_STRENGTHS, corrupt

SHEET = Path(__file__).resolve().parents[1] / "docs" / "corruptions.jpg"
SIDE, MARGIN, NAMES = 112, 4, 120


def main() -> None:
    """Draws the sheet: a row a corruption, from the photograph as it is to strength 5."""
    photo = load_sample_image("china.jpg")[100:324, 200:424]
    width = NAMES + (1 + NUM_STRENGTHS) * (SIDE + MARGIN)
    sheet = Image.new("RGB", (width, len(CORRUPTIONS) * (SIDE + MARGIN) + 20), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(("as it is", *map(str, range(1, NUM_STRENGTHS + 1)))):
        draw.text((NAMES + column * (SIDE + MARGIN) + SIDE // 2, 10), title, "black", anchor="mm")
    for row, name in enumerate(CORRUPTIONS):
        top = 20 + row * (SIDE + MARGIN)
        draw.text((4, top + SIDE // 2), name.replace("_", " "), "black", anchor="lm")
        images = [photo, *(corrupt(photo, name, step, "photo") for step in range(1, NUM_STRENGTHS + 1))]
        for column, image in enumerate(images):
            small = Image.fromarray(np.asarray(image)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(small, (NAMES + column * (SIDE + MARGIN), top))
    sheet.save(SHEET, quality=82)


if __name__ == "__main__":
    main()
