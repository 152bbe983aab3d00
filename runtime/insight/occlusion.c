/* Occlusion: the photo with one patch after the other painted over, in batches. */
#include "insight/occlusion.h"

#include "base/memory.h"
#include "base/status.h"
#include "plan/plan.h"
#include "train/loss.h"

#include <string.h>

enum { BATCH = 32 };

/* What one call works on. */
struct work {
    struct gr_plan *plan;
    int across, down; /* patches in a row, rows of patches */
    int outputs;
    float *p, *fill, *count; /* [outputs], [c], [h,w]: how many patches cover a pixel */
};

/* Patches that it takes to reach the end of a side. */
static int places(int side, int patch, int stride) {
    return 1 + (side - patch + stride - 1) / stride;
}

static int place(int i, int side, int patch, int stride) {
    return i * stride + patch <= side ? i * stride : side - patch;
}

static void mean_of(struct gr_shape s, const float *x, float *mean) {
    int64_t pixels = (int64_t)s.h * s.w;
    for (int c = 0; c < s.c; c++) {
        double sum = 0;
        for (int64_t i = 0; i < pixels; i++)
            sum += x[i * s.c + c];
        mean[c] = (float)(sum / (double)pixels);
    }
}

static int prepare(struct work *work, struct gr_network *net, const struct gr_occlusion *o, const float *x) {
    struct gr_shape in = o->input;
    int side = in.h < in.w ? in.h : in.w;
    if (!net->output)
        return gr_fail(GR_ERROR_OPTION, "%s has no classifier", net->name);
    if (o->patch < 1 || o->patch > side)
        return gr_fail(GR_ERROR_OPTION, "the patch must be 1 to %d pixels for photos of %dx%d, got %d", side,
                       in.w, in.h, o->patch);
    if (o->stride < 1 || o->stride > o->patch)
        return gr_fail(GR_ERROR_OPTION, "the stride must be 1 to %d pixels (the patch), got %d", o->patch,
                       o->stride);
    struct gr_plan_request request = {
        .capacity = BATCH, .input = in, .outputs = &net->output, .output_count = 1};
    GR_TRY(gr_plan_create(&work->plan, net, &request));
    work->across = places(in.w, o->patch, o->stride);
    work->down = places(in.h, o->patch, o->stride);
    work->outputs = gr_plan_output_shape(work->plan, 0).c;
    work->p = gr_calloc((size_t)work->outputs, sizeof *work->p);
    work->fill = gr_calloc((size_t)in.c, sizeof *work->fill);
    work->count = gr_calloc((size_t)in.h * (size_t)in.w, sizeof *work->count);
    if (!work->p || !work->fill || !work->count)
        return GR_ERROR_MEMORY;
    if (o->fill)
        memcpy(work->fill, o->fill, (size_t)in.c * sizeof *work->fill);
    else
        mean_of(in, x, work->fill);
    return GR_OK;
}

static int whole_photo(const struct gr_network *net, struct work *work, struct gr_occlusion *o,
                       const float *x) {
    memcpy(gr_plan_input(work->plan), x, (size_t)gr_shape_size(o->input) * sizeof *x);
    GR_TRY(gr_plan_forward(work->plan, 1, NULL));
    const float *logits = gr_plan_output(work->plan, 0);
    if (o->class < 0) {
        o->class = 0;
        for (int k = 1; k < work->outputs; k++)
            if (logits[k] > logits[o->class])
                o->class = k;
    }
    if (o->class >= work->outputs)
        return gr_fail(GR_ERROR_OPTION, "%s has %d classes, got number %d", net->name, work->outputs,
                       o->class);
    gr_probabilities(net->multilabel, 1, work->outputs, logits, work->p);
    o->p = work->p[o->class];
    return GR_OK;
}

/* Top left corner of a patch. */
static void corner(const struct work *work, const struct gr_occlusion *o, int64_t patch, int *top,
                   int *left) {
    *top = place((int)(patch / work->across), o->input.h, o->patch, o->stride);
    *left = place((int)(patch % work->across), o->input.w, o->patch, o->stride);
}

static void cover(const struct work *work, const struct gr_occlusion *o, int64_t patch, const float *x,
                  float *to) {
    struct gr_shape in = o->input;
    int top, left;
    memcpy(to, x, (size_t)gr_shape_size(in) * sizeof *to);
    corner(work, o, patch, &top, &left);
    for (int i = top; i < top + o->patch; i++)
        for (int j = left; j < left + o->patch; j++)
            memcpy(to + ((int64_t)i * in.w + j) * in.c, work->fill, (size_t)in.c * sizeof *to);
}

static void note(struct work *work, const struct gr_occlusion *o, int64_t patch, float drop, float *map) {
    int top, left;
    corner(work, o, patch, &top, &left);
    for (int i = top; i < top + o->patch; i++)
        for (int j = left; j < left + o->patch; j++) {
            int64_t at = (int64_t)i * o->input.w + j;
            map[at] += drop;
            work->count[at]++;
        }
}

static int run(const struct gr_network *net, struct work *work, struct gr_occlusion *o, const float *x,
               float *map) {
    int64_t pixels = (int64_t)o->input.h * o->input.w, photo = gr_shape_size(o->input);
    GR_TRY(whole_photo(net, work, o, x));
    o->positions = (int64_t)work->across * work->down;
    memset(map, 0, (size_t)pixels * sizeof *map);
    for (int64_t first = 0; first < o->positions; first += BATCH) {
        int n = (int)(o->positions - first < BATCH ? o->positions - first : BATCH);
        for (int i = 0; i < n; i++)
            cover(work, o, first + i, x, gr_plan_input(work->plan) + i * photo);
        GR_TRY(gr_plan_forward(work->plan, n, NULL));
        for (int i = 0; i < n; i++) {
            gr_probabilities(net->multilabel, 1, work->outputs,
                             gr_plan_output(work->plan, 0) + (int64_t)i * work->outputs, work->p);
            note(work, o, first + i, o->p - work->p[o->class], map);
        }
    }
    for (int64_t i = 0; i < pixels; i++)
        map[i] /= work->count[i];
    return GR_OK;
}

int gr_occlusion(struct gr_network *net, struct gr_occlusion *occlusion, const float *x, float *map) {
    struct work work = {0};
    int status = prepare(&work, net, occlusion, x);
    if (!status)
        status = run(net, &work, occlusion, x, map);
    gr_plan_free(work.plan);
    gr_free(work.p);
    gr_free(work.fill);
    gr_free(work.count);
    return status;
}
