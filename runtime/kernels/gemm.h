/* Matrix products by OpenBLAS, one thread a product; large ones are cut into fixed blocks for the pool. */
#ifndef GRAFT_KERNELS_GEMM_H
#define GRAFT_KERNELS_GEMM_H

#include <stdbool.h>

/* C[m,n] = alpha * op(A)[m,k] op(B)[k,n] + beta * C, row-major, in the calling thread. lda, ldb, ldc are the
 * row lengths in memory. m, n or k may be 0. */
void gr_gemm(bool transpose_a, bool transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
             const float *b, int ldb, float beta, float *c, int ldc);

/* The same over the pool: cut by rows or columns of C into blocks that depend on m, n and k alone, never on
 * the thread count; sums over k are never cut. */
void gr_gemm_parallel(bool transpose_a, bool transpose_b, int m, int n, int k, float alpha, const float *a,
                      int lda, const float *b, int ldb, float beta, float *c, int ldc);

#endif
