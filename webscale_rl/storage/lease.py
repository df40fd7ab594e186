"""One writer a warehouse: a run takes an epoch by a conditional update, and gives it back at its end.

A holder that was killed is recognised at once on its own host (its process is gone), elsewhere when
its heartbeat is older than the lease time. Delta lets only one of two concurrent updates of the same
row commit, so two runs never get the same epoch.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import Row

from webscale_rl.errors import OvertakenError, WarehouseBusyError
from webscale_rl.spark.errors import SPARK_ERRORS
from webscale_rl.storage.tables import LEASE

if TYPE_CHECKING:
    from webscale_rl.storage.warehouse import Warehouse

HEARTBEAT_SECONDS = 60.0
LEASE_SECONDS = 600.0


def process_start(pid: int) -> str | None:
    """Boot and start time of a process of this machine, or None where it does not run.

    Together they tell a process from a later one that got the same number.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stat = Path(f"/proc/{pid}/stat").read_text()
        fields = stat.rpartition(")")[2].split()
    except OSError:
        if not Path("/proc/self/stat").exists():  # no /proc (macOS): the number alone must do
            try:
                os.kill(pid, 0)
            except (ProcessLookupError, PermissionError):
                return None
            return "unknown"
        return None
    if fields[0] == "Z":
        return None
    return f"{boot}/{fields[19]}"


class Lease:
    """This run's hold on a warehouse; use `take`, then `release`."""

    def __init__(self, warehouse: Warehouse, epoch: int, run_id: str) -> None:
        self.warehouse = warehouse
        self.epoch = epoch
        self.run_id = run_id
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def take(cls, warehouse: Warehouse, force: bool = False) -> Lease:
        """Take the warehouse for a new run.

        Args:
            force: take it even from a holder that seems alive (`--take-over`).

        Raises:
            WarehouseBusyError: another run holds it; the message says who and since when.
            WarehouseError: a package that is newer than this one wrote it.
        """
        if warehouse.exists(LEASE.name):
            # An older one is migrated by whoever has taken it.
            warehouse.schema_version(LEASE.name)
        else:
            warehouse.create(LEASE)
        row = _read(warehouse)
        if row is None:
            _insert_first(warehouse)
            row = _read(warehouse)
            assert row is not None
        if row["run_id"] is not None and not force and _is_alive(row):
            raise _busy(row)
        run_id = uuid.uuid4().hex
        epoch = int(row["epoch"]) + 1
        pid = os.getpid()
        try:
            warehouse.execute(
                f"UPDATE {{lease}} SET epoch = {epoch}, run_id = '{run_id}', "
                f"host = '{_host()}', pid = {pid}, pid_started = '{process_start(pid)}', "
                f"since = current_timestamp(), heartbeat = current_timestamp() "
                f"WHERE epoch = {row['epoch']}",
                lease="lease",
            )
        except SPARK_ERRORS as error:
            if "Concurrent" not in str(error) and "CONCURRENT" not in str(error):
                raise
        now = _read(warehouse)
        if now is None or now["run_id"] != run_id:
            raise _busy(now) if now is not None else WarehouseBusyError("the lease is gone")
        lease = cls(warehouse, epoch, run_id)
        warehouse.lease = lease
        lease._start_heartbeat()
        return lease

    def check(self) -> None:
        """See that this run still holds the warehouse.

        Raises:
            OvertakenError: a newer run has taken it.
        """
        row = _read(self.warehouse)
        if row is None or row["run_id"] != self.run_id:
            by = f"run {row['epoch']} on {row['host']}" if row is not None else "another run"
            raise OvertakenError(f"the warehouse was taken by {by}: this run writes nothing more")

    def release(self) -> None:
        """Give the warehouse back; a lease that was overtaken is left alone."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30)
        with contextlib.suppress(*SPARK_ERRORS):
            self.warehouse.execute(
                "UPDATE {lease} SET run_id = NULL, heartbeat = current_timestamp() "
                f"WHERE run_id = '{self.run_id}'",
                lease="lease",
            )
        self.warehouse.lease = None

    def _start_heartbeat(self) -> None:
        def beat() -> None:
            while not self._stop.wait(HEARTBEAT_SECONDS):
                # A missed beat is no failure: the lease time is ten of them.
                with contextlib.suppress(*SPARK_ERRORS):
                    self.warehouse.execute(
                        "UPDATE {lease} SET heartbeat = current_timestamp() "
                        f"WHERE run_id = '{self.run_id}'",
                        lease="lease",
                    )

        self._thread = threading.Thread(target=beat, name="lease-heartbeat", daemon=True)
        self._thread.start()


def holder(warehouse: Warehouse) -> str | None:
    """Who holds the warehouse and since when, in words; None when it is free."""
    if not warehouse.exists("lease"):
        return None
    row = _read(warehouse)
    if row is None or row["run_id"] is None or not _is_alive(row):
        return None
    return f"run {row['epoch']} (process {row['pid']} on {row['host']}, since {row['since']} UTC)"


def _host() -> str:
    return "".join(c for c in socket.gethostname() if c.isalnum() or c in "-._")


def _read(warehouse: Warehouse) -> Row | None:
    rows = warehouse.read("lease").collect()
    return rows[0] if rows else None


def _insert_first(warehouse: Warehouse) -> None:
    # MERGE reads the table, so of two first runs at once only one inserts the row.
    with contextlib.suppress(*SPARK_ERRORS):
        warehouse.execute(
            "MERGE INTO {lease} AS t USING (SELECT 0L AS epoch) AS s ON t.epoch >= s.epoch "
            "WHEN MATCHED THEN UPDATE SET epoch = t.epoch "
            "WHEN NOT MATCHED THEN INSERT (epoch) VALUES (s.epoch)",
            lease="lease",
        )


def _is_alive(row: Row) -> bool:
    if row["host"] == _host():
        started = process_start(int(row["pid"]))
        return started is not None and started == row["pid_started"]
    # Spark hands timestamps over as naive datetimes of the machine's own zone.
    age = datetime.now(UTC) - row["heartbeat"].astimezone(UTC)
    return age < timedelta(seconds=LEASE_SECONDS)


def _busy(row: Row) -> WarehouseBusyError:
    return WarehouseBusyError(
        f"the warehouse is held by run {row['epoch']} (process {row['pid']} on {row['host']}, "
        f"since {row['since']:%Y-%m-%d %H:%M:%S}): wait for it, or pass --take-over if it is dead"
    )
