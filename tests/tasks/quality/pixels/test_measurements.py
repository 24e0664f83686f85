"""Every number equals a plain NumPy computation in float64, written here from its definition."""

import io
import math
import os
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps

from storage.errors import ImageError, ImageErrorCode
from tasks.images.files import ImageLimits
from tasks.quality.pixels.measurements import (
    DEFAULT_FOCUS_THRESHOLD,
    FOCUS_FLOOR,
    ImageMeasurement,
    focus_of,
    measure_content,
    measure_image,
    prepare_worker_thread,
)
from tests.image_files import DAMAGED_BUT_SHOWN_BY_PILLOW, IMAGE_FILES, name_of
from tests.places import DATA, ROOT
from tests.tasks.images.deep_files import eight_bit_picture
from tests.tasks.quality.pixels.both_ways import in_both_ways

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

# A PNG of noise is as large however long it is packed.
QUICKLY = {"compress_level": 1}


def grey_of(rgb: np.ndarray) -> np.ndarray:
    """OpenCV's documented 8-bit grey in whole numbers."""
    red, green, blue = (rgb[..., i].astype(np.int32) for i in range(3))
    return (9798 * red + 19235 * green + 3735 * blue + 2**14) >> 15


def laplacian_of(grey: np.ndarray) -> np.ndarray:
    modes = ["reflect" if side > 1 else "edge" for side in grey.shape]
    padded = np.pad(grey.astype(np.float64), ((1, 1), (0, 0)), mode=modes[0])
    padded = np.pad(padded, ((0, 0), (1, 1)), mode=modes[1])
    return (
        padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    ) - 4 * padded[1:-1, 1:-1]


def expected_focus(grey: np.ndarray) -> float:
    height, width = grey.shape
    factor = max(1, min(round(max(height, width) / 640), height, width))
    rows, columns = height // factor, width // factor
    squares = grey[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    i = squares.astype(np.float64).mean(axis=(1, 3))
    if min(i.shape) < 3:
        return 0.0
    laplacian = i[:-2, 1:-1] + i[2:, 1:-1] + i[1:-1, :-2] + i[1:-1, 2:] - 4 * i[1:-1, 1:-1]
    across, down = (i[1:-1, 2:] - i[1:-1, :-2]) / 2, (i[2:, 1:-1] - i[:-2, 1:-1]) / 2
    return float((laplacian**2).mean() / ((across**2).mean() + (down**2).mean() + FOCUS_FLOOR))


def lowest_level(ordered: np.ndarray, percent: int) -> int:
    """The smallest of the sorted grey levels that this share of the pixels does not exceed."""
    return int(ordered[max(0, math.ceil(percent * ordered.size / 100) - 1)])


def expected_values(rgb: np.ndarray) -> dict[str, float]:
    values, grey = rgb.astype(np.float64), grey_of(rgb)
    variance = laplacian_of(grey).var()
    shares = np.bincount(grey.ravel(), minlength=256) / grey.size
    used = shares[shares > 0]
    ordered = np.sort(grey.astype(np.uint8), axis=None, kind="stable")  # by radix
    return {
        "sharpness_variance": variance,
        "sharpness": min(variance / 500, 1),
        "brightness": values.mean() / 255,
        "contrast": min(values.std() / 127.5, 1),
        "red_avg": values[..., 0].mean() / 255,
        "green_avg": values[..., 1].mean() / 255,
        "blue_avg": values[..., 2].mean() / 255,
        "focus": expected_focus(grey),
        "p1": lowest_level(ordered, 1),
        "p5": lowest_level(ordered, 5),
        "p95": lowest_level(ordered, 95),
        "p99": lowest_level(ordered, 99),
        "clipped_black": (grey == 0).mean(),
        "clipped_white": (grey == 255).mean(),
        "entropy": -(used * np.log2(used)).sum(),
        "width": rgb.shape[1],
        "height": rgb.shape[0],
    }


def assert_equal_to(measured: ImageMeasurement, rgb: np.ndarray) -> None:
    for name, value in expected_values(rgb).items():
        assert getattr(measured, name) == pytest.approx(value, rel=1e-9, abs=1e-12), name


def encoded(rgb: np.ndarray, kind: str = "PNG", **options) -> bytes:
    target = io.BytesIO()
    Image.fromarray(np.asarray(rgb, np.uint8)).save(target, kind, **QUICKLY, **options)
    return target.getvalue()


def picture_of(path: Path) -> Image.Image | None:
    """The displayed picture as Pillow and its reference hash see it; None where there is none."""
    try:
        picture = eight_bit_picture(path, ImageOps.exif_transpose(Image.open(path)))
        picture.convert("L")  # what the hash needs; impossible for one mode, LAB
    except Exception:
        return None
    return None if path.name in DAMAGED_BUT_SHOWN_BY_PILLOW else picture


def reason_of_refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        measure_image(path)
    return caught.value.reason


def rgb_of(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("path", IMAGE_FILES, ids=name_of)
def test_every_file_has_the_values_of_the_plain_computation_and_the_reference_hash(path):
    picture = picture_of(path)
    if picture is None:
        assert all(in_both_ways(lambda: reason_of_refusal(path)))
        return
    first, *others = in_both_ways(lambda: measure_image(path))
    assert_equal_to(first, rgb_of(picture))
    assert first.perceptual_hash == str(imagehash.phash(picture))
    assert first.file_size == path.stat().st_size
    assert all(other == first for other in others), "with the extension as without it"


@settings(max_examples=60)
@given(
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    seed=st.integers(0, 99),
    orientation=st.integers(1, 8),
)
def test_any_shape_and_orientation(height, width, seed, orientation):
    height = min(height, max(1, 600_000 // width))
    exif = Image.Exif()
    exif[0x0112] = orientation
    random = np.random.default_rng(seed)
    rgb = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = encoded(rgb, "JPEG", exif=exif, quality=90)
    displayed = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert_equal_to(measure_content(content), np.asarray(displayed))


def test_an_image_of_many_strips():
    rgb = np.random.default_rng(4).integers(0, 256, (2111, 1403, 3), dtype=np.uint8)
    assert_equal_to(measure_content(encoded(rgb)), rgb)


# ---- images with known answers


def grey_image(levels: list[list[int]] | np.ndarray) -> ImageMeasurement:
    return measure_content(encoded(np.asarray(levels, np.uint8)))


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("size", [(1, 1), (200, 300)])
def test_black_and_white(level, size):
    measured = grey_image(np.full(size, level))
    assert (measured.sharpness_variance, measured.sharpness, measured.focus) == (0, 0, 0)
    assert (measured.contrast, measured.entropy) == (0, 0)
    assert measured.brightness == measured.red_avg == measured.blue_avg == level / 255
    assert {measured.p1, measured.p5, measured.p95, measured.p99} == {level}
    assert (measured.clipped_black, measured.clipped_white) == (1 - level / 255, level / 255)
    assert measured.low_information


def test_a_checkerboard():
    measured = grey_image(np.indices((100, 100)).sum(axis=0) % 2 * 255)
    # Each pixel differs by 255 from all four neighbours: the Laplacian is +-1020.
    assert measured.sharpness_variance == 1020**2
    assert (measured.sharpness, measured.brightness, measured.contrast) == (1, 0.5, 1)
    assert (measured.clipped_black, measured.clipped_white, measured.entropy) == (0.5, 0.5, 1)
    assert (measured.p1, measured.p99) == (0, 255)
    # Opposite neighbours are equal: no gradient, only the floor.
    assert measured.focus == 1020**2 / FOCUS_FLOOR


def test_a_gradient_has_no_laplacian_inside():
    measured = grey_image(np.tile(np.arange(256), (256, 1)))
    # 1 and -1... only at the borders, where the mirrored neighbour doubles the step.
    assert measured.sharpness_variance == pytest.approx(2 * 4 / 256)
    assert measured.focus == 0
    assert measured.entropy == 8
    assert (measured.p1, measured.p5, measured.p95, measured.p99) == (2, 12, 243, 253)


def test_a_single_step():
    image = np.zeros((100, 100))
    image[:, 50:] = 200
    measured = grey_image(image)
    assert measured.sharpness_variance == 2 * 200**2 / 100
    # Laplacian 200 and -200 in two of the 98 inner columns, gradient 100 in the same two.
    assert measured.focus == pytest.approx((2 * 200**2 / 98) / (2 * 100**2 / 98 + FOCUS_FLOOR))


def test_a_single_colour():
    measured = measure_content(encoded(np.full((9, 9, 3), [51, 102, 204])))
    assert (measured.red_avg, measured.green_avg, measured.blue_avg) == (0.2, 0.4, 0.8)
    assert measured.brightness == pytest.approx((0.2 + 0.4 + 0.8) / 3)
    mean = (51 + 102 + 204) / 3
    deviation = math.sqrt(((51 - mean) ** 2 + (102 - mean) ** 2 + (204 - mean) ** 2) / 3)
    assert measured.contrast == pytest.approx(deviation / 127.5)


@pytest.mark.parametrize("size", [(480, 640), (641, 1923), (1537, 961)])
def test_focus_is_the_same_for_all_eight_turns(size):
    grey = np.random.default_rng(3).integers(0, 256, size, dtype=np.uint8)
    values = set()
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        # Stored so that all are displayed alike.
        back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
        turn = Image.Exif()
        turn[0x0112] = back
        picture = Image.fromarray(grey)
        picture.info["exif"] = turn.tobytes()
        target = io.BytesIO()
        picture.save(target, "PNG", exif=turn, **QUICKLY)
        stored = ImageOps.exif_transpose(Image.open(target))
        stored.info.clear()
        target = io.BytesIO()
        stored.save(target, "PNG", exif=exif, **QUICKLY)
        values.add(round(measure_content(target.getvalue()).focus, 12))
    assert len(values) == 1


def test_focus_of_a_transposed_grid_is_the_same():
    grey = np.random.default_rng(6).integers(0, 256, (77, 130), dtype=np.uint8)
    turned = np.ascontiguousarray(grey.T)
    assert focus_of(turned) == pytest.approx(focus_of(grey), rel=1e-12)
    assert focus_of(grey.astype(np.float32)) == pytest.approx(focus_of(grey), rel=1e-12)


# ---- files


def test_a_changed_file_is_refused(tmp_path):
    path = Path(shutil.copyfile(DATA / "pillow/hopper.jpg", tmp_path / "a.jpg"))
    status = path.stat()
    expected = (status.st_size, status.st_mtime_ns)
    assert measure_image(path, expected=expected) == measure_image(path)
    os.utime(path, ns=(0, status.st_mtime_ns + 1000))
    with pytest.raises(ImageError, match="visionflows run ingest-project") as caught:
        measure_image(path, expected=expected)
    assert caught.value.code is ImageErrorCode.CHANGED


def test_limits_are_kept():
    with pytest.raises(ImageError) as caught:
        measure_image(DATA / "pillow/hopper.jpg", ImageLimits(max_pixels=128 * 128 - 1))
    assert caught.value.code is ImageErrorCode.TOO_LARGE


def test_threads_do_not_disturb_each_other():
    prepare_worker_thread()
    paths = sorted((DATA / "exif-orientation").glob("*.jpg"))
    paths += sorted((DATA / "imagededup/tests/data/base_images").glob("*.jpg"))
    alone = [measure_image(path) for path in paths]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(measure_image, paths)) == alone


def test_two_threads_stay_below_400_mib_at_12_megapixels(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
    large = Image.fromarray(rgb).resize((4000, 3000), Image.Resampling.BILINEAR)
    large.save(tmp_path / "large.jpg", quality=90)
    script = """
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        from tasks.quality.pixels.measurements import measure_image
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(measure_image, [Path(sys.argv[1])] * 6))
        # Not getrusage: its maximum survives exec, so it would be that of the tests.
        [peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
        print(peak.split()[1])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path / "large.jpg"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) / 1024 < 400


# ---- the default threshold of focus


def test_no_davis_frame_is_called_blurred():
    for path in (DATA / "davis-frames").rglob("*.jpg"):
        assert measure_image(path).focus >= DEFAULT_FOCUS_THRESHOLD


@pytest.mark.parametrize("share", [0.004, 0.008])
def test_blurred_photographs_are_called_blurred(share):
    for name in ("Landscape_1", "Portrait_1"):
        with Image.open(DATA / f"exif-orientation/{name}.jpg") as picture:
            soft = picture.filter(ImageFilter.GaussianBlur(share * picture.width))
            assert measure_content(encoded(np.asarray(soft))).focus < DEFAULT_FOCUS_THRESHOLD
            assert measure_content(encoded(np.asarray(picture))).focus > DEFAULT_FOCUS_THRESHOLD


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for name in ("ramp.png", "ramp.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        measured = measure_image(tmp_path / name)
        assert measured.mode == "I;16"
        assert measured.brightness == pytest.approx(0.5)
        assert (measured.p1, measured.p99) == (2, 253)
        assert measured.red_avg == measured.green_avg == measured.blue_avg == 0.5
