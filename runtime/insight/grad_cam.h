/* Where in a photo a network sees a class: Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: Visual Explanations
 * from Deep Networks via Gradient-based Localization").
 *
 * With A_k the maps of one layer and y the logit of a class, the weight of map k is the mean of dy/dA_k over
 * its positions, and the result is relu(sum_k weight_k A_k). Looking changes nothing: the network runs in
 * inference, norms by their running statistics, and no parameter has a gradient. */
#ifndef GRAFT_INSIGHT_GRAD_CAM_H
#define GRAFT_INSIGHT_GRAD_CAM_H

#include "net/network.h"

/* The last layer below the classifier that gives a map (more than one position), or NULL with GR_ERROR_SHAPE
 * set when there is none. */
struct gr_layer *gr_grad_cam_layer(const struct gr_network *net);

/* For photos x [n,h,w,c] (NHWC, preprocessed, of size `input`): maps [n,h,w] with values 0..1 at the photos'
 * size (bilinear), each divided by its largest value; all 0 where nothing in the layer speaks for the class.
 * classes[n]: positions in net->classes, or negative for the most likely one; receives what was taken. p[n]
 * receives its probability. GR_ERROR_SHAPE: `at` gives no map, or the classifier does not depend on it.
 * GR_ERROR_NUMBER: a map is not finite. */
int gr_grad_cam(struct gr_network *net, struct gr_layer *at, struct gr_shape input, int64_t n, const float *x,
                int *classes, float *p, float *maps);

/* Bilinear, as align_corners=False of PyTorch: from [h,w] to [to_h,to_w]. */
void gr_map_resize(int h, int w, const float *map, int to_h, int to_w, float *to);

#endif
