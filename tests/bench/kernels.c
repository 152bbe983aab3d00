/* Times the numeric kernels: convolutions in their three passes and with both gradients (GFLOP/s), depthwise
 * ones (GB/s too), then what else is bound by memory (GB/s). Prints the median of RUNS runs with all threads,
 * for what is bound by memory the fastest, since other programs slow those runs most. `kernels [BATCH
 * [convolution|depthwise|memory]]`; results themselves are checked by tests/c/kernels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "base/threads.h"
#include "kernels/convolution.h"
#include "kernels/elementwise.h"
#include "kernels/norm.h"
#include "kernels/pool.h"

enum { RUNS = 9 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times) {
    qsort(times, RUNS, sizeof *times, by_size);
    return times[RUNS / 2];
}

static double fastest(const double *times) {
    double least = times[0];
    for (int i = 1; i < RUNS; i++)
        least = times[i] < least ? times[i] : least;
    return least;
}

static float *filled(size_t count) {
    float *x = gr_alloc(sizeof(float) * (count + 1));
    if (!x) {
        fprintf(stderr, "not enough memory for %zu floats\n", count);
        exit(1);
    }
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(i * 2654435761u >> 8 & 0xffff) / 65536.0f - 0.5f;
    return x;
}

struct layer {
    const char *name;
    enum gr_convolution_kernel kernel;
    int size, c, k, extent, stride;
};

static const struct layer layers[] = {
    {"56x56x64 3x3", GR_CONV_SEGMENT, 56, 64, 64, 3, 1},
    {"28x28x128 3x3", GR_CONV_SEGMENT, 28, 128, 128, 3, 1},
    {"14x14x256 3x3", GR_CONV_SEGMENT, 14, 256, 256, 3, 1},
    {"7x7x512 3x3", GR_CONV_SEGMENT, 7, 512, 512, 3, 1},
    {"56x56x64 winograd", GR_CONV_WINOGRAD, 56, 64, 64, 3, 1},
    {"28x28x128 winograd", GR_CONV_WINOGRAD, 28, 128, 128, 3, 1},
    {"14x14x256 winograd", GR_CONV_WINOGRAD, 14, 256, 256, 3, 1},
    {"7x7x512 winograd", GR_CONV_WINOGRAD, 7, 512, 512, 3, 1},
    {"224x224x3-64 7x7/2", GR_CONV_SEGMENT, 224, 3, 64, 7, 2},
    {"56x56x64-128 3x3/2", GR_CONV_SEGMENT, 56, 64, 128, 3, 2},
    {"56x56x64-128 1x1/2", GR_CONV_SEGMENT, 56, 64, 128, 1, 2},
    {"56x56x64-256 1x1", GR_CONV_SEGMENT, 56, 64, 256, 1, 1},
    {"14x14x1024-256 1x1", GR_CONV_SEGMENT, 14, 1024, 256, 1, 1},
    {"112x112x32-16 1x1", GR_CONV_SEGMENT, 112, 32, 16, 1, 1},
};

/* The depthwise layers of mobilenet_v2 and efficientnet_lite0 at 224x224. */
static const struct layer depthwise_layers[] = {
    {"112x112x32 3x3", GR_CONV_DEPTHWISE, 112, 32, 32, 3, 1},
    {"112x112x96 3x3/2", GR_CONV_DEPTHWISE, 112, 96, 96, 3, 2},
    {"56x56x144 3x3", GR_CONV_DEPTHWISE, 56, 144, 144, 3, 1},
    {"56x56x144 3x3/2", GR_CONV_DEPTHWISE, 56, 144, 144, 3, 2},
    {"56x56x144 5x5/2", GR_CONV_DEPTHWISE, 56, 144, 144, 5, 2},
    {"28x28x192 3x3", GR_CONV_DEPTHWISE, 28, 192, 192, 3, 1},
    {"28x28x192 3x3/2", GR_CONV_DEPTHWISE, 28, 192, 192, 3, 2},
    {"28x28x240 5x5", GR_CONV_DEPTHWISE, 28, 240, 240, 5, 1},
    {"28x28x240 3x3/2", GR_CONV_DEPTHWISE, 28, 240, 240, 3, 2},
    {"14x14x384 3x3", GR_CONV_DEPTHWISE, 14, 384, 384, 3, 1},
    {"14x14x480 3x3", GR_CONV_DEPTHWISE, 14, 480, 480, 3, 1},
    {"14x14x480 5x5", GR_CONV_DEPTHWISE, 14, 480, 480, 5, 1},
    {"14x14x576 3x3", GR_CONV_DEPTHWISE, 14, 576, 576, 3, 1},
    {"14x14x576 3x3/2", GR_CONV_DEPTHWISE, 14, 576, 576, 3, 2},
    {"14x14x672 5x5", GR_CONV_DEPTHWISE, 14, 672, 672, 5, 1},
    {"14x14x672 5x5/2", GR_CONV_DEPTHWISE, 14, 672, 672, 5, 2},
    {"7x7x960 3x3", GR_CONV_DEPTHWISE, 7, 960, 960, 3, 1},
    {"7x7x1152 5x5", GR_CONV_DEPTHWISE, 7, 1152, 1152, 5, 1},
    {"7x7x1152 3x3", GR_CONV_DEPTHWISE, 7, 1152, 1152, 3, 1},
};

/* GFLOP/s and GB/s of the three passes, by the fastest runs; every float of the two sides counts once. */
static void print_depthwise(const struct layer *l, double flops, double bytes, double (*times)[RUNS]) {
    printf("%-22s", l->name);
    for (int i = 1; i < 4; i++)
        printf(" %7.1f", flops / fastest(times[i]) / 1e9);
    printf(" ");
    for (int i = 1; i < 4; i++)
        printf(" %7.1f", bytes / fastest(times[i]) / 1e9);
    printf(" ");
    for (int i = 1; i < 4; i++)
        printf(" %7.2f", 1e3 * fastest(times[i]));
    printf("\n");
}

static void print_layer(const struct layer *l, double flops, double model, double (*times)[RUNS]) {
    double pass[4];
    for (int i = 0; i < 4; i++)
        pass[i] = median(times[i + 1]);
    printf("%-22s %8.1f %8.1f %8.1f %8.1f  %8.2f %8.2f %8.2f %8.2f %8.2f %8.2f\n", l->name,
           flops / pass[0] / 1e9, flops / pass[1] / 1e9, flops / pass[2] / 1e9, 2 * flops / pass[3] / 1e9,
           1e3 * pass[0], 1e3 * pass[1], 1e3 * pass[2], 1e3 * pass[3], 1e3 * median(times[0]), model);
}

static void time_layer(const struct layer *l, int n) {
    int pad = l->extent / 2, out = (l->size + 2 * pad - l->extent) / l->stride + 1;
    struct gr_convolution v = {l->size,   l->size, l->c, out, out, l->k, l->extent, l->extent, l->stride,
                               l->stride, 1,       1,    pad, pad, 1,    0,         0};
    v.groups = l->kernel == GR_CONV_DEPTHWISE ? l->c : 1;
    size_t inputs = (size_t)n * l->size * l->size * l->c, outputs = (size_t)n * out * out * l->k;
    size_t weights = (size_t)l->k * (l->c / v.groups) * l->extent * l->extent;
    float *x = filled(inputs), *y = filled(outputs), *w = filled(weights), *gx = filled(inputs);
    float *gw = filled(weights), *packed = filled(gr_convolution_packed(l->kernel, &v));
    float *scratch = filled(gr_convolution_scratch(l->kernel, &v, n, true) / sizeof(float));
    struct gr_epilogue epilogue = {NULL, NULL, GR_RELU, 0, NULL};
    double times[5][RUNS], flops = 2.0 * (double)outputs * (l->c / v.groups) * l->extent * l->extent;

    for (int run = -1; run < RUNS; run++) { /* the first one warms up */
        int at = run < 0 ? 0 : run;
        double start = now();
        gr_convolution_pack(l->kernel, &v, w, NULL, packed);
        double packing = now();
        gr_convolution_forward(l->kernel, &v, n, x, NULL, packed, &epilogue, y, scratch);
        double forward = now();
        gr_convolution_backward(l->kernel, &v, n, x, NULL, y, packed, gx, false, NULL, NULL, scratch);
        double data = now();
        gr_convolution_backward(l->kernel, &v, n, x, NULL, y, packed, NULL, false, gw, NULL, scratch);
        double weight = now();
        gr_convolution_backward(l->kernel, &v, n, x, NULL, y, packed, gx, false, gw, NULL, scratch);
        times[0][at] = packing - start;
        times[1][at] = forward - packing;
        times[2][at] = data - forward;
        times[3][at] = weight - data;
        times[4][at] = now() - weight;
    }
    if (l->kernel == GR_CONV_DEPTHWISE)
        print_depthwise(l, flops, 4.0 * (double)(inputs + outputs), times);
    else
        print_layer(l, flops, 1e3 * gr_convolution_cost(l->kernel, &v, n, gr_threads()), times);
    float *arrays[] = {x, y, w, gx, gw, packed, scratch};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gr_free(arrays[i]);
}

/* Arrays of [rows, c] for the kernels that are bound by memory. */
struct arrays {
    int n, size, c;
    int64_t rows;
    float *x, *y, *z;
    float *channel[4];
    uint8_t *bytes;
};

static void run_statistics(struct arrays *a) {
    gr_channel_statistics(a->rows, a->c, a->x, a->channel[0], a->channel[1]);
}

static void run_norm_backward(struct arrays *a) {
    gr_batch_norm_backward(a->rows, a->c, a->x, a->channel[0], a->channel[1], a->channel[1], a->y, a->z,
                           false, a->channel[2], a->channel[3]);
}

static void run_norm_relu(struct arrays *a) {
    struct gr_epilogue epilogue = {.activation = GR_RELU};
    gr_norm_apply(a->rows, a->c, a->x, a->channel[0], a->channel[1], &epilogue, a->y);
}

static void run_norm_add_relu(struct arrays *a) {
    struct gr_epilogue epilogue = {.residual = a->z, .activation = GR_RELU};
    gr_norm_apply(a->rows, a->c, a->x, a->channel[0], a->channel[1], &epilogue, a->y);
}

static struct gr_norm_fusion fusion(const struct arrays *a) {
    return (struct gr_norm_fusion){.rows = a->rows,
                                   .c = a->c,
                                   .x = a->x,
                                   .mean = a->channel[0],
                                   .inverse_std = a->channel[1],
                                   .activation = GR_RELU,
                                   .scale = a->channel[0],
                                   .shift = a->channel[1],
                                   .gy = a->y,
                                   .gx = a->z,
                                   .gweight = a->channel[2],
                                   .gbias = a->channel[3]};
}

static void run_norm_relu_backward(struct arrays *a) {
    struct gr_norm_fusion norm = fusion(a);
    gr_norm_backward_fused(&norm);
}

/* gy becomes the residual's gradient in its place. */
static void run_norm_add_relu_backward(struct arrays *a) {
    struct gr_norm_fusion norm = fusion(a);
    norm.kept = a->z;
    norm.gresidual = a->y;
    gr_norm_backward_fused(&norm);
}

static void run_scale_shift(struct arrays *a) {
    gr_scale_shift(a->rows, a->c, a->x, a->channel[0], a->channel[1], a->y);
}

static void run_relu(struct arrays *a) {
    gr_activation_forward(GR_RELU, 0, a->rows * a->c, a->x, a->y);
}

static void run_relu_backward(struct arrays *a) {
    gr_activation_backward(GR_RELU, 0, a->rows * a->c, a->x, a->y, a->z, false);
}

static void run_silu(struct arrays *a) {
    gr_activation_forward(GR_SILU, 0, a->rows * a->c, a->x, a->y);
}

static void run_add(struct arrays *a) {
    gr_add(a->rows * a->c, a->x, a->y, a->z);
}

static struct gr_pooling pooling(const struct arrays *a) {
    return (struct gr_pooling){a->size, a->size, a->c, a->size / 2, a->size / 2, 3, 3,
                               2,       2,       1,    1,           1,           1, false};
}

static void run_max_pool(struct arrays *a) {
    struct gr_pooling p = pooling(a);
    gr_max_pool_forward(&p, a->n, a->x, a->y, a->bytes);
}

static void run_max_pool_backward(struct arrays *a) {
    struct gr_pooling p = pooling(a);
    gr_max_pool_backward(&p, a->n, a->bytes, a->y, a->z, false);
}

static void run_global_pool(struct arrays *a) {
    gr_adaptive_avg_forward(a->n, a->size, a->size, a->c, 1, 1, a->x, a->y);
}

static const struct {
    const char *name;
    void (*run)(struct arrays *arrays);
    double floats; /* read and written for each float of x, at least */
} streams[] = {
    {"channel statistics", run_statistics, 1},
    {"batch norm backward", run_norm_backward, 5},
    {"norm and relu", run_norm_relu, 2},
    {"its backward", run_norm_relu_backward, 5},
    {"norm, sum and relu", run_norm_add_relu, 3},
    {"its backward", run_norm_add_relu_backward, 7},
    {"scale and shift", run_scale_shift, 2},
    {"relu", run_relu, 2},
    {"relu backward", run_relu_backward, 3},
    {"silu", run_silu, 2},
    {"add", run_add, 3},
    {"max pool 3x3/2", run_max_pool, 1.3125},
    {"its backward", run_max_pool_backward, 1.3125},
    {"global average pool", run_global_pool, 1},
};

static void time_streams(int n, int size, int c) {
    struct arrays a = {.n = n, .size = size, .c = c, .rows = (int64_t)n * size * size};
    size_t count = (size_t)a.rows * (size_t)c;
    a.x = filled(count);
    a.y = filled(count);
    a.z = filled(count);
    a.bytes = gr_calloc(count, 1);
    for (int i = 0; i < 4; i++)
        a.channel[i] = filled((size_t)c);
    printf("\n%dx%dx%dx%d, %.0f MB  %19s %8s\n", n, size, size, c, 4e-6 * (double)count, "GB/s", "ms");
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        double times[RUNS];
        for (int run = -1; run < RUNS; run++) {
            double start = now();
            streams[i].run(&a);
            times[run < 0 ? 0 : run] = now() - start;
        }
        double time = fastest(times);
        printf("%-40s %6.1f %8.2f\n", streams[i].name, 4e-9 * streams[i].floats * (double)count / time,
               1e3 * time);
    }
    for (int i = 0; i < 4; i++)
        gr_free(a.channel[i]);
    gr_free(a.x);
    gr_free(a.y);
    gr_free(a.z);
    gr_free(a.bytes);
}

static void time_convolutions(int n) {
    printf("\n%-22s %26s  %26s\n", "", "GFLOP/s", "ms");
    printf("%-22s %8s %8s %8s %8s  %8s %8s %8s %8s %8s %8s\n", "", "forward", "data", "weights", "both",
           "forward", "data", "weights", "both", "packing", "model");
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        time_layer(&layers[i], n);
}

static void time_depthwise(int n) {
    printf("\n%-22s %23s  %23s  %23s\n", "depthwise", "GFLOP/s", "GB/s", "ms");
    printf("%-22s %7s %7s %7s  %7s %7s %7s  %7s %7s %7s\n", "", "forward", "data", "weights", "forward",
           "data", "weights", "forward", "data", "weights");
    for (size_t i = 0; i < sizeof depthwise_layers / sizeof *depthwise_layers; i++)
        time_layer(&depthwise_layers[i], n);
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 16;
    if (n < 1) {
        fprintf(stderr, "kernels: the batch size must be a number from 1 up, not \"%s\"\n", argv[1]);
        return 2;
    }
    bool all = argc < 3;
    printf("%s, %s, %d threads, batch %d\n", gr_simd_name(), gr_blas_name(), gr_threads(), n);
    for (double start = now(); now() - start < 0.3;) /* the clock takes a moment to rise */
        time(NULL);
    if (all || strcmp(argv[2], "convolution") == 0)
        time_convolutions(n);
    if (all || strcmp(argv[2], "depthwise") == 0)
        time_depthwise(n);
    if (all || strcmp(argv[2], "memory") == 0) {
        time_streams(n, 112, 64);
        time_streams(n, 56, 24);
        time_streams(n, 14, 256);
    }
    return 0;
}
