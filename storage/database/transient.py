"""Which failures may pass by themselves: the one rule by which something is tried again."""

from __future__ import annotations

import errno

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from storage.errors import TransientError, VisionflowsError

# Errors of others have no base class of ours: lost connections and locks, memory, failing disks.
_CONNECTIONS_AND_LOCKS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.TransactionRollback,
)
_OF_OTHERS = (*_CONNECTIONS_AND_LOCKS, PoolTimeoutError, MemoryError, OSError)
# A file that is not there, or not for us to read, will not be there in a second either.
_LASTING = (
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


def is_full_disk(error: object) -> bool:
    """Whether there was no room to write, on our side of the database."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help; bad input is never transient.

    An error of ours says so by its base class, `TransientError`.
    """
    if isinstance(error, VisionflowsError):
        return isinstance(error, TransientError)
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.errors.DiskFull) or is_full_disk(cause):
        return False  # nobody makes room within seconds
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error.orig, _CONNECTIONS_AND_LOCKS)
    return isinstance(error, _OF_OTHERS) and not isinstance(error, _LASTING)
