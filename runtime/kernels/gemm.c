#include "kernels/gemm.h"

#include <cblas.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/kernels.h"

static void scale_rows(int m, int n, float beta, float *c, int ldc) {
    for (int i = 0; i < m; i++, c += ldc) {
        if (beta == 0)
            memset(c, 0, sizeof(float) * (size_t)n);
        else if (beta != 1)
            for (int j = 0; j < n; j++)
                c[j] *= beta;
    }
}

void gr_gemm(bool transpose_a, bool transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
             const float *b, int ldb, float beta, float *c, int ldc) {
    if (m == 0 || n == 0)
        return;
    if (k == 0) {
        scale_rows(m, n, beta, c, ldc);
        return;
    }
    gr_simd(); /* holds OpenBLAS to one thread before its first real product */
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

struct product {
    bool transpose_a, transpose_b;
    int m, n, k, lda, ldb, ldc;
    float alpha, beta;
    const float *a, *b;
    float *c;
    bool by_rows;
    int block; /* rows or columns of C in a chunk */
};

static void product_chunk(void *context, int64_t chunk, int worker) {
    const struct product *p = context;
    int64_t first = chunk * p->block;
    const float *a = p->a, *b = p->b;
    int m = p->m, n = p->n;
    float *c = p->c;
    (void)worker;
    if (p->by_rows) {
        m = (int)(p->m - first < p->block ? p->m - first : p->block);
        a += p->transpose_a ? first : first * p->lda;
        c += first * p->ldc;
    } else {
        n = (int)(p->n - first < p->block ? p->n - first : p->block);
        b += p->transpose_b ? first * p->ldb : first;
        c += first;
    }
    gr_gemm(p->transpose_a, p->transpose_b, m, n, p->k, p->alpha, a, p->lda, b, p->ldb, p->beta, c, p->ldc);
}

void gr_gemm_parallel(bool transpose_a, bool transpose_b, int m, int n, int k, float alpha, const float *a,
                      int lda, const float *b, int ldb, float beta, float *c, int ldc) {
    enum { MOST = 16, GRAIN = 16 }; /* chunks at most; rows or columns that are not worth cutting */
    const double work = 4e6;        /* multiplications that are worth a chunk, about 100 us */
    double total = (double)m * n * k;
    int chunks = total / work >= MOST ? MOST : (int)(total / work);
    struct product product = {transpose_a, transpose_b, m, n, k, lda,    ldb, ldc,
                              alpha,       beta,        a, b, c, m >= n, 0};
    int size = product.by_rows ? m : n;

    if (size == 0)
        return;
    chunks = chunks < 2 ? 1 : chunks & ~1; /* an even number keeps two threads equally busy */
    product.block = (size + chunks - 1) / chunks;
    product.block = (product.block + GRAIN - 1) / GRAIN * GRAIN;
    gr_parallel((size + product.block - 1) / product.block, product_chunk, &product);
}
