/* Grad-CAM: one forward pass of a batch, one backward pass that ends at the layer. */
#include "insight/grad_cam.h"

#include "base/memory.h"
#include "base/status.h"
#include "plan/plan.h"
#include "train/loss.h"

#include <math.h>
#include <string.h>

enum { BATCH = 8 };

static bool has_map(struct gr_shape s) {
    return !s.flat && s.h * s.w > 1;
}

struct gr_layer *gr_grad_cam_layer(const struct gr_network *net) {
    struct gr_layer *layer = net->output;
    while (layer && (layer->head || (layer->kind->traits & GR_TRAIT_IDENTITY) || !has_map(layer->shape)))
        layer = layer->input_count > 0 ? layer->inputs[0] : NULL;
    if (!layer || layer->index == 0) {
        gr_fail(GR_ERROR_SHAPE, "%s: no layer before the classifier gives a map", net->name);
        return NULL;
    }
    return layer;
}

/* The two neighbours of a position and the share of the second one. */
static void neighbours(int i, int size, int to, int *first, int *second, float *share) {
    float at = ((float)i + 0.5F) * (float)size / (float)to - 0.5F;
    at = at < 0 ? 0 : at;
    *first = (int)at < size - 1 ? (int)at : size - 1;
    *second = *first < size - 1 ? *first + 1 : *first;
    *share = at - (float)*first;
}

void gr_map_resize(int h, int w, const float *map, int to_h, int to_w, float *to) {
    for (int i = 0; i < to_h; i++) {
        int top, bottom, left, right;
        float down, across;
        neighbours(i, h, to_h, &top, &bottom, &down);
        for (int j = 0; j < to_w; j++) {
            neighbours(j, w, to_w, &left, &right, &across);
            float above = map[top * w + left] * (1 - across) + map[top * w + right] * across;
            float below = map[bottom * w + left] * (1 - across) + map[bottom * w + right] * across;
            to[(int64_t)i * to_w + j] = above * (1 - down) + below * down;
        }
    }
}

/* One photo's map at the layer's size: maps and gradient [h,w,c], weights [c] to work in. */
static void weigh(struct gr_shape s, const float *maps, const float *gradient, float *weights, float *out) {
    int positions = s.h * s.w;
    memset(weights, 0, (size_t)s.c * sizeof *weights);
    for (int i = 0; i < positions; i++)
        for (int k = 0; k < s.c; k++)
            weights[k] += gradient[(int64_t)i * s.c + k];
    for (int i = 0; i < positions; i++) {
        double sum = 0;
        for (int k = 0; k < s.c; k++)
            sum += (double)weights[k] * maps[(int64_t)i * s.c + k];
        sum /= positions;
        out[i] = sum > 0 ? (float)sum : sum <= 0 ? 0 : NAN;
    }
}

/* Divides by the largest value, so that the map says where and the probability says how much. */
static int scale(int64_t count, float *map) {
    float largest = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(map[i]))
            return gr_fail(GR_ERROR_NUMBER,
                           "the map is not finite: the network's values or gradients are not");
        largest = map[i] > largest ? map[i] : largest;
    }
    for (int64_t i = 0; largest > 0 && i < count; i++)
        map[i] /= largest;
    return GR_OK;
}

/* What one call works on. */
struct look {
    struct gr_plan *plan;
    struct gr_shape input, shape; /* of the photos, of the layer's maps */
    int outputs;                  /* logits a photo */
    float *p, *weights, *small;   /* [outputs], [shape.c], [shape.h, shape.w] to work in */
};

/* Takes the class and sets the gradient of the logits of photo i. */
static int take_class(const struct gr_network *net, struct look *look, int i, int *class, float *p) {
    const float *logits = gr_plan_output(look->plan, 0) + (int64_t)i * look->outputs;
    float *gradient = gr_plan_output_gradient(look->plan, 0) + (int64_t)i * look->outputs;
    gr_probabilities(net->multilabel, 1, look->outputs, logits, look->p);
    if (*class < 0) {
        *class = 0;
        for (int k = 1; k < look->outputs; k++)
            if (logits[k] > logits[*class])
                *class = k;
    }
    if (*class >= look->outputs)
        return gr_fail(GR_ERROR_OPTION, "%s has %d classes, got number %d", net->name, look->outputs, *class);
    memset(gradient, 0, (size_t)look->outputs * sizeof *gradient);
    gradient[*class] = 1;
    *p = look->p[*class];
    return GR_OK;
}

static int run(const struct gr_network *net, struct look *look, int n, const float *x, int *classes, float *p,
               float *maps) {
    int64_t photo = gr_shape_size(look->input), size = gr_shape_size(look->shape);
    int64_t pixels = (int64_t)look->input.h * look->input.w;
    memcpy(gr_plan_input(look->plan), x, (size_t)(n * photo) * sizeof *x);
    GR_TRY(gr_plan_forward(look->plan, n, NULL));
    for (int i = 0; i < n; i++)
        GR_TRY(take_class(net, look, i, &classes[i], &p[i]));
    float *gradient = gr_plan_gradient_of(look->plan);
    memset(gradient, 0, (size_t)(n * size) * sizeof *gradient);
    GR_TRY(gr_plan_backward(look->plan));
    for (int i = 0; i < n; i++) {
        weigh(look->shape, gr_plan_output(look->plan, 1) + i * size, gradient + i * size, look->weights,
              look->small);
        gr_map_resize(look->shape.h, look->shape.w, look->small, look->input.h, look->input.w,
                      maps + i * pixels);
        GR_TRY(scale(pixels, maps + i * pixels));
    }
    return GR_OK;
}

static int prepare(struct look *look, struct gr_network *net, struct gr_layer *at, struct gr_shape input,
                   int64_t n) {
    struct gr_layer *outputs[] = {net->output, at};
    struct gr_plan_request request = {.capacity = n < BATCH ? (int)n : BATCH,
                                      .input = input,
                                      .outputs = outputs,
                                      .output_count = 2,
                                      .gradient_of = at,
                                      .lean = true}; /* a look must not take more memory than training does */
    GR_TRY(gr_plan_create(&look->plan, net, &request));
    look->input = input;
    look->shape = gr_plan_output_shape(look->plan, 1);
    look->outputs = gr_plan_output_shape(look->plan, 0).c;
    if (!has_map(look->shape))
        return gr_fail(GR_ERROR_SHAPE,
                       "%s: layer %s gives no map, but one value a channel, for photos of %dx%d", net->name,
                       at->name, input.h, input.w);
    if (!gr_plan_output_gradient(look->plan, 0))
        return gr_fail(GR_ERROR_SHAPE, "%s: the classifier does not depend on layer %s", net->name, at->name);
    look->p = gr_calloc((size_t)look->outputs, sizeof *look->p);
    look->weights = gr_calloc((size_t)look->shape.c, sizeof *look->weights);
    look->small = gr_calloc((size_t)(look->shape.h * look->shape.w), sizeof *look->small);
    return look->p && look->weights && look->small ? GR_OK : GR_ERROR_MEMORY;
}

int gr_grad_cam(struct gr_network *net, struct gr_layer *at, struct gr_shape input, int64_t n, const float *x,
                int *classes, float *p, float *maps) {
    struct look look = {0};
    if (n < 1)
        return gr_fail(GR_ERROR_SHAPE, "%s: expected at least one photo", net->name);
    if (!net->output)
        return gr_fail(GR_ERROR_OPTION, "%s has no classifier", net->name);
    int status = prepare(&look, net, at, input, n);
    int64_t photo = gr_shape_size(input), pixels = (int64_t)input.h * input.w;
    for (int64_t i = 0; i < n && !status; i += BATCH)
        status = run(net, &look, (int)(n - i < BATCH ? n - i : BATCH), x + i * photo, classes + i, p + i,
                     maps + i * pixels);
    gr_plan_free(look.plan);
    gr_free(look.p);
    gr_free(look.weights);
    gr_free(look.small);
    return status;
}
