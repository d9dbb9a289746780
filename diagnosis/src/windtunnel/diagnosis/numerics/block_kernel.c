// Sums over one sample of a layer in one pass; `block_kernel.py` loads it and says what each argument means.
//
// Every sum is kept in 16 lanes of float32 over rows of 2048 values, and the rows in double. The order of additions is
// therefore the same with any vector instructions: every processor gives the same bits. Build with -ffp-contract=off.

#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define ROW 2048
#define LANES 16
#define INLINE static inline __attribute__((always_inline))

enum kind { FLOAT32, INT8, UINT8, INT16, UINT16 };
enum wanted { CLOSELY = 1, REFERENCE_ENDS = 2, CANDIDATE_ENDS = 4 };
enum result { SQUARES, LARGEST, PRODUCTS, ENERGY, DIFFERENCE, REFERENCE_LOW, REFERENCE_HIGH, CANDIDATE_LOW, CANDIDATE_HIGH };

// A tensor as stored: real = scale * (stored - zero).
typedef struct {
    const void *values;
    int kind;
    float scale, zero;
} tensor;

#define CONVERT(type) \
    for (size_t i = 0; i < n; i++) out[i] = ((float)((const type *)t.values + at)[i] - t.zero) * t.scale; \
    break;

// The real values from `at` on: in `out`, or where they lie if they are floats.
INLINE const float *real_row(tensor t, size_t at, size_t n, float *out) {
    switch (t.kind) {
    case INT8: CONVERT(int8_t)
    case UINT8: CONVERT(uint8_t)
    case INT16: CONVERT(int16_t)
    case UINT16: CONVERT(uint16_t)
    default: return (const float *)t.values + at;
    }
    return out;
}

INLINE float added(const float *lanes) {
    float sum = 0;
    for (int j = 0; j < LANES; j++) sum += lanes[j];
    return sum;
}

// Writes x - y to `difference`, and raises `largest` to the bits of its largest magnitudes; returns the sum of squares.
// Floats of one sign are in the order of their bits, and a NaN is above all numbers.
INLINE float subtract(const float *restrict x, const float *restrict y, size_t n, float *restrict difference,
                      uint32_t *restrict largest) {
    float squares[LANES] = {0};
    uint32_t top[LANES];
    for (int j = 0; j < LANES; j++) top[j] = largest[j];
    size_t i = 0;
#define ONE(lane) { \
        union { float value; uint32_t bits; } d = {x[i + lane] - y[i + lane]}; \
        difference[i + lane] = d.value; \
        squares[lane] += d.value * d.value; \
        d.bits &= 0x7fffffffu; \
        top[lane] = top[lane] > d.bits ? top[lane] : d.bits; \
    }
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) ONE(j)
    for (size_t j = 0; j < n - i; j++) ONE(j)
#undef ONE
    for (int j = 0; j < LANES; j++) largest[j] = top[j];
    return added(squares);
}

INLINE float dot(const float *restrict x, const float *restrict y, size_t n) {
    float sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) sums[j] += x[i + j] * y[i + j];
    for (size_t j = 0; j < n - i; j++) sums[j] += x[i + j] * y[i + j];
    return added(sums);
}

INLINE float sum(const float *restrict x, size_t n) {
    float sums[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) sums[j] += x[i + j];
    for (size_t j = 0; j < n - i; j++) sums[j] += x[i + j];
    return added(sums);
}

INLINE void ends(const float *restrict x, size_t n, float *restrict low, float *restrict high) {
    float least[LANES], greatest[LANES];
    for (int j = 0; j < LANES; j++) {
        least[j] = low[j];
        greatest[j] = high[j];
    }
    size_t i = 0;
#define ONE(lane) { \
        float one = x[i + lane]; \
        least[lane] = one < least[lane] ? one : least[lane]; \
        greatest[lane] = one > greatest[lane] ? one : greatest[lane]; \
    }
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) ONE(j)
    for (size_t j = 0; j < n - i; j++) ONE(j)
#undef ONE
    for (int j = 0; j < LANES; j++) {
        low[j] = least[j];
        high[j] = greatest[j];
    }
}

INLINE void channel_squares(const float *restrict difference, size_t n, size_t at, size_t channels,
                            double *restrict squares) {
    for (size_t i = 0; i < n;) {
        size_t first = (at + i) % channels;
        size_t length = n - i < channels - first ? n - i : channels - first;
        for (size_t j = 0; j < length; j++)
            squares[first + j] += (double)difference[i + j] * (double)difference[i + j];
        i += length;
    }
}

INLINE void sums(tensor reference, tensor candidate, size_t count, int wanted, size_t channels, double *out,
                 double *squares_of_channels) {
    float first[ROW], second[ROW], difference[ROW];
    uint32_t largest[LANES] = {0};
    float low[2][LANES], high[2][LANES];
    for (int side = 0; side < 2; side++)
        for (int j = 0; j < LANES; j++) {
            low[side][j] = __builtin_inff();
            high[side][j] = -__builtin_inff();
        }
    for (size_t at = 0; at < count; at += ROW) {
        size_t n = count - at < ROW ? count - at : ROW;
        const float *a = real_row(reference, at, n, first), *b = real_row(candidate, at, n, second);
        out[SQUARES] += subtract(b, a, n, difference, largest);
        if (wanted & CLOSELY) {
            out[PRODUCTS] += dot(difference, a, n);
            out[ENERGY] += dot(a, a, n);
            out[DIFFERENCE] += sum(difference, n);
        }
        if (wanted & REFERENCE_ENDS) ends(a, n, low[0], high[0]);
        if (wanted & CANDIDATE_ENDS) ends(b, n, low[1], high[1]);
        if (channels) channel_squares(difference, n, at, channels, squares_of_channels);
    }
    union { uint32_t bits; float value; } top = {0};
    for (int j = 0; j < LANES; j++) top.bits = top.bits > largest[j] ? top.bits : largest[j];
    out[LARGEST] = top.value;
    for (int side = 0; side < 2; side++) {
        for (int j = 1; j < LANES; j++) {
            low[side][0] = low[side][j] < low[side][0] ? low[side][j] : low[side][0];
            high[side][0] = high[side][j] > high[side][0] ? high[side][j] : high[side][0];
        }
        out[REFERENCE_LOW + 2 * side] = low[side][0];
        out[REFERENCE_HIGH + 2 * side] = high[side][0];
    }
}

#if defined(__x86_64__)
static int has_avx2(void) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27))) return 0;
    // Whether the operating system keeps the wide registers.
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 5));
}

__attribute__((target("avx2"))) static void sums_avx2(tensor reference, tensor candidate, size_t count, int wanted,
                                                      size_t channels, double *out, double *squares_of_channels) {
    sums(reference, candidate, count, wanted, channels, out, squares_of_channels);
}
#endif

__attribute__((visibility("default"))) void block_sums(
    const void *reference, int reference_kind, float reference_scale, float reference_zero,
    const void *candidate, int candidate_kind, float candidate_scale, float candidate_zero,
    size_t count, int wanted, size_t channels, double *out, double *squares_of_channels) {
    tensor a = {reference, reference_kind, reference_scale, reference_zero};
    tensor b = {candidate, candidate_kind, candidate_scale, candidate_zero};
#if defined(__x86_64__)
    // Asked once: under a hypervisor the question leaves the guest. Threads that ask at once get the same answer.
    static int avx2 = -1;
    if (avx2 < 0) avx2 = has_avx2();
    if (avx2) {
        sums_avx2(a, b, count, wanted, channels, out, squares_of_channels);
        return;
    }
#endif
    sums(a, b, count, wanted, channels, out, squares_of_channels);
}
