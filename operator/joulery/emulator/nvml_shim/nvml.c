/* An emulated libnvidia-ml.so.1: the part of NVML that reads and clocks GPUs, over one mapped file.
 *
 * Declarations are our own; numbers and calling conventions are those of NVML's public interface, so the unmodified
 * nvidia-ml-py drives it. It knows no physics: clock, power and energy are what the emulator wrote.
 */
#include "shared.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum result {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    TIMEOUT = 10,
    GPU_IS_LOST = 15,
    UNKNOWN = 999,
};

enum clock_type { CLOCK_GRAPHICS = 0, CLOCK_SM = 1, CLOCK_MEMORY = 2, CLOCK_VIDEO = 3 };

#define CLOCK_LIMIT_TDP 0xffffff01U
#define CLOCK_LIMIT_UNLIMITED 0xffffff02U

typedef struct joulery_gpu *device;

struct memory_info {
    unsigned long long total;
    unsigned long long free;
    unsigned long long used;
};

struct utilization {
    unsigned int gpu;
    unsigned int memory;
};

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct joulery_node *node;
static unsigned int users;

/* ---- the mapped file ---- */

static struct joulery_node *map_state(void) {
    const char *path = getenv("JOULERY_NVML_STATE");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return NULL;
    struct stat info;
    void *mapped = MAP_FAILED;
    if (fstat(file, &info) == 0 && info.st_size >= (off_t)sizeof(struct joulery_node))
        mapped = mmap(NULL, sizeof(struct joulery_node), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return mapped == MAP_FAILED ? NULL : mapped;
}

static enum result open_node(void) {
    struct joulery_node *mapped = map_state();
    if (!mapped) return DRIVER_NOT_LOADED;
    struct joulery_header *header = &mapped->header;
    if (header->magic != JOULERY_GPUS_MAGIC || header->version != JOULERY_GPUS_VERSION ||
        header->gpu_count > JOULERY_MAX_GPUS || header->driver_missing) {
        munmap(mapped, sizeof *mapped);
        return DRIVER_NOT_LOADED;
    }
    node = mapped;
    return SUCCESS;
}

static int is_device(device gpu) {
    return node && gpu >= node->gpus && gpu < node->gpus + node->header.gpu_count;
}

static void hang(uint32_t milliseconds) {
    struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000L};
    if (milliseconds) nanosleep(&left, NULL);
}

/* Every device call comes through here: a bad handle, a hanging or a lost GPU answer alike everywhere. */
static enum result enter(device gpu) {
    if (!node) return UNINITIALIZED;
    if (!is_device(gpu)) return INVALID_ARGUMENT;
    hang(gpu->hang_ms);
    return gpu->lost ? GPU_IS_LOST : SUCCESS;
}

static enum result put(device gpu, unsigned int *out, unsigned int value) {
    enum result entered = enter(gpu);
    if (entered != SUCCESS) return entered;
    if (!out) return INVALID_ARGUMENT;
    *out = value;
    return SUCCESS;
}

static enum result put_text(const char *text, char *out, unsigned int length) {
    if (!out) return INVALID_ARGUMENT;
    if (strlen(text) + 1 > length) return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return SUCCESS;
}

/* ---- library ---- */

EXPORT int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    pthread_mutex_lock(&guard);
    enum result opened = node ? SUCCESS : open_node();
    if (opened == SUCCESS) {
        users++;
        __atomic_add_fetch(&node->header.init_calls, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&guard);
    return opened;
}

EXPORT int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

EXPORT int nvmlInit(void) { return nvmlInitWithFlags(0); }

/* The mapping stays after the last shutdown: a hung call may still hold a pointer into it. */
EXPORT int nvmlShutdown(void) {
    pthread_mutex_lock(&guard);
    enum result answer = users ? SUCCESS : UNINITIALIZED;
    if (users) users--;
    pthread_mutex_unlock(&guard);
    return answer;
}

EXPORT const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case TIMEOUT: return "Timeout";
    case GPU_IS_LOST: return "GPU is lost";
    default: return "Unknown Error";
    }
}

EXPORT int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    return node ? put_text(node->header.driver_version, version, length) : UNINITIALIZED;
}

EXPORT int nvmlDeviceGetCount_v2(unsigned int *count) {
    if (!node) return UNINITIALIZED;
    if (!count) return INVALID_ARGUMENT;
    *count = node->header.gpu_count;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetCount(unsigned int *count) { return nvmlDeviceGetCount_v2(count); }

/* ---- handles and identity ---- */

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device *out) {
    if (!node) return UNINITIALIZED;
    if (!out || index >= node->header.gpu_count) return INVALID_ARGUMENT;
    *out = &node->gpus[index];
    return node->gpus[index].lost ? GPU_IS_LOST : SUCCESS;
}

EXPORT int nvmlDeviceGetHandleByIndex(unsigned int index, device *out) {
    return nvmlDeviceGetHandleByIndex_v2(index, out);
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, device *out) {
    if (!node) return UNINITIALIZED;
    if (!uuid || !out) return INVALID_ARGUMENT;
    for (unsigned int index = 0; index < node->header.gpu_count; index++)
        if (strncmp(node->gpus[index].uuid, uuid, sizeof node->gpus[index].uuid) == 0)
            return nvmlDeviceGetHandleByIndex_v2(index, out);
    return NOT_FOUND;
}

EXPORT int nvmlDeviceGetUUID(device gpu, char *uuid, unsigned int length) {
    enum result entered = enter(gpu);
    return entered == SUCCESS ? put_text(gpu->uuid, uuid, length) : entered;
}

EXPORT int nvmlDeviceGetName(device gpu, char *name, unsigned int length) {
    enum result entered = enter(gpu);
    return entered == SUCCESS ? put_text(gpu->name, name, length) : entered;
}

EXPORT int nvmlDeviceGetIndex(device gpu, unsigned int *index) {
    return put(gpu, index, is_device(gpu) ? (unsigned int)(gpu - node->gpus) : 0);
}

EXPORT int nvmlDeviceGetMinorNumber(device gpu, unsigned int *minor) { return nvmlDeviceGetIndex(gpu, minor); }

/* ---- clocks ---- */

/* NVML's protocol for lists: `count` is the room on entry and the number of values on return. */
static enum result put_list_head(unsigned int *count, unsigned int have, const unsigned int *values) {
    if (!count) return INVALID_ARGUMENT;
    unsigned int room = *count;
    *count = have;
    return room < have || !values ? INSUFFICIENT_SIZE : SUCCESS;
}

EXPORT int nvmlDeviceGetSupportedMemoryClocks(device gpu, unsigned int *count, unsigned int *clocks) {
    enum result answer = enter(gpu);
    if (answer == SUCCESS) answer = put_list_head(count, 1, clocks);
    if (answer == SUCCESS) clocks[0] = node->header.memory_mhz;
    return answer;
}

EXPORT int nvmlDeviceGetSupportedGraphicsClocks(device gpu, unsigned int memory_mhz, unsigned int *count,
                                                unsigned int *clocks) {
    enum result answer = enter(gpu);
    if (answer != SUCCESS) return answer;
    const struct joulery_header *header = &node->header;
    if (memory_mhz != header->memory_mhz || !header->step_mhz) return NOT_FOUND;
    unsigned int have = (header->highest_mhz - header->lowest_mhz) / header->step_mhz + 1;
    answer = put_list_head(count, have, clocks);
    for (unsigned int index = 0; answer == SUCCESS && index < have; index++)
        clocks[index] = header->highest_mhz - index * header->step_mhz;
    return answer;
}

static enum result write_lock(device gpu, uint64_t *calls, uint64_t lock) {
    enum result entered = enter(gpu);
    if (entered != SUCCESS) return entered;
    __atomic_add_fetch(calls, 1, __ATOMIC_RELAXED);
    if (gpu->not_supported) return NOT_SUPPORTED;
    if (gpu->no_permission) return NO_PERMISSION;
    __atomic_store_n(&gpu->lock, lock, __ATOMIC_RELEASE);
    return SUCCESS;
}

/* The one symbolic pair the agent's capability probe may use: unlimited/unlimited takes the lock away. */
EXPORT int nvmlDeviceSetGpuLockedClocks(device gpu, unsigned int lowest_mhz, unsigned int highest_mhz) {
    if (!is_device(gpu)) return enter(gpu);
    if (lowest_mhz == CLOCK_LIMIT_UNLIMITED && highest_mhz == CLOCK_LIMIT_UNLIMITED)
        return write_lock(gpu, &gpu->set_calls, 0);
    if (lowest_mhz > highest_mhz || highest_mhz >= CLOCK_LIMIT_TDP || !highest_mhz) return INVALID_ARGUMENT;
    return write_lock(gpu, &gpu->set_calls, (uint64_t)highest_mhz << 32 | lowest_mhz);
}

EXPORT int nvmlDeviceResetGpuLockedClocks(device gpu) {
    return is_device(gpu) ? write_lock(gpu, &gpu->reset_calls, 0) : enter(gpu);
}

EXPORT int nvmlDeviceGetClockInfo(device gpu, int type, unsigned int *clock_mhz) {
    if (!is_device(gpu) || type < CLOCK_GRAPHICS || type > CLOCK_VIDEO) return INVALID_ARGUMENT;
    return put(gpu, clock_mhz, type == CLOCK_MEMORY ? node->header.memory_mhz : gpu->sm_clock_mhz);
}

EXPORT int nvmlDeviceGetMaxClockInfo(device gpu, int type, unsigned int *clock_mhz) {
    if (!is_device(gpu) || type < CLOCK_GRAPHICS || type > CLOCK_VIDEO) return INVALID_ARGUMENT;
    return put(gpu, clock_mhz, type == CLOCK_MEMORY ? node->header.memory_mhz : node->header.highest_mhz);
}

EXPORT int nvmlDeviceGetCurrentClocksEventReasons(device gpu, unsigned long long *reasons) {
    enum result entered = enter(gpu);
    if (entered != SUCCESS) return entered;
    if (!reasons) return INVALID_ARGUMENT;
    *reasons = gpu->event_reasons;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(device gpu, unsigned long long *reasons) {
    return nvmlDeviceGetCurrentClocksEventReasons(gpu, reasons);
}

EXPORT int nvmlDeviceGetPerformanceState(device gpu, int *state) {
    unsigned int performance = 0; /* P0: what a data-centre part shows with a context open */
    enum result answer = put(gpu, &performance, 0);
    if (answer == SUCCESS && state) *state = (int)performance;
    return answer == SUCCESS && !state ? INVALID_ARGUMENT : answer;
}

/* ---- power, energy, memory ---- */

EXPORT int nvmlDeviceGetPowerUsage(device gpu, unsigned int *power_mw) {
    return put(gpu, power_mw, is_device(gpu) ? gpu->power_mw : 0);
}

EXPORT int nvmlDeviceGetPowerManagementLimit(device gpu, unsigned int *limit_mw) {
    return put(gpu, limit_mw, node ? node->header.power_default_mw : 0);
}

EXPORT int nvmlDeviceGetPowerManagementDefaultLimit(device gpu, unsigned int *limit_mw) {
    return nvmlDeviceGetPowerManagementLimit(gpu, limit_mw);
}

EXPORT int nvmlDeviceGetEnforcedPowerLimit(device gpu, unsigned int *limit_mw) {
    return nvmlDeviceGetPowerManagementLimit(gpu, limit_mw);
}

EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(device gpu, unsigned int *min_mw, unsigned int *max_mw) {
    enum result answer = put(gpu, min_mw, node ? node->header.power_min_mw : 0);
    return answer == SUCCESS ? put(gpu, max_mw, node->header.power_max_mw) : answer;
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(device gpu, unsigned long long *energy_mj) {
    enum result entered = enter(gpu);
    if (entered != SUCCESS) return entered;
    if (!energy_mj) return INVALID_ARGUMENT;
    *energy_mj = __atomic_load_n(&gpu->energy_mj, __ATOMIC_ACQUIRE);
    return SUCCESS;
}

EXPORT int nvmlDeviceGetTemperature(device gpu, int sensor, unsigned int *temperature_c) {
    if (sensor != 0) return INVALID_ARGUMENT;
    return put(gpu, temperature_c, is_device(gpu) ? gpu->temperature_c : 0);
}

EXPORT int nvmlDeviceGetUtilizationRates(device gpu, struct utilization *out) {
    enum result entered = enter(gpu);
    if (entered != SUCCESS) return entered;
    if (!out) return INVALID_ARGUMENT;
    out->gpu = out->memory = gpu->utilization_percent;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMemoryInfo(device gpu, struct memory_info *out) {
    enum result entered = enter(gpu);
    if (entered != SUCCESS) return entered;
    if (!out) return INVALID_ARGUMENT;
    out->total = gpu->memory_total;
    out->used = gpu->memory_used;
    out->free = gpu->memory_total - gpu->memory_used;
    return SUCCESS;
}
