"""How the bytes of requests come in: in pieces so small that a hundred uploads need no memory."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# A connection holds a few of them: what was read, what the parser has, what is being written.
PIECE_BYTES = 64 << 10


class SmallPieces(H11Protocol):
    """HTTP as uvicorn speaks it, from reads of 64 kB where asyncio takes 256."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with a connection."""
        pieces: Any = transport
        pieces.max_size = PIECE_BYTES  # asyncio's transports have it as an attribute of the class
        super().connection_made(transport)
