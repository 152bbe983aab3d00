#include "kernels/check_kernels.h"

#include "kernels/gemm.h"

struct problem {
    bool ta, tb;
    int m, n, k, lda, ldb, ldc;
    float alpha, beta;
};

static void naive(const struct problem *p, const float *a, const float *b, const float *c0, double *c) {
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < p->ldc; j++) {
            double sum = 0;
            for (int l = 0; l < p->k && j < p->n; l++)
                sum += (double)a[p->ta ? l * p->lda + i : i * p->lda + l] *
                       b[p->tb ? j * p->ldb + l : l * p->ldb + j];
            double old = c0[i * p->ldc + j];
            c[i * p->ldc + j] = j >= p->n ? old : p->alpha * sum + (p->beta == 0 ? 0 : p->beta * old);
        }
}

static float *product(const struct problem *p, const float *a, const float *b, const float *c0, int threads) {
    int64_t size = (int64_t)p->m * p->ldc;
    float *c = numbers(size, 0);
    memcpy(c, c0, sizeof(float) * (size_t)size);
    assert_int_equal(gr_threads_set(threads > 0 ? threads : 1), 0);
    (threads > 0 ? gr_gemm_parallel : gr_gemm)(p->ta, p->tb, p->m, p->n, p->k, p->alpha, a, p->lda, b, p->ldb,
                                               p->beta, c, p->ldc);
    return c;
}

static void check(int m, int n, int k, int variant) {
    struct problem p = {.ta = variant & 1, .tb = variant & 2, .m = m, .n = n, .k = k};
    int64_t size;
    p.lda = (p.ta ? m : k) + variant % 3 + (k == 0);
    p.ldb = (p.tb ? k : n) + variant % 2 + 1;
    p.ldc = n + variant % 4;
    p.alpha = variant & 4 ? 1 : -0.5f;
    p.beta = variant & 8 ? 0 : variant & 4 ? 1 : 0.25f;
    size = (int64_t)m * p.ldc;
    float *a = numbers((int64_t)p.lda * (p.ta ? k + 1 : m), 1);
    float *b = numbers((int64_t)p.ldb * (p.tb ? n : k + 1), 2), *c0 = numbers(size, 3);
    double *c = zeros(size);
    naive(&p, a, b, c0, c);
    float *single = product(&p, a, b, c0, 0), *one = product(&p, a, b, c0, 1),
          *two = product(&p, a, b, c0, 2);
    check_close("gemm", size, single, c, 2e-6);
    check_close("parallel gemm", size, two, c, 2e-6);
    check_same_bits("parallel gemm", size, one, two);
    float *arrays[] = {a, b, c0, single, one, two};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gr_free(arrays[i]);
    gr_free(c);
}

static void test_sizes(void **state) {
    static const int sizes[] = {0, 1, 3, 16, 65};
    (void)state;
    for (int i = 0; i < 125; i++)
        for (int variant = 0; variant < 16; variant++)
            check(sizes[i % 5], sizes[i / 5 % 5], sizes[i / 25], variant);
}

static void test_cut_products(void **state) {
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        check(700, 130, 150, variant); /* by rows */
        check(33, 1000, 512, variant); /* by columns */
        check(300, 301, 257, variant);
    }
}

static void test_zero_beta_ignores_what_was_there(void **state) {
    float a[4] = {1, 2, 3, 4}, c[4] = {NAN, INFINITY, NAN, NAN};
    (void)state;
    gr_gemm(false, false, 2, 2, 2, 1, a, 2, a, 2, 0, c, 2);
    assert_true(c[0] == 7 && c[1] == 10 && c[2] == 15 && c[3] == 22);
    c[0] = NAN;
    gr_gemm(false, false, 2, 2, 0, 1, a, 1, a, 2, 0, c, 2);
    assert_true(c[0] == 0 && c[3] == 0);
}

static void test_names(void **state) {
    (void)state;
    assert_non_null(strstr(gr_blas_name(), "OpenBLAS "));
    assert_string_equal(gr_simd_name(), gr_simd() == GR_SIMD_AVX512 ? "avx512"
                                        : gr_simd() == GR_SIMD_AVX2 ? "avx2"
                                                                    : "baseline");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_cut_products),
        cmocka_unit_test(test_zero_beta_ignores_what_was_there),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
