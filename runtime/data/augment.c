#include "data/augment.h"

#include "base/status.h"
#include "data/draw.h"

#include <math.h>
#include <string.h>

static const char *const presets[] = {"none", "light", "standard"};

int gr_augment_preset(struct gr_augment *out, const char *name) {
    *out = (struct gr_augment){0};
    if (!strcmp(name, "none"))
        return GR_OK;
    if (!strcmp(name, "light") || !strcmp(name, "standard")) {
        *out = (struct gr_augment){.crop = true,
                                   .scale = {name[0] == 'l' ? 0.5F : 0.08F, 1},
                                   .ratio = {3.0F / 4, 4.0F / 3},
                                   .hflip = 0.5F};
        return GR_OK;
    }
    gr_fail(GR_ERROR_OPTION,
            "augment takes \"none\", \"light\", \"standard\" or a list of graft.augment.*, not \"%s\"", name);
    const char *near = gr_nearest(name, presets, sizeof presets / sizeof *presets);
    return near ? gr_fail_near(near) : GR_ERROR_OPTION;
}

int gr_augment_check(const struct gr_augment *a) {
    const struct {
        const char *name;
        float value, low, high;
    } fields[] = {
        {"hflip: p", a->hflip, 0, 1},
        {"rotation: degrees", a->degrees, 0, 180},
        {"color_jitter: brightness", a->brightness, 0, 1},
        {"color_jitter: contrast", a->contrast, 0, 1},
        {"color_jitter: saturation", a->saturation, 0, 1},
        {"color_jitter: hue", a->hue, 0, 0.5F},
        {"random_erasing: p", a->erasing, 0, 1},
        {"mixup: alpha", a->mixup, 0, 100},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!(fields[i].value >= fields[i].low && fields[i].value <= fields[i].high))
            return gr_fail(GR_ERROR_OPTION, "%s must be %g to %g, not %g", fields[i].name,
                           (double)fields[i].low, (double)fields[i].high, (double)fields[i].value);
    if (a->crop && !(a->scale[0] > 0 && a->scale[0] <= a->scale[1] && a->scale[1] <= 1))
        return gr_fail(GR_ERROR_OPTION,
                       "random_resized_crop: scale must be two numbers in 0..1, small one first, not %g, %g",
                       (double)a->scale[0], (double)a->scale[1]);
    if (a->crop && !(a->ratio[0] >= 0.01F && a->ratio[0] <= a->ratio[1] && a->ratio[1] <= 100))
        return gr_fail(
            GR_ERROR_OPTION,
            "random_resized_crop: ratio must be two numbers in 0.01..100, small one first, not %g, %g",
            (double)a->ratio[0], (double)a->ratio[1]);
    return GR_OK;
}

bool gr_augment_any(const struct gr_augment *a) {
    return a && (a->crop || a->hflip > 0 || a->degrees > 0 || a->brightness > 0 || a->contrast > 0 ||
                 a->saturation > 0 || a->hue > 0 || a->erasing > 0 || a->mixup > 0);
}

void gr_augment_describe(const struct gr_augment *a, struct gr_text *text) {
    if (!gr_augment_any(a)) {
        gr_text_add(text, "none");
        return;
    }
    size_t start = text->length;
    if (a->crop)
        gr_text_add(text, ", random_resized_crop %g-%g ratio %.3g-%.3g", (double)a->scale[0],
                    (double)a->scale[1], (double)a->ratio[0], (double)a->ratio[1]);
    if (a->hflip > 0)
        gr_text_add(text, ", hflip %g", (double)a->hflip);
    if (a->degrees > 0)
        gr_text_add(text, ", rotation %g", (double)a->degrees);
    if (a->brightness > 0 || a->contrast > 0 || a->saturation > 0 || a->hue > 0)
        gr_text_add(text, ", color_jitter %g %g %g %g", (double)a->brightness, (double)a->contrast,
                    (double)a->saturation, (double)a->hue);
    if (a->erasing > 0)
        gr_text_add(text, ", random_erasing %g", (double)a->erasing);
    if (a->mixup > 0)
        gr_text_add(text, ", mixup %g", (double)a->mixup);
    if (!text->failed) { /* the first ", " was one too many */
        memmove(text->bytes + start, text->bytes + start + 2, text->length - start - 1);
        text->length -= 2;
    }
}

/* ---- chance ---- */

static struct gr_random stream(enum gr_purpose purpose, const struct gr_view *view) {
    return gr_random(view->seed, purpose, view->fit, view->epoch | view->view << 32, view->sample);
}

/* A crop as torchvision's RandomResizedCrop draws it: ten tries of area and shape in whole pixels, then the
 * largest one in the middle whose shape is allowed. */
static struct gr_box draw_crop(const struct gr_augment *a, struct gr_random *random, int w, int h) {
    double crop_w = 0, crop_h = 0, left = 0, top = 0;
    bool found = false;
    for (int i = 0; i < 10; i++) {
        double area = (double)w * h * (double)gr_random_between(random, a->scale[0], a->scale[1]);
        double ratio = exp((double)gr_random_between(random, logf(a->ratio[0]), logf(a->ratio[1])));
        double try_w = rint(sqrt(area * ratio)), try_h = rint(sqrt(area / ratio));
        float x = gr_random_uniform(random), y = gr_random_uniform(random);
        if (found || try_w < 1 || try_h < 1 || try_w > w || try_h > h)
            continue; /* the tries left are drawn all the same, so that what follows stays in its place */
        found = true;
        crop_w = try_w;
        crop_h = try_h;
        left = floor((double)x * (w - try_w + 1));
        top = floor((double)y * (h - try_h + 1));
    }
    if (!found) {
        double ratio = (double)w / h;
        crop_w = ratio > (double)a->ratio[1] ? rint(h * (double)a->ratio[1]) : w;
        crop_h = ratio < (double)a->ratio[0] ? rint(w / (double)a->ratio[0]) : h;
        left = floor((w - crop_w) / 2);
        top = floor((h - crop_h) / 2);
    }
    return (struct gr_box){(float)(left / w), (float)(top / h), (float)((left + crop_w) / w),
                           (float)((top + crop_h) / h)};
}

/* A rectangle of 2 % to 33 % of the area, width / height 0.3 to 3.3 (Zhong et al. 2017), in parts of the
 * sides. */
static struct gr_box draw_erased(struct gr_random *random) {
    for (int i = 0; i < 10; i++) {
        double area = (double)gr_random_between(random, 0.02F, 0.33F);
        double ratio = exp((double)gr_random_between(random, logf(0.3F), logf(3.3F)));
        double w = sqrt(area * ratio), h = sqrt(area / ratio);
        double x = (double)gr_random_uniform(random), y = (double)gr_random_uniform(random);
        if (w < 1 && h < 1)
            return (struct gr_box){(float)(x * (1 - w)), (float)(y * (1 - h)), (float)(x * (1 - w) + w),
                                   (float)(y * (1 - h) + h)};
    }
    return (struct gr_box){0.25F, 0.25F, 0.75F, 0.75F};
}

struct gr_draw gr_draw(const struct gr_augment *a, const struct gr_view *view, int w, int h) {
    struct gr_draw draw = {{0, 0, 1, 1}, .brightness = 1, .contrast = 1, .saturation = 1};
    struct gr_random random = stream(GR_RANDOM_AUGMENT, view);
    struct gr_augment usual = {.scale = {1, 1}, .ratio = {1, 1}};
    struct gr_box crop = draw_crop(a->crop ? a : &usual, &random, w, h);
    if (a->crop)
        draw.crop = crop;
    draw.flip = gr_random_uniform(&random) < a->hflip;
    draw.angle = (2 * gr_random_uniform(&random) - 1) * a->degrees;
    draw.brightness += (2 * gr_random_uniform(&random) - 1) * a->brightness;
    draw.contrast += (2 * gr_random_uniform(&random) - 1) * a->contrast;
    draw.saturation += (2 * gr_random_uniform(&random) - 1) * a->saturation;
    draw.hue = (2 * gr_random_uniform(&random) - 1) * a->hue;
    draw.erase = gr_random_uniform(&random) < a->erasing;
    draw.erased = draw_erased(&random);
    return draw;
}

/* Gamma(shape, 1) by Marsaglia and Tsang (2000); below 1 through shape + 1. */
static double draw_gamma(double shape, struct gr_random *random) {
    if (shape < 1) {
        double u = ((double)gr_random_u32(random) + 1) * 0x1p-32;
        return draw_gamma(shape + 1, random) * pow(u, 1 / shape);
    }
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = (double)gr_random_normal(random), v = 1 + c * x;
        double u = ((double)gr_random_u32(random) + 1) * 0x1p-32;
        v = v * v * v;
        if (v > 0 && log(u) < 0.5 * x * x + d - d * v + d * log(v))
            return d * v;
    }
}

float gr_mixup_weight(float alpha, const struct gr_view *view) {
    struct gr_random random = stream(GR_RANDOM_MIXUP, view);
    double a = draw_gamma((double)alpha, &random), b = draw_gamma((double)alpha, &random);
    double weight = a + b > 0 ? a / (a + b) : 1; /* both vanish for tiny alphas: all or nothing */
    return (float)(weight < 0.5 ? 1 - weight : weight);
}
