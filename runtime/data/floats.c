/* Photos as planes of floats. */
#include "data/floats.h"

#include "base/status.h"

void gr_image_to_planes(const struct gr_image *image, float *planes) {
    size_t size = (size_t)image->w * (size_t)image->h;
    for (size_t i = 0; i < size; i++)
        for (size_t c = 0; c < 3; c++)
            planes[c * size + i] = (float)image->pixels[3 * i + c] / 255.0f;
}

int gr_image_from_planes(struct gr_image *out, int channels, int w, int h, const float *planes) {
    GR_TRY(gr_image_create(out, w, h));
    size_t size = (size_t)w * (size_t)h;
    for (size_t i = 0; i < size; i++) {
        for (size_t c = 0; c < 3; c++) {
            float value = planes[(channels == 3 ? c * size : 0) + i];
            value = value > 0.0f ? value : 0.0f; /* false for a NaN too */
            out->pixels[3 * i + c] = (uint8_t)((value < 1.0f ? value : 1.0f) * 255.0f + 0.5f);
        }
    }
    return GR_OK;
}
