/* From a photo to a network's input, with or without chance.
 *
 * The order is fixed: crop and resize, flip, rotation, brightness/contrast/saturation/hue, normalisation,
 * erasing; then mixup over the batch (data/loader.h). What chance decides depends on the key alone
 * (struct gr_view), never on threads or on the order of loading, and is drawn in parts of the photo's sides,
 * so that networks of different input sizes see the same crop. */
#ifndef GRAFT_DATA_AUGMENT_H
#define GRAFT_DATA_AUGMENT_H

#include "base/random.h"
#include "base/text.h"
#include "data/image.h"
#include "data/resize.h"
#include "net/network.h"

/* What may happen to a photo; all zero: nothing. */
struct gr_augment {
    bool crop;        /* random_resized_crop */
    float scale[2];   /* of the crop: part of the photo's area, 0 < low <= high <= 1; usual 0.08, 1 */
    float ratio[2];   /* of the crop: width / height; usual 3/4, 4/3 */
    float hflip;      /* probability of mirroring left to right */
    float degrees;    /* rotation by -degrees..degrees; corners get the mean colour */
    float brightness; /* colour_jitter: factors 1-b..1+b, for the first three */
    float contrast, saturation;
    float hue;     /* 0..0.5, parts of the colour circle */
    float erasing; /* probability that a rectangle (2 % to 33 % of the area) becomes the mean colour */
    float mixup;   /* alpha of the Beta distribution of the mixing weight; 0: no mixup */
};

/* "none": nothing; "light": crops of 50-100 % of the area and flips; "standard": crops of 8-100 %, flips.
 * GR_ERROR_OPTION names the presets. */
int gr_augment_preset(struct gr_augment *out, const char *name);

/* Ranges of every field; GR_ERROR_OPTION names the field and its range. */
int gr_augment_check(const struct gr_augment *augment);

bool gr_augment_any(const struct gr_augment *augment); /* false: nothing can happen (NULL too) */

/* "random_resized_crop 0.08-1, hflip 0.5" or "none": for the plan, and for digests. */
void gr_augment_describe(const struct gr_augment *augment, struct gr_text *text);

/* The key of one photo's chance. */
struct gr_view {
    uint64_t seed, fit, epoch;
    uint64_t sample; /* index in its data set */
    uint64_t view;   /* 0, or the number of a stored view */
};

/* --- the two halves of preprocessing ---
 * First half (no chance): the photo as small as the second half can use it: upright bytes, worth keeping.
 * Without random crops that is the network's input size, as torchvision's Resize and CenterCrop make it
 * (long side = floor(resize * long / short); offsets rounded half to even), or stretched. With random crops
 * it is the whole photo, reduced where even the smallest crop has more pixels than the input. */
struct gr_photo {
    struct gr_image image;
    int w, h; /* of the photo itself */
};

void gr_photo_free(struct gr_photo *photo);

/* Makes the first half; takes over nothing. *out is the caller's. */
int gr_photo_prepare(struct gr_photo *out, const struct gr_image *image, struct gr_shape input,
                     const struct gr_preprocessing *preprocessing, const struct gr_augment *augment);

/* The same from the bytes of a photo's file, checked and decoded as by gr_image_read_memory. Where the
 * decoder of JPEG can (gr_image_jpeg_decoder), a photo of more than twice the size that the first half makes
 * is decoded smaller. */
int gr_photo_read(struct gr_photo *out, const void *bytes, size_t size, struct gr_shape input,
                  const struct gr_preprocessing *preprocessing, const struct gr_augment *augment);

/* Second half: the chance, then floats. `out`: [h, w, c] of `input`, c 3 or 1 (grey by luminance),
 * (v / 255 - mean) / std. `augment` NULL: none; then `view` may be NULL. */
int gr_photo_finish(const struct gr_photo *photo, struct gr_shape input,
                    const struct gr_preprocessing *preprocessing, const struct gr_augment *augment,
                    const struct gr_view *view, float *out);

/* Both halves without chance. */
int gr_preprocess(const struct gr_image *image, struct gr_shape input,
                  const struct gr_preprocessing *preprocessing, float *out);

/* The same from a file, as a loader reads it; the message begins with the path. */
int gr_preprocess_file(const char *path, struct gr_shape input, const struct gr_preprocessing *preprocessing,
                       float *out);

/* The preprocessing of a network whose input side is changed from `own` to `input`: the short side before the
 * crop grows or shrinks with it. */
struct gr_preprocessing gr_preprocessing_for(const struct gr_preprocessing *preprocessing,
                                             struct gr_shape own, struct gr_shape input);

/* Mixing weight in [0.5, 1] of a batch: Beta(alpha, alpha), folded, keyed like a photo by the batch's number.
 */
float gr_mixup_weight(float alpha, const struct gr_view *view);

#endif
