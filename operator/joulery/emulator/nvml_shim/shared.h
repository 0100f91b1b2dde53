/* The GPUs of one emulated node: one file, mapped by the shim in every process that speaks NVML and by the emulator.
 *
 * Locks live here, so they outlive the process that set them, as they do in a driver. The emulator writes what a GPU
 * would show (clock, power, energy, memory); the shim writes locks and counts calls; tests write the faults.
 * `emulator/gpus.py` mirrors this layout: change both together and raise JOULERY_GPUS_VERSION.
 * Little-endian, naturally aligned, so each field is read and written whole.
 */
#ifndef JOULERY_SHARED_H
#define JOULERY_SHARED_H

#include <stdint.h>

#define JOULERY_GPUS_MAGIC 0x5350474aU /* "JGPS" */
#define JOULERY_GPUS_VERSION 1U
#define JOULERY_MAX_GPUS 16U

struct joulery_header {
    uint32_t magic;
    uint32_t version;
    uint32_t gpu_count;
    uint32_t driver_missing; /* fault: nvmlInit answers "driver not loaded" */
    uint32_t lowest_mhz;
    uint32_t step_mhz;
    uint32_t highest_mhz;
    uint32_t memory_mhz;
    uint32_t power_min_mw;
    uint32_t power_default_mw;
    uint32_t power_max_mw;
    uint32_t reserved;
    uint64_t init_calls;
    char driver_version[32];
    char reserved_tail[168];
};

struct joulery_gpu {
    char uuid[64];
    char name[64];
    /* written by the shim: highest MHz in the upper half, lowest in the lower; 0 = no lock */
    uint64_t lock;
    uint64_t set_calls;
    uint64_t reset_calls;
    /* written by the emulator */
    uint64_t energy_mj;
    uint64_t memory_total;
    uint64_t memory_used;
    uint64_t event_reasons;
    uint32_t sm_clock_mhz;
    uint32_t power_mw;
    uint32_t temperature_c;
    uint32_t utilization_percent;
    /* faults */
    uint32_t no_permission;
    uint32_t lost;
    uint32_t not_supported;
    uint32_t hang_ms;
    char reserved[40];
};

struct joulery_node {
    struct joulery_header header;
    struct joulery_gpu gpus[JOULERY_MAX_GPUS];
};

_Static_assert(sizeof(struct joulery_header) == 256, "gpus.py counts on 256 bytes");
_Static_assert(sizeof(struct joulery_gpu) == 256, "gpus.py counts on 256 bytes");

#endif
