"""NVML: the only module that speaks to it. Milliwatts and millijoules as NVML has them, named so.

Locked clocks, not application clocks (deprecated since CUDA 13), and always a range from the lowest supported
clock, so that an idle GPU may still clock down. Never memory clocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pynvml

from joulery.agent.gpu import GpuError, GpuFacts, GpuReading, GpuTrouble, widest_step_mhz
from joulery.errors import DeviceError

_T = TypeVar("_T")

# NVML's code, what it means here, and what to do about it.
_TROUBLES: dict[int, tuple[GpuTrouble, str]] = {
    pynvml.NVML_ERROR_NO_PERMISSION: (
        GpuTrouble.NOT_PERMITTED,
        "run the agent as uid 0 with the SYS_ADMIN capability, in the host's user namespace",
    ),
    pynvml.NVML_ERROR_NOT_SUPPORTED: (
        GpuTrouble.NOT_SUPPORTED,
        "it cannot lock clocks (older than Volta, MIG slice, vGPU guest); take Clocks from the pool's knobs",
    ),
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: (
        GpuTrouble.NOT_SUPPORTED,
        "the driver's libnvidia-ml.so.1 lacks this call; upgrade the NVIDIA driver",
    ),
    pynvml.NVML_ERROR_GPU_IS_LOST: (GpuTrouble.LOST, "the GPU fell off the bus; reset it or reboot the node"),
    pynvml.NVML_ERROR_NOT_FOUND: (GpuTrouble.LOST, "the GPU is gone from this node; the agent must restart"),
    pynvml.NVML_ERROR_RESET_REQUIRED: (GpuTrouble.LOST, "the GPU needs a reset"),
    pynvml.NVML_ERROR_TIMEOUT: (GpuTrouble.OTHER, "the driver timed out; it is tried again"),
    pynvml.NVML_ERROR_INVALID_ARGUMENT: (
        GpuTrouble.OTHER,
        "the driver refused the clock; compare `nvidia-smi -q -d SUPPORTED_CLOCKS`",
    ),
    pynvml.NVML_ERROR_UNKNOWN: (
        GpuTrouble.LOST,
        "devices may have vanished from the container after a systemd reload; restart the agent, prefer CDI",
    ),
}
_NO_CURE = (GpuTrouble.OTHER, "see the NVIDIA driver's log on the node")


class Nvml:
    """The library, initialised once per process: repeated initialisation was seen to hang."""

    def __init__(self) -> None:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise DeviceError(
                f"NVML cannot be used on this node: {error}; is the NVIDIA driver loaded and "
                "libnvidia-ml.so.1 visible to the agent (runtimeClassName nvidia, capability `utility`)?"
            ) from error

    def driver_version(self) -> str:
        """The driver's version."""
        return str(_ask("the driver", "reading its version", pynvml.nvmlSystemGetDriverVersion))

    def devices(self) -> tuple[NvmlGpu, ...]:
        """All GPUs of the node, by index. Raises GpuError where one does not answer."""
        count = int(_ask("the driver", "counting GPUs", pynvml.nvmlDeviceGetCount))
        return tuple(NvmlGpu(index) for index in range(count))

    def close(self) -> None:
        """Release the driver, which an open NVML would keep from being unloaded."""
        pynvml.nvmlShutdown()


class NvmlGpu:
    """One GPU, known by its UUID: indices change."""

    def __init__(self, index: int) -> None:
        name = f"GPU {index}"
        handle = _ask(name, "opening it", lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
        uuid = str(_ask(name, "reading its UUID", lambda: pynvml.nvmlDeviceGetUUID(handle)))
        product = str(_ask(name, "reading its name", lambda: pynvml.nvmlDeviceGetName(handle)))
        clocks = _ask(name, "listing its clocks", lambda: _supported_clocks_mhz(handle))
        self._handle = handle
        self._facts = GpuFacts(uuid, index, product, clocks, widest_step_mhz(clocks))

    @property
    def facts(self) -> GpuFacts:
        """The GPU's facts."""
        return self._facts

    def lock(self, highest_mhz: int) -> None:
        """Lock the range [lowest supported, `highest_mhz`]; success means accepted, not reached."""
        lowest = self._facts.clocks_mhz[0]
        what = f"locking clocks to {lowest}-{highest_mhz} MHz"
        self._write(what, lambda handle: pynvml.nvmlDeviceSetGpuLockedClocks(handle, lowest, highest_mhz))

    def reset(self) -> None:
        """Back to default clocks."""
        self._write("resetting clocks", pynvml.nvmlDeviceResetGpuLockedClocks)

    def read(self) -> GpuReading:
        """What the GPU shows."""
        name, handle = self._facts.uuid, self._handle
        get_clock, get_reasons = pynvml.nvmlDeviceGetClockInfo, pynvml.nvmlDeviceGetCurrentClocksEventReasons
        get_energy = pynvml.nvmlDeviceGetTotalEnergyConsumption
        reasons = _if_supported(name, "reading event reasons", lambda: get_reasons(handle))
        return GpuReading(
            sm_clock_mhz=int(
                _ask(name, "reading its clock", lambda: get_clock(handle, pynvml.NVML_CLOCK_SM))
            ),
            power_mw=_if_supported(name, "reading power", lambda: pynvml.nvmlDeviceGetPowerUsage(handle)),
            energy_mj=_if_supported(name, "reading energy", lambda: get_energy(handle)),
            event_reasons=reasons or 0,
        )

    def _write(self, what: str, call: Callable[[Any], object]) -> None:
        """Resolve the UUID anew before each write: handles go stale when GPUs come and go."""
        uuid = self._facts.uuid
        self._handle = _ask(uuid, "finding it", lambda: pynvml.nvmlDeviceGetHandleByUUID(uuid))
        _ask(uuid, what, lambda: call(self._handle))


def _supported_clocks_mhz(handle: Any) -> tuple[int, ...]:
    """Graphics clocks at the highest memory clock, the list that NVML names as arguments of a lock."""
    memory = max(pynvml.nvmlDeviceGetSupportedMemoryClocks(handle))
    return tuple(sorted({int(c) for c in pynvml.nvmlDeviceGetSupportedGraphicsClocks(handle, memory)}))


def _ask(name: str, what: str, call: Callable[[], _T]) -> _T:
    try:
        return call()
    except pynvml.NVMLError as error:
        trouble, cure = _TROUBLES.get(error.value, _NO_CURE)
        raise GpuError(f"{name}: {what}: {error}; {cure}", trouble) from error


def _if_supported(name: str, what: str, call: Callable[[], int]) -> int | None:
    try:
        return int(_ask(name, what, call))
    except GpuError as error:
        if error.trouble is GpuTrouble.NOT_SUPPORTED:
            return None
        raise
