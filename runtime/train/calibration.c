#include "train/calibration.h"

#include <math.h>
#include <stddef.h>

void gr_calibration_add(struct gr_calibration *calibration, double confidence, bool right) {
    if (isnan(confidence))
        return;
    int bin = (int)ceil(confidence * GR_CALIBRATION_BINS) - 1;
    bin = bin < 0 ? 0 : bin >= GR_CALIBRATION_BINS ? GR_CALIBRATION_BINS - 1 : bin;
    calibration->bins[bin].count++;
    calibration->bins[bin].confidence += confidence;
    calibration->bins[bin].accuracy += right;
    calibration->count++;
}

void gr_calibration_finish(struct gr_calibration *calibration) {
    double sum = 0;
    for (int m = 0; m < GR_CALIBRATION_BINS; m++) {
        struct gr_calibration_bin *bin = &calibration->bins[m];
        if (bin->count == 0)
            continue;
        sum += fabs(bin->accuracy - bin->confidence);
        bin->confidence /= (double)bin->count;
        bin->accuracy /= (double)bin->count;
    }
    calibration->error = calibration->count ? sum / (double)calibration->count : 0;
}

static bool put(cJSON *object, const char *key, bool known, double value) {
    return (known ? cJSON_AddNumberToObject(object, key, value) : cJSON_AddNullToObject(object, key)) != NULL;
}

cJSON *gr_calibration_describe(const struct gr_calibration *calibration) {
    cJSON *object = cJSON_CreateObject();
    bool ok = object && put(object, "error", calibration->count > 0, calibration->error);
    cJSON *bins = ok ? cJSON_AddArrayToObject(object, "bins") : NULL;
    ok = bins != NULL;
    for (int m = 0; ok && m < GR_CALIBRATION_BINS; m++) {
        const struct gr_calibration_bin *bin = &calibration->bins[m];
        cJSON *row = cJSON_CreateObject();
        ok = row && cJSON_AddItemToArray(bins, row) &&
             put(row, "low", true, (double)m / GR_CALIBRATION_BINS) &&
             put(row, "high", true, (double)(m + 1) / GR_CALIBRATION_BINS) &&
             put(row, "count", true, (double)bin->count) &&
             put(row, "confidence", bin->count > 0, bin->confidence) &&
             put(row, "accuracy", bin->count > 0, bin->accuracy);
    }
    if (ok)
        return object;
    cJSON_Delete(object);
    return NULL;
}
