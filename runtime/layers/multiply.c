/* Product of two activations: of one shape, or one with a factor for each channel (squeeze-excite). */
#include "base/status.h"
#include "kernels/elementwise.h"
#include "layers/parts.h"
#include "net/operators.h"

static bool one_shape(struct gr_shape a, struct gr_shape b) {
    return a.c == b.c && a.h == b.h && a.w == b.w;
}

/* Which input holds the values, the other one being its factors: 0 or 1; -1 when they do not fit each other.
 */
static int values_input(const struct gr_shape *in) {
    if (one_shape(in[0], in[1]))
        return in[0].flat ? 1 : 0;
    if (in[0].c == in[1].c && in[1].h == 1 && in[1].w == 1)
        return 0;
    if (in[0].c == in[1].c && in[0].h == 1 && in[0].w == 1)
        return 1;
    return -1;
}

static int multiply_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    int values = values_input(in);
    char a[48], b[48];
    (void)layer;
    if (values < 0)
        return gr_fail(
            GR_ERROR_SHAPE,
            "multiply needs two inputs of one shape, or one with a factor for each channel, got %s and %s",
            gr_layer_shape_text(in[0], a), gr_layer_shape_text(in[1], b));
    *out = in[values];
    return GR_OK;
}

static void multiply_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                           const struct gr_want *want, int kernel, struct gr_needs *out) {
    (void)layer, (void)geometry, (void)kernel;
    if (want->input_gradient)
        out->keep = GR_KEEP_INPUTS;
}

static int multiply_forward(const struct gr_pass *pass) {
    const struct gr_shape *in = pass->geometry->in;
    struct gr_shape out = pass->geometry->out;
    int values = values_input(in);
    if (one_shape(in[0], in[1]))
        gr_multiply(gr_pass_count(pass, out), pass->x[0], pass->x[1], pass->y);
    else
        gr_channel_multiply(pass->n, out.h * out.w, out.c, pass->x[values], pass->x[1 - values], pass->y);
    return GR_OK;
}

static void input_gradients(const struct gr_pass *pass, float *gx, float *gs) {
    const struct gr_shape *in = pass->geometry->in;
    struct gr_shape out = pass->geometry->out;
    int values = values_input(in), factors = 1 - values;
    int pixels = out.h * out.w, channels = out.c;
    if (one_shape(in[0], in[1])) { /* every value has its own factor, as if it were a channel of its own */
        channels *= pixels;
        pixels = 1;
    }
    gr_channel_multiply_backward(pass->n, pixels, channels, pass->x[values], pass->x[factors], pass->gy, gx,
                                 pass->accumulate[values], gs, pass->accumulate[factors]);
}

static int multiply_backward(const struct gr_pass *pass) {
    int values = values_input(pass->geometry->in);
    float *gx = pass->gx[values], *gs = pass->gx[1 - values];
    if (gx &&
        gx == gs) { /* a square: the second gradient is added to the first, in the order of the inputs */
        input_gradients(pass, values == 0 ? gx : NULL, values == 0 ? NULL : gs);
        input_gradients(pass, values == 0 ? NULL : gx, values == 0 ? gs : NULL);
    } else if (gx || gs) {
        input_gradients(pass, gx, gs);
    }
    return GR_OK;
}

/* A flat input beside one with rows and columns gets a row and a column too. */
static int multiply_operators(const struct gr_layer *layer, struct gr_operators *to) {
    struct gr_shape a = gr_operator_shape(to, 0), b = gr_operator_shape(to, 1);
    int flat = layer->shape.flat || (!a.flat && !b.flat) ? -1 : a.flat ? 0 : 1;
    int64_t shape[] = {0, layer->shape.c, 1, 1};
    if (flat >= 0) {
        gr_operator(to, "Reshape", "factors");
        gr_operator_input(to, flat);
        gr_operator_integers(to, "factors_shape", 4, shape);
    }
    gr_operator(to, "Mul", NULL);
    for (int i = 0; i < 2; i++)
        if (i == flat)
            gr_operator_value(to, "factors");
        else
            gr_operator_input(to, i);
    return GR_OK;
}

const struct gr_layer_kind gr_layer_multiply = {
    .name = "multiply",
    .summary = "product of two inputs of one shape, or of [C,H,W] with a factor for each channel",
    .inputs_min = 2,
    .inputs_max = 2,
    .shape = multiply_shape,
    .needs = multiply_needs,
    .forward = multiply_forward,
    .backward = multiply_backward,
    .operators = multiply_operators,
};
