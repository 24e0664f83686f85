"""The one thing that pyproject.toml cannot say everywhere: optional extensions in C.

Its own table there is known only to recent releases of setuptools, which call it experimental.
"""

import sys

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            f"tasks.quality.{folder}._{name}",
            [f"tasks/quality/{folder}/{name}.c"],
            depends=["tasks/quality/pixels/checked_arrays.h"],
            # Vectorised loops, which Python's own flags do not always ask for.
            extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
            py_limited_api=True,
            # Without a compiler NumPy and OpenCV do the same work.
            optional=True,
        )
        for folder, name in (("pixels", "pixel_kernels"), ("similar", "hash_kernels"))
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
