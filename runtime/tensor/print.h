/* A tensor as a person wants to see it at a prompt. */
#ifndef GRAFT_TENSOR_PRINT_H
#define GRAFT_TENSOR_PRINT_H

#include "base/text.h"
#include "tensor/tensor.h"

/* Adds, without a newline at the end,
 *     tensor [3,480,640]  min 0.02  mean 0.51  max 1.00          above 1000 elements
 *     tensor [2,3]                                               else: aligned rows, of long dimensions only
 * the
 *     [[1.5000  2.0000  3.0000]                                  first and last three
 *      [4.0000  5.0000  6.0000]]
 */
int gr_tensor_print(struct gr_text *text, const struct gr_tensor *tensor);

#endif
