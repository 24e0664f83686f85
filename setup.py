"""The one thing that pyproject.toml cannot say everywhere: an optional extension in C.

Its own table there is known only to recent releases of setuptools, which call it experimental.
"""

import sys

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "tasks.quality.pixels._pixel_kernels",
            ["tasks/quality/pixels/pixel_kernels.c"],
            # Vectorised loops, which Python's own flags do not always ask for.
            extra_compile_args=[] if sys.platform == "win32" else ["-O3"],
            py_limited_api=True,
            # Without a compiler NumPy and OpenCV do the same work.
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
