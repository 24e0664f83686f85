"""How flows are started: the `visionflows` command and the local environment of Prefect."""

import os

# The numeric libraries read these once, when they are imported, which any module below may do. One
# image per thread is the parallelism; a pool of threads inside each would fight over the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
