/* Loops over one row, for gr_walk_run. Operand 0 is written, the others are read; strides are in elements. */
#ifndef GRAFT_TENSOR_ROWS_H
#define GRAFT_TENSOR_ROWS_H

#include "tensor/walk.h"

gr_walk_row gr_row_copy_floats;   /* out, in */
gr_walk_row gr_row_copy_integers; /* out, in */
gr_walk_row gr_row_fill_floats;   /* out; context: const float * */
gr_walk_row gr_row_fill_integers; /* out; context: const int64_t * */
gr_walk_row gr_row_unary;         /* out, in; context: const enum gr_unary * */
gr_walk_row gr_row_binary;        /* out, left, right; context: const enum gr_binary * */
gr_walk_row gr_row_where;         /* out, condition, a, b */

#endif
