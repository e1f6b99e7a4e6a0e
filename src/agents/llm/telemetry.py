"""What models and GPUs do now: hosts, memory, queues and cache of this process, and the GPUs of this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ...brokers.errors import BrokerError
from .breaker import BreakerState
from .model_client import LoadedModel
from .models import Models
from .pool import Host, Pool


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU now; a figure is None where the driver does not tell it. `load` is a share of 1, memory bytes, power
    watts, temperature degrees Celsius, energy joules since the driver was loaded."""

    name: str
    load: float | None
    memory_used: int | None
    memory_total: int | None
    power: float | None
    temperature: float | None
    energy: float | None


@dataclass(frozen=True, slots=True)
class GpuReport:
    """The GPUs of this machine. `absent` says why there are none to be seen, None when there are."""

    gpus: tuple[Gpu, ...]
    absent: str | None


@dataclass(frozen=True, slots=True)
class HostReport:
    """A server now. `trouble` is why it does not answer, None when it does; `models` are what it has on its disk."""

    backend: str
    url: str
    trouble: str | None
    models: tuple[str, ...] | None
    loaded: tuple[LoadedModel, ...] | None
    breaker: BreakerState
    under_way: int
    slots: int
    answered: int
    failed: int


@dataclass(frozen=True, slots=True)
class Telemetry:
    """All of it. `waiting` are questions in this process's queues, `asked` and `cached` its questions since it began;
    `spent` is USD of the UTC day, every process's."""

    hosts: tuple[HostReport, ...]
    gpu: GpuReport
    waiting: int
    asked: int
    cached: int
    spent: Decimal


def gpu_report() -> GpuReport:
    """Asks NVIDIA's driver, which takes some milliseconds. Never raises for a machine without one."""
    try:
        import pynvml
    except ImportError:
        return GpuReport((), "the package nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return GpuReport((), f"no GPU: {error}")
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        gpus = tuple(_gpu(pynvml, handle) for handle in handles)
        return GpuReport(gpus, None if gpus else "no GPU: the driver has none")
    except pynvml.NVMLError as error:
        return GpuReport((), f"the driver fails: {error}")
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, handle: Any) -> Gpu:
    def told(name: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, name)(handle, *arguments)
        except nvml.NVMLError:
            return None

    load, memory = told("nvmlDeviceGetUtilizationRates"), told("nvmlDeviceGetMemoryInfo")
    power, energy = told("nvmlDeviceGetPowerUsage"), told("nvmlDeviceGetTotalEnergyConsumption")
    name = told("nvmlDeviceGetName")
    temperature = told("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU)
    return Gpu(
        name.decode() if isinstance(name, bytes) else str(name),
        None if load is None else load.gpu / 100,
        None if memory is None else memory.used,
        None if memory is None else memory.total,
        None if power is None else power / 1000,
        None if temperature is None else float(temperature),
        None if energy is None else energy / 1000,
    )


async def host_reports(pools: Iterable[Pool]) -> tuple[HostReport, ...]:
    """Every host, asked now. A host that does not answer is a report, not an error."""
    return tuple([await _host(pool.backend, host) for pool in pools for host in pool.hosts])


async def _host(backend: str, host: Host) -> HostReport:
    trouble, models = None, None
    try:
        told = await host.client.models()
        models = None if told is None else tuple(told)
        host.loaded = await host.client.loaded()
    except BrokerError as error:
        trouble, host.loaded = str(error), None
    return HostReport(
        backend,
        host.client.url,
        trouble,
        models,
        host.loaded,
        host.breaker.state,
        host.under_way,
        host.slots,
        host.answered,
        host.failed,
    )


async def telemetry(models: Models) -> Telemetry:
    """Everything as it stands. Raises RequestFailed when the log cannot be read."""
    pools, ledger = list(models.pools.values()), models.ledger
    return Telemetry(
        await host_reports(pools),
        await ledger.on_disk(gpu_report),
        sum(pool.waiting for pool in pools),
        ledger.counts.asked,
        ledger.counts.cached,
        await ledger.on_disk(ledger.calls.spent),
    )
