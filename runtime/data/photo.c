/* The two halves of preprocessing: bytes of the size that is needed, then chance and floats. */
#include "data/augment.h"

#include "base/memory.h"
#include "base/status.h"
#include "data/decode.h"
#include "data/draw.h"
#include "data/resize.h"

#include <math.h>
#include <string.h>

void gr_photo_free(struct gr_photo *photo) {
    gr_image_free(&photo->image);
    *photo = (struct gr_photo){0};
}

struct gr_preprocessing gr_preprocessing_for(const struct gr_preprocessing *preprocessing,
                                             struct gr_shape own, struct gr_shape input) {
    struct gr_preprocessing result = *preprocessing;
    int own_side = own.w < own.h ? own.w : own.h, side = input.w < input.h ? input.w : input.h;
    if (own_side > 0 && side != own_side)
        result.resize = (int)lrint((double)preprocessing->resize * side / own_side);
    return result;
}

/* ---- first half ---- */

/* What the first half makes of a photo: the whole of it `w` x `h` pixels large, of which `window` is kept. */
struct first_half {
    int w, h;
    struct gr_window window;
};

/* Short side to `resize` (more where the crop would not be covered), then the middle. */
static int resize_and_crop(struct first_half *out, int photo_w, int photo_h, int w, int h, int resize) {
    bool upright = photo_w <= photo_h;
    int64_t low = upright ? photo_w : photo_h, high = upright ? photo_h : photo_w;
    int64_t need_low = upright ? w : h, need_high = upright ? h : w;
    int64_t side = resize > need_low ? resize : need_low;
    if (side * high / low < need_high)
        side = (need_high * low + high - 1) / high;
    int64_t other = side * high / low;
    if (other > INT32_MAX)
        return gr_fail(GR_ERROR_LIMIT, "%dx%d pixels are too long and thin", photo_w, photo_h);
    out->w = (int)(upright ? side : other);
    out->h = (int)(upright ? other : side);
    /* rint rounds halves to even, as Python's round does in torchvision's CenterCrop. */
    out->window = (struct gr_window){(int)rint((out->w - w) / 2.0), (int)rint((out->h - h) / 2.0), w, h};
    return GR_OK;
}

/* The whole photo, so small that the smallest crop still has the input's pixels. */
static void reduce(struct first_half *out, int photo_w, int photo_h, int w, int h,
                   const struct gr_augment *augment) {
    double area = (double)photo_w * photo_h * (double)augment->scale[0];
    double least_w = sqrt(area * (double)augment->ratio[0]), least_h = sqrt(area / (double)augment->ratio[1]);
    double factor = fmin(least_w / w, least_h / h);
    if (factor < 1)
        factor = 1;
    out->w = (int)ceil(photo_w / factor);
    out->h = (int)ceil(photo_h / factor);
    out->window = (struct gr_window){0, 0, out->w, out->h};
}

static int plan_first_half(struct first_half *out, int w, int h, struct gr_shape input,
                           const struct gr_preprocessing *preprocessing, const struct gr_augment *augment) {
    if ((input.c != 1 && input.c != 3) || input.w < 1 || input.h < 1)
        return gr_fail(GR_ERROR_SHAPE, "photos become [3,H,W] or [1,H,W], not [%d,%d,%d]", input.c, input.h,
                       input.w);
    for (int c = 0; c < input.c; c++)
        if (!(preprocessing->std[c] > 0))
            return gr_fail(GR_ERROR_OPTION, "preprocessing: std must be above 0, not %g",
                           (double)preprocessing->std[c]);
    if (augment && augment->crop)
        reduce(out, w, h, input.w, input.h, augment);
    else if (preprocessing->stretch)
        *out = (struct first_half){input.w, input.h, {0, 0, input.w, input.h}};
    else
        return resize_and_crop(out, w, h, input.w, input.h, preprocessing->resize);
    return GR_OK;
}

/* `box`: the part of the image that the photo covers. */
static int make_first_half(struct gr_photo *out, const struct gr_image *image, const struct gr_box *box,
                           const struct first_half *half, enum gr_interpolation interpolation) {
    if (half->w != image->w || half->h != image->h || half->window.w != image->w ||
        half->window.h != image->h)
        return gr_resize(&out->image, image, half->w, half->h, interpolation, box, &half->window);
    GR_TRY(gr_image_create(&out->image, image->w, image->h));
    memcpy(out->image.pixels, image->pixels, (size_t)image->w * (size_t)image->h * 3);
    return GR_OK;
}

int gr_photo_prepare(struct gr_photo *out, const struct gr_image *image, struct gr_shape input,
                     const struct gr_preprocessing *preprocessing, const struct gr_augment *augment) {
    struct first_half half;
    *out = (struct gr_photo){.w = image->w, .h = image->h};
    GR_TRY(plan_first_half(&half, image->w, image->h, input, preprocessing, augment));
    return make_first_half(out, image, NULL, &half, preprocessing->interpolation);
}

/* How much smaller the decoder may make a photo: no more than leaves twice the pixels a side that are wanted.
 * The resizing after it then still averages over four pixels or more: photos differ from those decoded whole
 * by 0.4 to 0.6 of 255 (root mean square), at most by 5; with once the pixels it is up to 3.5, at most 66. */
static int choose_reduction(int w, int h, const struct first_half *half) {
    int reduction = gr_jpeg_decoder.most_reduction;
    while (reduction > 1 && ((int64_t)half->w * 2 * reduction > w || (int64_t)half->h * 2 * reduction > h))
        reduction /= 2;
    return reduction;
}

int gr_photo_read(struct gr_photo *out, const void *bytes, size_t size, struct gr_shape input,
                  const struct gr_preprocessing *preprocessing, const struct gr_augment *augment) {
    struct gr_image_info info;
    struct gr_image image;
    struct gr_box box;
    struct first_half half;
    *out = (struct gr_photo){0};
    GR_TRY(gr_image_check(bytes, size, &info));
    bool lies = info.orientation >= 5; /* EXIF: 5 to 8 lie on their side */
    out->w = lies ? info.h : info.w;
    out->h = lies ? info.w : info.h;
    GR_TRY(plan_first_half(&half, out->w, out->h, input, preprocessing, augment));
    GR_TRY(gr_decode_upright(&image, &box, bytes, size, &info, choose_reduction(out->w, out->h, &half)));
    int status = make_first_half(out, &image, &box, &half, preprocessing->interpolation);
    gr_image_free(&image);
    return status;
}

/* ---- second half: bytes ---- */

static void mirror(struct gr_image *image) {
    for (int y = 0; y < image->h; y++) {
        uint8_t *left = image->pixels + (size_t)y * (size_t)image->w * 3;
        uint8_t *right = left + (size_t)(image->w - 1) * 3;
        for (; left < right; left += 3, right -= 3)
            for (int c = 0; c < 3; c++) {
                uint8_t byte = left[c];
                left[c] = right[c];
                right[c] = byte;
            }
    }
}

/* Luminance in all three channels, weighted as Pillow's mode "L". */
static void make_grey(struct gr_image *image) {
    size_t pixels = (size_t)image->w * (size_t)image->h;
    for (uint8_t *p = image->pixels; pixels > 0; pixels--, p += 3)
        p[0] = p[1] = p[2] = (uint8_t)((19595 * p[0] + 38470 * p[1] + 7471 * p[2] + 0x8000) >> 16);
}

/* Turns about the middle, counter-clockwise, bilinear; what comes from outside is `fill`. */
static int rotate(struct gr_image *image, float degrees, const uint8_t fill[3]) {
    struct gr_image turned;
    GR_TRY(gr_image_create(&turned, image->w, image->h));
    const double pi = 3.14159265358979323846;
    float cosine = (float)cos((double)degrees * pi / 180), sine = (float)sin((double)degrees * pi / 180);
    float middle_x = (float)(image->w - 1) / 2, middle_y = (float)(image->h - 1) / 2;
    for (int y = 0; y < image->h; y++)
        for (int x = 0; x < image->w; x++) {
            float dx = (float)x - middle_x, dy = (float)y - middle_y;
            float sx = middle_x + cosine * dx - sine * dy, sy = middle_y + sine * dx + cosine * dy;
            int left = (int)floorf(sx), top = (int)floorf(sy);
            float part_x = sx - (float)left, part_y = sy - (float)top;
            uint8_t *to = turned.pixels + ((size_t)y * (size_t)image->w + (size_t)x) * 3;
            for (int c = 0; c < 3; c++) {
                float corner[4];
                for (int k = 0; k < 4; k++) {
                    int px = left + (k & 1), py = top + (k >> 1);
                    bool inside = px >= 0 && py >= 0 && px < image->w && py < image->h;
                    corner[k] =
                        inside ? image->pixels[((size_t)py * (size_t)image->w + (size_t)px) * 3 + (size_t)c]
                               : fill[c];
                }
                float above = corner[0] + (corner[1] - corner[0]) * part_x;
                float below = corner[2] + (corner[3] - corner[2]) * part_x;
                to[c] = (uint8_t)(above + (below - above) * part_y + 0.5F);
            }
        }
    gr_image_free(image);
    *image = turned;
    return GR_OK;
}

/* ---- second half: floats 0..1 ---- */

static float luminance(const float *p) {
    return 0.299F * p[0] + 0.587F * p[1] + 0.114F * p[2];
}

static float within(float v) {
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

/* Turns the colour by `hue` of the circle, in HSV. */
static void turn_hue(float *p, float hue) {
    float high = fmaxf(p[0], fmaxf(p[1], p[2])), low = fminf(p[0], fminf(p[1], p[2])), span = high - low;
    if (span <= 0)
        return;
    float h = high == p[0]   ? (p[1] - p[2]) / span
              : high == p[1] ? 2 + (p[2] - p[0]) / span
                             : 4 + (p[0] - p[1]) / span;
    h = h / 6 + hue;
    h = (h - floorf(h)) * 6;
    static const float offset[] = {5, 3,
                                   1}; /* of R, G, B: v - span * clamp(min(k, 4 - k)), k = (n + h) mod 6 */
    for (int c = 0; c < 3; c++) {
        float k = fmodf(offset[c] + h, 6);
        p[c] = high - span * within(fminf(k, 4 - k));
    }
}

/* Brightness, contrast, saturation, hue, in this order, each cut to 0..1. */
static void jitter(float *rgb, size_t pixels, const struct gr_draw *draw) {
    double sum = 0;
    for (size_t i = 0; i < 3 * pixels; i++)
        rgb[i] = within(rgb[i] * draw->brightness);
    for (size_t i = 0; i < pixels; i++)
        sum += (double)luminance(rgb + 3 * i);
    float mean = (float)(sum / (double)pixels);
    for (size_t i = 0; i < 3 * pixels; i++)
        rgb[i] = within(mean + (rgb[i] - mean) * draw->contrast);
    for (float *p = rgb; pixels > 0; pixels--, p += 3) {
        float grey = luminance(p);
        for (int c = 0; c < 3; c++)
            p[c] = within(grey + (p[c] - grey) * draw->saturation);
        if (draw->hue != 0)
            turn_hue(p, draw->hue);
    }
}

/* Bytes to floats: normalised through a table of 256 values a channel, or, where colours change, by hand. */
static int to_floats(const struct gr_image *image, int channels, const struct gr_preprocessing *p,
                     const struct gr_draw *draw, float *out) {
    float table[3][256];
    size_t pixels = (size_t)image->w * (size_t)image->h;
    const uint8_t *from = image->pixels;
    bool colours =
        draw && (draw->brightness != 1 || draw->contrast != 1 || draw->saturation != 1 || draw->hue != 0);
    int swap[3] = {p->bgr ? 2 : 0, 1, p->bgr ? 0 : 2};
    if (!colours) {
        for (int c = 0; c < 3; c++)
            for (int v = 0; v < 256; v++)
                table[c][v] = ((float)v / 255 - p->mean[c]) / p->std[c];
        for (size_t i = 0; i < pixels; i++, from += 3, out += channels)
            for (int c = 0; c < channels; c++)
                out[c] = table[c][from[swap[c]]];
        return GR_OK;
    }
    float *rgb = gr_alloc(pixels * 3 * sizeof *rgb);
    if (!rgb)
        return GR_ERROR_MEMORY;
    for (size_t i = 0; i < 3 * pixels; i++)
        rgb[i] = (float)from[i] / 255;
    jitter(rgb, pixels, draw);
    for (size_t i = 0; i < pixels; i++, out += channels)
        for (int c = 0; c < channels; c++)
            out[c] = (rgb[3 * i + (size_t)swap[c]] - p->mean[c]) / p->std[c];
    gr_free(rgb);
    return GR_OK;
}

/* A rectangle of zeros, which is the mean colour. */
static void erase(float *out, struct gr_shape input, struct gr_box box) {
    int left = (int)(box.left * (float)input.w), right = (int)ceilf(box.right * (float)input.w);
    int top = (int)(box.top * (float)input.h), bottom = (int)ceilf(box.bottom * (float)input.h);
    right = right > input.w ? input.w : right;
    bottom = bottom > input.h ? input.h : bottom;
    for (int y = top; y < bottom; y++)
        memset(out + ((size_t)y * (size_t)input.w + (size_t)left) * (size_t)input.c, 0,
               (size_t)(right - left) * (size_t)input.c * sizeof *out);
}

/* The bytes that become floats: cropped, mirrored, turned; a copy of the caller's. */
static int chance(struct gr_image *out, const struct gr_photo *photo, struct gr_shape input,
                  const struct gr_preprocessing *p, const struct gr_augment *augment,
                  const struct gr_draw *draw) {
    const struct gr_image *image = &photo->image;
    float w = (float)image->w, h = (float)image->h;
    if (augment->crop) {
        struct gr_box box = {draw->crop.left * w, draw->crop.top * h, fminf(draw->crop.right * w, w),
                             fminf(draw->crop.bottom * h, h)};
        GR_TRY(gr_resize(out, image, input.w, input.h, p->interpolation, &box, NULL));
    } else {
        GR_TRY(gr_image_create(out, image->w, image->h));
        memcpy(out->pixels, image->pixels, (size_t)image->w * (size_t)image->h * 3);
    }
    if (draw->flip)
        mirror(out);
    if (draw->angle == 0)
        return GR_OK;
    uint8_t fill[3];
    for (int c = 0; c < 3; c++)
        fill[c] = (uint8_t)(within(p->mean[p->bgr ? 2 - c : c]) * 255 + 0.5F);
    int status = rotate(out, draw->angle, fill);
    if (status)
        gr_image_free(out);
    return status;
}

int gr_photo_finish(const struct gr_photo *photo, struct gr_shape input,
                    const struct gr_preprocessing *preprocessing, const struct gr_augment *augment,
                    const struct gr_view *view, float *out) {
    struct gr_image changed = {0};
    struct gr_draw draw;
    bool any = gr_augment_any(augment);
    int status = GR_OK;
    if (any) {
        draw = gr_draw(augment, view, photo->w, photo->h);
        status = chance(&changed, photo, input, preprocessing, augment, &draw);
    } else if (input.c == 1) {
        status = gr_image_create(&changed, photo->image.w, photo->image.h);
        if (!status)
            memcpy(changed.pixels, photo->image.pixels, (size_t)changed.w * (size_t)changed.h * 3);
    }
    if (!status && input.c == 1)
        make_grey(&changed);
    if (!status)
        status = to_floats(changed.pixels ? &changed : &photo->image, input.c, preprocessing,
                           any ? &draw : NULL, out);
    if (!status && any && draw.erase)
        erase(out, input, draw.erased);
    gr_image_free(&changed);
    return status;
}

int gr_preprocess(const struct gr_image *image, struct gr_shape input,
                  const struct gr_preprocessing *preprocessing, float *out) {
    struct gr_photo photo;
    GR_TRY(gr_photo_prepare(&photo, image, input, preprocessing, NULL));
    int status = gr_photo_finish(&photo, input, preprocessing, NULL, NULL, out);
    gr_photo_free(&photo);
    return status;
}

int gr_preprocess_file(const char *path, struct gr_shape input, const struct gr_preprocessing *preprocessing,
                       float *out) {
    struct gr_photo photo = {0};
    uint8_t *bytes = NULL;
    size_t size = 0;
    char name[256];
    int status = gr_image_file(path, &bytes, &size);
    if (!status)
        status = gr_photo_read(&photo, bytes, size, input, preprocessing, NULL);
    gr_free(bytes);
    if (!status)
        status = gr_photo_finish(&photo, input, preprocessing, NULL, NULL, out);
    gr_photo_free(&photo);
    return status ? gr_fail_in("%s", gr_printable(path, name, sizeof name)) : GR_OK;
}
