"""The masks of Label Studio's brush: a stream of bits with runs of the bytes of an RGBA picture."""

from __future__ import annotations

import numpy as np

from tasks.labels.formats.mask_pictures.masks import Mask, MaskError, check_mask_size

# A drawn mask takes some ten thousand bytes; each is read bit by bit.
MAX_BRUSH_BYTES = 16 << 20
_CHANNELS, _ALPHA = 4, 3


def decode_brush(values: object, height: int, width: int) -> Mask:
    """Decode a mask: its pixels are those that are not transparent, uint8 (height, width), 0 or 1.

    The stream begins with the number of bytes (32 bits), the bits of a byte less 1 (5), and the
    bits of four sizes of lengths less 1 (4 each). Then come blocks: whether it is a run (1 bit),
    which size its length has (2), its length less 1, and one byte, or as many as it is long.

    Raises:
        MaskError: the mask is too large, or the stream is not of it.
    """
    check_mask_size(height, width)
    if not isinstance(values, list) or len(values) > MAX_BRUSH_BYTES:
        raise MaskError(f"the run lengths are no list of at most {MAX_BRUSH_BYTES} bytes")
    try:
        stream = _Bits(bytes(values))
    except (TypeError, ValueError):
        raise MaskError("the run lengths are not bytes") from None
    count = stream.take(32)
    if count != height * width * _CHANNELS:
        raise MaskError(f"it has {count} bytes, not {_CHANNELS} for each of its pixels")
    word = stream.take(5) + 1
    sizes = [stream.take(4) + 1 for _ in range(4)]
    pixels = np.zeros(count, np.uint8)
    position = 0
    while position < count:
        is_run = stream.take(1)
        length = stream.take(sizes[stream.take(2)]) + 1
        if position + length > count:
            raise MaskError("the runs are longer than the mask")
        if is_run:
            pixels[position : position + length] = min(stream.take(word), 255)
        else:
            for step in range(position, position + length):
                pixels[step] = min(stream.take(word), 255)
        position += length
    mask: Mask = (pixels[_ALPHA::_CHANNELS].reshape(height, width) > 0).astype(np.uint8)
    return mask


class _Bits:
    """Takes numbers from a sequence of bytes, the highest bit first."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._next = 0

    def take(self, bits: int) -> int:
        """Take the next number of so many bits."""
        first, end = self._next, self._next + bits
        self._next = end
        if end > 8 * len(self._content):
            raise MaskError("the run lengths end too early")
        whole = int.from_bytes(self._content[first // 8 : (end + 7) // 8], "big")
        return (whole >> (-end % 8)) & ((1 << bits) - 1)
