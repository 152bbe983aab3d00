/* NumPy's .npy files, versions 1 to 3. Files are untrusted: every field is checked before it is used. */
#ifndef GRAFT_TENSOR_NPY_H
#define GRAFT_TENSOR_NPY_H

#include "tensor/tensor.h"

/* Reads a file of one array: floats of 16, 32 and 64 bits become GR_F32, integers and booleans (i1 i2 i4 i8
 * u1 u2 u4 b1) GR_I64; C and Fortran order, either byte order. GR_ERROR_FILE for anything else, with the
 * file's name. */
int gr_npy_read(struct gr_tensor *out, const char *path);

/* Writes <f4 or <i8 in C order, version 1.0. The file appears whole or not at all (a temporary one is
 * renamed). */
int gr_npy_write(const char *path, const struct gr_tensor *tensor);

#endif
