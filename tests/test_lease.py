"""One writer a warehouse: who holds it, who may take it, and what happens to the others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from webscale_rl.errors import OvertakenError, WarehouseBusyError
from webscale_rl.storage import lease as lease_module
from webscale_rl.storage.lease import Lease, holder, process_start
from webscale_rl.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def place(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Warehouse]:
    """Opens the module's one warehouse once more, as another run would."""
    location = str(tmp_path_factory.mktemp("lease") / "wh")
    Warehouse(spark, location).prepare()
    return lambda: Warehouse(spark, location)


def set_holder(warehouse: Warehouse, **values: str) -> None:
    changes = ", ".join(f"{name} = {value}" for name, value in values.items())
    warehouse.execute(f"UPDATE {{lease}} SET {changes}", lease="lease")


def test_take_refuse_release(place: Callable[[], Warehouse]) -> None:
    first = Lease.take(place())
    assert first.epoch == 1
    with pytest.raises(WarehouseBusyError) as caught:
        Lease.take(place())
    message = str(caught.value)
    assert f"held by run 1 (process {os.getpid()} on " in message
    assert "since 20" in message
    assert "--take-over" in message
    assert "\n" not in message
    held = holder(place())
    assert held is not None
    assert f"process {os.getpid()}" in held
    first.check()
    first.release()
    assert holder(place()) is None
    with pytest.raises(OvertakenError):
        first.check()
    second = Lease.take(place())
    assert second.epoch == 2, "the epoch grows by one"
    second.release()


def test_taking_over_and_releasing_late(place: Callable[[], Warehouse]) -> None:
    old = Lease.take(place())
    new = Lease.take(place(), force=True)
    assert new.epoch == old.epoch + 1
    with pytest.raises(OvertakenError, match=f"run {new.epoch} on "):
        old.check()
    old.release()
    new.check()
    assert holder(place()) is not None, "a late release frees nobody else's lease"
    new.release()


def test_a_dead_holder_is_told_from_a_living_one(
    place: Callable[[], Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease.take(place())
    warehouse = place()
    # Its process is gone: the next run takes it without being told to.
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    set_holder(warehouse, pid=str(ended.pid))
    assert holder(warehouse) is None
    lease = Lease.take(place())
    # Its number was given to a process that started later.
    set_holder(warehouse, pid_started="'another boot/1'")
    lease = Lease.take(place())
    # On another machine only its heartbeat tells.
    set_holder(warehouse, host="'elsewhere'")
    with pytest.raises(WarehouseBusyError, match="on elsewhere"):
        Lease.take(place())
    monkeypatch.setattr(lease_module, "LEASE_SECONDS", -1.0)
    lease = Lease.take(place())
    lease.release()


def test_the_heartbeat_goes_on(place: Callable[[], Warehouse], monkeypatch: pytest.MonkeyPatch) -> None:
    beaten = threading.Event()
    execute = Warehouse.execute
    calls: list[str] = []

    def counting(self: Warehouse, statement: str, **tables: str) -> None:
        if threading.current_thread().name == "lease-heartbeat":
            calls.append(statement)
            if len(calls) == 1:
                raise lease_module.SPARK_ERRORS[0]("a beat that fails")
            beaten.set()
        execute(self, statement, **tables)

    monkeypatch.setattr(Warehouse, "execute", counting)
    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.05)
    lease = Lease.take(place())
    try:
        assert beaten.wait(30), "one beat that fails ends the heart"
    finally:
        lease.release()


def test_of_many_at_once_one_gets_it(spark: SparkSession, tmp_path: Path) -> None:
    # A new warehouse: even the row of the lease is not there yet.
    location = str(tmp_path / "wh")
    Warehouse(spark, location).prepare()
    start = threading.Barrier(3)
    got: list[Lease] = []
    refused: list[BaseException] = []

    def take() -> None:
        warehouse = Warehouse(spark, location)
        start.wait()
        try:
            got.append(Lease.take(warehouse))
        except WarehouseBusyError as error:
            refused.append(error)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert len(refused) == 2
    assert Warehouse(spark, location).read("lease").count() == 1
    got[0].check()
    got[0].release()


def test_process_start_names_a_living_process() -> None:
    mine = process_start(os.getpid())
    assert mine is not None
    assert process_start(os.getpid()) == mine
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    assert process_start(ended.pid) is None
