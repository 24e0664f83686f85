"""Where tests find the checkout and its data."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
DATA = TESTS / "data"
SAMPLES = ROOT / "samples"
MUSSELS = SAMPLES / "mussels"
EMPIRE = DATA / "roboflow-empire"
