#include "train/schedule.h"

#include "base/status.h"
#include "base/text.h"
#include "net/options.h"

#include <math.h>
#include <string.h>

#define FIELD(field) #field, GR_OPTION_FLOAT, offsetof(struct gr_schedule, field)

static const struct gr_option constant_options[] = {
    {FIELD(warmup), false, 0, 0, 1},
    {.name = NULL},
};
static const struct gr_option step_options[] = {
    {FIELD(warmup), false, 0, 0, 1},
    {FIELD(every), true, 0, 1e-6, 1e9},
    {FIELD(factor), false, 0.1, 1e-9, 1e9},
    {.name = NULL},
};
static const struct gr_option cosine_options[] = {
    {FIELD(warmup), false, 0, 0, 1},
    {FIELD(floor), false, 0, 0, 1},
    {.name = NULL},
};
static const struct gr_option one_cycle_options[] = {
    {FIELD(warmup), false, 0.3, 0, 1},
    {.name = NULL},
};

/* ORDER enum gr_schedule_kind */
static const struct {
    const char *name;
    const struct gr_option *options;
} schedules[] = {
    {"constant", constant_options},
    {"step", step_options},
    {"cosine", cosine_options},
    {"one_cycle", one_cycle_options},
};
enum { SCHEDULES = sizeof schedules / sizeof *schedules };

int gr_schedule_read(struct gr_schedule *out, const char *kind, const cJSON *options) {
    const char *names[SCHEDULES];
    for (int i = 0; i < SCHEDULES; i++) {
        names[i] = schedules[i].name;
        if (strcmp(kind, names[i]) != 0)
            continue;
        *out = (struct gr_schedule){.kind = (enum gr_schedule_kind)i};
        return gr_options_read(schedules[i].options, options, kind, out);
    }
    gr_fail(GR_ERROR_NAME, "there is no schedule \"%.40s\"", kind);
    return gr_fail_near(gr_nearest(kind, names, SCHEDULES));
}

cJSON *gr_schedule_describe(const struct gr_schedule *schedule) {
    cJSON *object = gr_options_write(schedules[schedule->kind].options, schedule);
    if (object && !cJSON_AddStringToObject(object, "kind", schedules[schedule->kind].name)) {
        cJSON_Delete(object);
        gr_fail(GR_ERROR_MEMORY, "out of memory while describing a schedule");
        return NULL;
    }
    return object;
}

/* From `a` at part 0 to `b` at part 1 by half a cosine. */
static double half_cosine(double a, double b, double part) {
    return b + (a - b) * 0.5 * (1 + cos(M_PI * part));
}

static double one_cycle(const struct gr_schedule *schedule, int64_t step, int64_t total) {
    const double start = 1.0 / 25, end = start / 1e4;
    double peak = (double)schedule->warmup * (double)total - 1, last = (double)total - 1, at = (double)step;
    if (at <= peak)
        return half_cosine(start, 1, peak > 0 ? at / peak : 1);
    if (peak < 0)
        peak = 0;
    return half_cosine(1, end, last > peak ? (at - peak) / (last - peak) : 1);
}

double gr_schedule_factor(const struct gr_schedule *schedule, int64_t step, int64_t total,
                          int64_t epoch_steps) {
    if (total > 0 && step >= total)
        step = total - 1;
    if (schedule->kind == GR_ONE_CYCLE)
        return total > 0 ? one_cycle(schedule, step, total) : 1;
    int64_t warmup = total > 0 ? llround((double)schedule->warmup * (double)total) : 0;
    double grown = step < warmup ? (double)(step + 1) / (double)warmup : 1;
    if (schedule->kind == GR_STEP) {
        double epochs = epoch_steps > 0 ? (double)(step / epoch_steps) : (double)step;
        return grown * pow(schedule->factor, floor(epochs / schedule->every));
    }
    if (schedule->kind == GR_COSINE && step >= warmup && total > warmup)
        return half_cosine(1, schedule->floor, (double)(step - warmup) / (double)(total - warmup));
    return grown;
}
