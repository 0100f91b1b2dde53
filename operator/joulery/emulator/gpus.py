"""The emulator's side of the NVML shim: one mapped file holds the GPUs of one node.

Mirrors `nvml_shim/shared.h`. The shim writes locks, the emulator what the GPUs show, tests write faults.
"""

from __future__ import annotations

import mmap
import os
import struct
import uuid
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

from joulery.errors import ConfigError

_MAGIC = 0x5350474A
_VERSION = 1
_MAX_GPUS = 16
_HEADER = struct.Struct("<12IQ32s")
_HEADER_BYTES = 256
_GPU_BYTES = 256
_FILE_BYTES = _HEADER_BYTES + _MAX_GPUS * _GPU_BYTES
_INIT_CALLS_AT = 48
_DRIVER_MISSING_AT = 12
_LOCK_AT = 128
_SET_CALLS_AT = 136
_RESET_CALLS_AT = 144
# energy, memory total, memory used, reasons; clock, power, temperature, utilisation
_SHOWN = struct.Struct("<4Q4I")
_SHOWN_AT = 152
_IDENTITY = struct.Struct("<64s64s")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_NAMESPACE = uuid.UUID("6a6f756c-6572-5900-8000-000000000001")


class Fault(IntEnum):
    """Switches of one GPU, by their place in the file; HANG takes milliseconds, the others 0 or 1."""

    NO_PERMISSION = 200
    LOST = 204
    NOT_SUPPORTED = 208
    HANG_MS = 212


@dataclass(frozen=True, slots=True)
class GpuModel:
    """What all GPUs of a node have in common.

    Defaults are an H100 SXM's: top 1980 MHz and memory 2619 MHz as published; the floor of 210 MHz in steps
    of 15 MHz is that of the PCIe part.
    """

    name: str = "NVIDIA H100 80GB HBM3"
    lowest_mhz: int = 210
    step_mhz: int = 15
    highest_mhz: int = 1980
    memory_mhz: int = 2619
    power_min_w: int = 200
    power_default_w: int = 700
    power_max_w: int = 700
    memory_bytes: int = 80 * 2**30
    idle_clock_mhz: int = 345
    idle_w: float = 70.0
    driver_version: str = "580.95.05"


@dataclass(frozen=True, slots=True)
class ClockLock:
    """The range an agent locked."""

    lowest_mhz: int
    highest_mhz: int


@dataclass(frozen=True, slots=True)
class Shown:
    """What one GPU shows to NVML; energy in joules since the file was made."""

    clock_mhz: int
    power_w: float
    energy_j: float
    temperature_c: int = 40
    utilization_percent: int = 0
    memory_used_bytes: int = 0
    event_reasons: int = 0


class NodeGpus:
    """The mapped GPUs of one node. Not thread-safe; one writer of `show` per GPU."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size < _FILE_BYTES:
                raise ConfigError(f"{path} is no GPU state file: too short; create it with NodeGpus.create")
            self._map = mmap.mmap(file.fileno(), _FILE_BYTES)
        magic, version, count = struct.unpack_from("<3I", self._map, 0)
        if (magic, version) != (_MAGIC, _VERSION):
            raise ConfigError(
                f"{path} is no GPU state file of version {_VERSION}; delete it and create it anew"
            )
        self.uuids: tuple[str, ...] = tuple(self._uuid(index) for index in range(count))
        self._memory_total = [self._u64(index, _SHOWN_AT + 8) for index in range(count)]

    @classmethod
    def create(cls, path: Path, node: str, gpus: int, model: GpuModel | None = None) -> Self:
        """Make the file of `gpus` idle GPUs; UUIDs follow from the node's name, so restarts find the same."""
        if not 0 <= gpus <= _MAX_GPUS:
            raise ConfigError(f"node {node}: {gpus} GPUs asked for, the shim holds at most {_MAX_GPUS}")
        made = model or GpuModel()
        blocks = b"".join(_gpu_block(node, index, made) for index in range(gpus))
        scratch = path.with_name(path.name + ".new")
        scratch.write_bytes((_header_block(gpus, made) + blocks).ljust(_FILE_BYTES, b"\0"))
        scratch.replace(path)
        return cls(path)

    def close(self) -> None:
        """Unmap; the file stays."""
        self._map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def lock(self, index: int) -> ClockLock | None:
        """The range that is locked now, None without a lock."""
        packed = self._u64(index, _LOCK_AT)
        return ClockLock(packed & 0xFFFFFFFF, packed >> 32) if packed else None

    def set_lock(self, index: int, lock: ClockLock | None) -> None:
        """Lock as another program on the node would."""
        packed = lock.highest_mhz << 32 | lock.lowest_mhz if lock else 0
        _U64.pack_into(self._map, self._at(index, _LOCK_AT), packed)

    def show(self, index: int, shown: Shown) -> None:
        """Write what NVML answers from now on."""
        _SHOWN.pack_into(
            self._map,
            self._at(index, _SHOWN_AT),
            int(shown.energy_j * 1e3),
            self._memory_total[index],
            shown.memory_used_bytes,
            shown.event_reasons,
            shown.clock_mhz,
            round(shown.power_w * 1e3),
            shown.temperature_c,
            shown.utilization_percent,
        )

    def shown(self, index: int) -> Shown:
        """What NVML answers now."""
        energy_mj, _, memory, reasons, clock, power_mw, temperature, utilization = _SHOWN.unpack_from(
            self._map, self._at(index, _SHOWN_AT)
        )
        return Shown(clock, power_mw / 1e3, energy_mj / 1e3, temperature, utilization, memory, reasons)

    def set_calls(self, index: int) -> int:
        """Lock calls that reached the GPU, refused ones included."""
        return self._u64(index, _SET_CALLS_AT)

    def reset_calls(self, index: int) -> int:
        """Reset calls that reached the GPU, refused ones included."""
        return self._u64(index, _RESET_CALLS_AT)

    def init_calls(self) -> int:
        """How often NVML was initialised on this node."""
        return int(_U64.unpack_from(self._map, _INIT_CALLS_AT)[0])

    def set_fault(self, index: int, fault: Fault, value: int = 1) -> None:
        """Switch a fault on, or off with 0."""
        _U32.pack_into(self._map, self._at(index, fault), value)

    def set_driver_missing(self, missing: bool) -> None:
        """Make `nvmlInit` fail in processes that start from now on."""
        _U32.pack_into(self._map, _DRIVER_MISSING_AT, int(missing))

    def _at(self, index: int, offset: int) -> int:
        if not 0 <= index < len(self.uuids):
            raise IndexError(f"{self.path} holds {len(self.uuids)} GPUs, not a GPU {index}")
        return _HEADER_BYTES + index * _GPU_BYTES + offset

    def _uuid(self, index: int) -> str:
        raw, _ = _IDENTITY.unpack_from(self._map, _HEADER_BYTES + index * _GPU_BYTES)
        return bytes(raw).rstrip(b"\0").decode()

    def _u64(self, index: int, offset: int) -> int:
        return int(_U64.unpack_from(self._map, self._at(index, offset))[0])


def gpu_uuid(node: str, index: int) -> str:
    """The UUID of one emulated GPU."""
    return f"GPU-{uuid.uuid5(_NAMESPACE, f'{node}/{index}')}"


def _header_block(gpus: int, model: GpuModel) -> bytes:
    clocks = (model.lowest_mhz, model.step_mhz, model.highest_mhz, model.memory_mhz)
    limits_mw = (model.power_min_w * 1000, model.power_default_w * 1000, model.power_max_w * 1000)
    packed = _HEADER.pack(_MAGIC, _VERSION, gpus, 0, *clocks, *limits_mw, 0, 0, model.driver_version.encode())
    return packed.ljust(_HEADER_BYTES, b"\0")


def _gpu_block(node: str, index: int, model: GpuModel) -> bytes:
    identity = _IDENTITY.pack(gpu_uuid(node, index).encode(), model.name.encode())
    idle_mw = round(model.idle_w * 1000)
    shown = _SHOWN.pack(0, model.memory_bytes, 0, 0, model.idle_clock_mhz, idle_mw, 35, 0)
    return (identity + bytes(_SHOWN_AT - _LOCK_AT) + shown).ljust(_GPU_BYTES, b"\0")
