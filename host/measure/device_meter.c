#include "measure/device_meter.h"

#include <stdio.h>
#include <string.h>

#include "measure/cupti.h"

static const mmrec_device *device_of(const device_meter *m) { return m->backend->device; }

mmrec_status device_meter_wait(const mmrec_backend *backend, mmrec_error *error) {
    return backend->synchronize ? backend->synchronize(error) : MMREC_OK;
}

static mmrec_status repeat(const mmrec_subject *subject, int repeats, mmrec_error *error) {
    for (int i = 0; i < repeats; i++) MMREC_TRY(subject->run(subject->context, error));
    return MMREC_OK;
}

/* Ready for a run: prepared, the device idle, the cache as wanted. */
static mmrec_status make_ready(const device_meter *m, const mmrec_subject *subject, bool prepare, mmrec_error *error) {
    if (prepare && subject->prepare) MMREC_TRY(subject->prepare(subject->context, error));
    if (m->timing.cold) MMREC_TRY(device_of(m)->flush_cache(error));
    return device_meter_wait(m->backend, error);
}

/* ---- the ways to time ---- */

/* The host's clock, from the first call until the device is done. */
static mmrec_status time_by_host(device_meter *m, const mmrec_subject *subject, int repeats, double *ns,
                                 mmrec_error *error) {
    MMREC_TRY(make_ready(m, subject, false, error));
    uint64_t start = mmrec_clock_ns(), launches = device_of(m)->launches();
    MMREC_TRY(repeat(subject, repeats, error));
    MMREC_TRY(device_meter_wait(m->backend, error));
    *ns = (double)(mmrec_clock_ns() - start) / repeats;
    m->launches = (device_of(m)->launches() - launches) / (uint64_t)repeats;
    return MMREC_OK;
}

static mmrec_status queue_between_events(device_meter *m, const mmrec_subject *subject, int repeats,
                                         mmrec_error *error) {
    MMREC_TRY(device_of(m)->event_record(m->from, error));
    MMREC_TRY(repeat(subject, repeats, error));
    return device_of(m)->event_record(m->to, error);
}

/* All of it is queued while the stream is held: the device then finds every launch waiting for it. The clocks are read
 * while it works, when they mean something. */
static mmrec_status time_by_events(device_meter *m, const mmrec_subject *subject, int repeats, double *ns,
                                   mmrec_sample_note *note, mmrec_error *error) {
    const mmrec_device *device = device_of(m);
    MMREC_TRY(make_ready(m, subject, true, error));
    bool few = !subject->unheld && m->launches * (uint64_t)repeats <= MMREC_MOST_HELD;
    bool hold = !device->info.emulated && few;
    m->timing.gaps = m->timing.gaps || (!hold && !device->info.emulated);
    if (hold) MMREC_TRY(device->hold(error));
    mmrec_status status = queue_between_events(m, subject, repeats, error);
    if (hold) device->release();
    if (status == MMREC_OK) nvml_read(&m->nvml, note);
    MMREC_TRY(status);
    MMREC_TRY(device_meter_wait(m->backend, error));
    MMREC_TRY(device->event_elapsed_ns(m->from, m->to, ns, error));
    *ns /= repeats;
    return MMREC_OK;
}

static mmrec_status time_by_cupti(device_meter *m, const mmrec_subject *subject, int repeats, double *ns,
                                  mmrec_sample_note *note, mmrec_error *error) {
    uint64_t lost = 0;
    MMREC_TRY(make_ready(m, subject, true, error));
    MMREC_TRY(cupti_collect(ns, &lost, error)); /* what came before */
    cupti_reset();
    MMREC_TRY(repeat(subject, repeats, error));
    nvml_read(&m->nvml, note);
    MMREC_TRY(device_meter_wait(m->backend, error));
    MMREC_TRY(cupti_collect(ns, &lost, error));
    m->timing.records_lost += lost;
    *ns /= repeats;
    return MMREC_OK;
}

/* The host's time is taken in a run of its own, the stream not held; sampling has prepared that one. */
static mmrec_status time_run(void *context, const mmrec_subject *subject, int repeats, double *ns,
                             mmrec_sample_note *note, mmrec_error *error) {
    device_meter *m = context;
    MMREC_TRY(time_by_host(m, subject, repeats, &note->host_ns, error));
    if (m->timing.used == MMREC_TIMER_EVENT) return time_by_events(m, subject, repeats, ns, note, error);
    if (m->timing.used == MMREC_TIMER_CUPTI) return time_by_cupti(m, subject, repeats, ns, note, error);
    nvml_read(&m->nvml, note);
    *ns = note->host_ns;
    return MMREC_OK;
}

mmrec_status device_meter_count(device_meter *m, const mmrec_subject *subject, int64_t *launches,
                                mmrec_kernel_time *kernels, int room, int *count, mmrec_error *error) {
    double ns = 0;
    mmrec_sample_note note;
    *count = 0;
    if (subject->prepare) MMREC_TRY(subject->prepare(subject->context, error));
    MMREC_TRY(time_by_host(m, subject, 1, &ns, error));
    *launches = (int64_t)m->launches;
    if (m->timing.used != MMREC_TIMER_CUPTI) return MMREC_OK;
    MMREC_TRY(time_by_cupti(m, subject, 1, &ns, &note, error));
    *count = cupti_kernels(kernels, room);
    return MMREC_OK;
}

/* ---- opening ---- */

static void fall_back(mmrec_timing *timing, mmrec_timer to, const char *why) {
    timing->used = to;
    if (timing->wanted != MMREC_TIMER_AUTO) snprintf(timing->fallback, sizeof timing->fallback, "%s", why);
}

static void choose(device_meter *m) {
    char why[CUPTI_WHY];
    mmrec_timing *timing = &m->timing;
    timing->used = timing->wanted == MMREC_TIMER_AUTO ? MMREC_TIMER_EVENT : timing->wanted;
    if (timing->used != MMREC_TIMER_CUPTI) return;
    if (device_of(m)->info.emulated)
        fall_back(timing, MMREC_TIMER_EVENT, "the device is emulated");
    else if (!cupti_open(m->allocator, why))
        fall_back(timing, MMREC_TIMER_EVENT, why);
}

/* An emulated device must not be told apart by what else the machine has. */
static void open_clocks(device_meter *m) {
    const mmrec_device_info *info = &device_of(m)->info;
    if (info->emulated)
        snprintf(m->timing.no_clocks, sizeof m->timing.no_clocks, "the device is emulated");
    else
        m->timing.clocks = nvml_open(&m->nvml, info->pci, m->timing.no_clocks);
}

static mmrec_status open_on_device(device_meter *m, mmrec_error *error) {
    const mmrec_device *device = device_of(m);
    m->meter = (mmrec_meter){.time = time_run, .context = m, .once = m->timing.cold};
    if (device->info.emulated) m->meter.untimed = "emulated";
    open_clocks(m);
    choose(m);
    if (m->timing.used != MMREC_TIMER_EVENT) return MMREC_OK;
    MMREC_TRY(device->event_create(&m->from, error));
    return device->event_create(&m->to, error);
}

mmrec_status device_meter_open(mmrec_allocator *allocator, const mmrec_backend *backend, mmrec_timer timer, bool cold,
                               device_meter *out, mmrec_error *error) {
    memset(out, 0, sizeof *out);
    out->allocator = allocator;
    out->backend = backend;
    out->timing.wanted = timer;
    out->timing.cold = cold && backend->device;
    if (backend->device) {
        MMREC_TRY_WHILE(open_on_device(out, error), error, "preparing to time on the device");
        return MMREC_OK;
    }
    out->timing.used = MMREC_TIMER_HOST;
    if (timer == MMREC_TIMER_EVENT || timer == MMREC_TIMER_CUPTI) {
        fall_back(&out->timing, MMREC_TIMER_HOST, "there is no device: the backend runs on the host");
    }
    return MMREC_OK;
}

void device_meter_close(device_meter *m) {
    if (!m->backend || !m->backend->device) return;
    if (m->timing.used == MMREC_TIMER_CUPTI) cupti_close(m->allocator);
    if (m->from) device_of(m)->event_destroy(m->from);
    if (m->to) device_of(m)->event_destroy(m->to);
    m->from = m->to = NULL;
    nvml_close(&m->nvml);
}

const mmrec_meter *device_meter_of(const device_meter *m) { return m->backend->device ? &m->meter : NULL; }

const char *mmrec_timer_name(mmrec_timer timer) {
    static const char *const names[MMREC_TIMERS] = {"auto", "event", "host", "cupti"};
    return (unsigned)timer < MMREC_TIMERS ? names[timer] : "?";
}
