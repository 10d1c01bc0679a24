"""The way to a Dask scheduler, or one line that says why there is none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from bsr.machine.capacity import usable_cores
from bsr.text import Refused, printable
from bsr.text.strict_json import LONGEST_LINE, one_line

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

CONNECT_SECONDS: Final = 10


class ClusterError(Refused):
    """The cluster cannot be used as asked; the message says expected, got, remedy."""


class _UncertifiedError(Exception):
    """Dask's configuration has no certificate to show."""


def connect(address: str, wait: float) -> tuple[Client, LocalCluster | None]:
    """A client of the scheduler at `address`; for `local`, of a cluster started here, one worker per core.

    A connection that is lost later is tried anew for `wait` seconds. Raises ClusterError.
    """
    try:
        from distributed import Client, LocalCluster  # noqa: PLC0415 - the optional extra
    except ImportError as error:
        raise ClusterError(
            f"expected dask.distributed, got {error}; install it with: pip install distributed"
        ) from error
    try:
        if address != "local":
            _knock(address)
            return Client(address, timeout=wait, set_as_default=False), None
        started = LocalCluster(
            n_workers=usable_cores(), threads_per_worker=1, processes=True, dashboard_address=":0"
        )
        return Client(started, timeout=wait, set_as_default=False), started
    except _UncertifiedError as error:
        raise ClusterError(str(error)) from error
    except Exception as error:
        shown = printable(repr(address), 200)
        raise ClusterError(
            f"expected a Dask scheduler at {shown}, got {_got(error)}; {_remedy(address)}"
        ) from error


def _got(error: Exception) -> str:
    """What was found in a scheduler's place, which may say anything, whereupon Dask raises anything."""
    known = isinstance(error, (OSError, ValueError, RuntimeError, TimeoutError))
    got = printable(" ".join(str(error).split()), LONGEST_LINE) if known else one_line(error)
    got = got or "something else that listens there"
    if error.__cause__ is not None and str(error.__cause__) not in got:
        got += f" ({one_line(error.__cause__)})"
    return got


def _remedy(address: str) -> str:
    """What helps where nothing answers: a scheduler, or the certificate that it asks for."""
    if address.startswith("tls://"):
        return "start one with: dask scheduler --protocol tls, with the same certificates there as here"
    return "start one with: dask scheduler, or use --bsr-dask local; one that has TLS is at tls://"


def _knock(address: str) -> None:
    """See that a scheduler answers: a client that waits for one in vain neither gives up nor lets go.

    Raises OSError, TimeoutError, RuntimeError for tcp:// where Dask's configuration asks for encryption,
    ValueError for what is no address.
    """
    from distributed.comm.core import connect as open_comm  # noqa: PLC0415
    from distributed.security import Security  # noqa: PLC0415

    async def knock() -> None:
        arguments = Security().get_connection_args("client")
        if address.startswith("tls://") and arguments["ssl_context"] is None:
            raise _UncertifiedError(
                f"expected this machine's certificate for {address}, got none in Dask's configuration; name "
                "it as distributed.comm.tls.ca-file, .client.cert and .client.key, see docs/cluster.md"
            )
        comm = await asyncio.wait_for(
            open_comm(address, timeout=CONNECT_SECONDS, **arguments), CONNECT_SECONDS + 1
        )
        comm.abort()

    asyncio.run(knock())


def open_door(client: Client) -> str:
    """The warning for a scheduler that runs the code of whoever reaches any of its machine's addresses."""

    def listening(dask_scheduler: Any) -> list[str]:  # in here, so that the scheduler needs no bsr to read it
        return [listener.listen_address for listener in dask_scheduler.listeners]

    try:
        asked = client.run_on_scheduler(listening, callback_timeout=CONNECT_SECONDS)
    except Exception:  # noqa: BLE001 - a scheduler may refuse to say
        return ""
    open_to_all = [address for address in asked if address.startswith(("tcp://0.0.0.0:", "tcp://[::]:"))]
    if not open_to_all:
        return ""
    return (
        f"the Dask scheduler listens at {open_to_all[0]}, on every interface and without TLS: whoever "
        "reaches it runs code as you do; start it with --host ADDRESS or with TLS, see docs/cluster.md"
    )
