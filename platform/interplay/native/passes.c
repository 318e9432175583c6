/* Both passes twice: plain C, and AVX2 where the processor has it. They give the same bytes.

   A product of a pixel and a 23-bit weight does not fit 16 bits, so AVX2 multiplies with the weight's halves:
   one instruction then multiplies 16 pairs and adds neighbours. */
#include "passes.h"

#include <string.h>

/* Half a grey level, for rounding. */
enum { HALF = 1 << (WEIGHT_BITS - 1) };

static uint8_t clip(int32_t sum) {
    int32_t value = sum >> WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void horizontal_plain(uint8_t *out, size_t out_stride, const uint8_t *pixels, ptrdiff_t stride, int height,
                             const plan *columns) {
    for (int y = 0; y < height; y++, out += out_stride, pixels += stride) {
        for (int x = 0; x < columns->count; x++) {
            const taps *pixel = &columns->pixels[x];
            const int16_t *high = columns->high + (size_t)x * columns->stride;
            const int16_t *low = columns->low + (size_t)x * columns->stride;
            const uint8_t *source = pixels + 3 * (ptrdiff_t)pixel->first;
            int32_t red = HALF, green = red, blue = red;
            for (int i = 0; i < pixel->count; i++, source += 3) {
                int32_t weight = high[i] * (1 << LOW_BITS) + low[i];
                red += weight * source[0];
                green += weight * source[1];
                blue += weight * source[2];
            }
            out[3 * x] = clip(red);
            out[3 * x + 1] = clip(green);
            out[3 * x + 2] = clip(blue);
        }
    }
}

enum { BLOCK = 64 };

static void vertical_plain(uint8_t *out, size_t out_stride, const uint8_t *pixels, ptrdiff_t stride, int width,
                           const plan *rows) {
    for (int y = 0; y < rows->count; y++, out += out_stride) {
        const taps *row = &rows->pixels[y];
        const int16_t *high = rows->high + (size_t)y * rows->stride, *low = rows->low + (size_t)y * rows->stride;
        for (int start = 0; start < width; start += BLOCK) {
            int32_t sums[BLOCK];
            int count = width - start < BLOCK ? width - start : BLOCK;
            for (int i = 0; i < count; i++) sums[i] = HALF;
            for (int j = 0; j < row->count; j++) {
                const uint8_t *source = pixels + (row->first + j) * stride + start;
                int32_t weight = high[j] * (1 << LOW_BITS) + low[j];
                for (int i = 0; i < count; i++) sums[i] += weight * source[i];
            }
            for (int i = 0; i < count; i++) out[start + i] = clip(sums[i]);
        }
    }
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(INTERPLAY_PLAIN)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2")))

/* Two weights, one after the other, in every 32 bits. */
AVX2 static inline __m256i pair_of(const int16_t *weights) {
    int32_t pair;
    memcpy(&pair, weights, sizeof pair);
    return _mm256_set1_epi32(pair);
}

/* Sums of the halves, of which `low` began at HALF, to whole grey levels. */
AVX2 static inline __m256i levels(__m256i high, __m256i low) {
    return _mm256_srai_epi32(_mm256_add_epi32(_mm256_slli_epi32(high, LOW_BITS), low), WEIGHT_BITS);
}

/* 16 bytes of two rows, `a` in the lower lane. */
AVX2 static inline __m256i two_rows(const uint8_t *a, const uint8_t *b) {
    __m256i lower = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)a));
    return _mm256_inserti128_si256(lower, _mm_loadu_si128((const __m128i *)b), 1);
}

#define MULTIPLY_ADD(sum, pairs, weights) (sum) = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, weights))

/* One pixel of four rows: 4 bytes each, the fourth without meaning. */
AVX2 static inline __m256i four_pixels(const uint8_t *source, ptrdiff_t second, ptrdiff_t third, ptrdiff_t fourth,
                                       const int16_t *high, const int16_t *low, int count) {
    /* of two RGB pixels: red red, green green, blue blue as 16-bit numbers */
    const __m256i neighbours = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
    __m256i high0 = _mm256_setzero_si256(), high1 = high0, low0 = _mm256_set1_epi32(HALF), low1 = low0;
    for (int i = 0; i < count; i += 2, source += 6) {
        __m256i h = pair_of(high + i), l = pair_of(low + i);
        __m256i rows0 = _mm256_shuffle_epi8(two_rows(source, source + second), neighbours);
        __m256i rows1 = _mm256_shuffle_epi8(two_rows(source + third, source + fourth), neighbours);
        MULTIPLY_ADD(high0, rows0, h);
        MULTIPLY_ADD(low0, rows0, l);
        MULTIPLY_ADD(high1, rows1, h);
        MULTIPLY_ADD(low1, rows1, l);
    }
    __m256i packed = _mm256_packs_epi32(levels(high0, low0), levels(high1, low1));
    return _mm256_packus_epi16(packed, packed); /* rows 0 2 | 1 3 */
}

/* The fourth byte is overwritten by the next pixel; the last one must not write it. */
AVX2 static inline void store(uint8_t *out, uint32_t value, int is_last) {
    if (is_last)
        memcpy(out, &value, 3);
    else
        memcpy(out, &value, 4);
}

AVX2 static void horizontal_avx2(uint8_t *out, size_t out_stride, const uint8_t *pixels, ptrdiff_t stride, int height,
                                 const plan *columns) {
    const plan wanted = *columns; /* a copy: for all the compiler knows, `out` may lie in the plan */
    for (int y = 0; y < height; y += 4) {
        int left = height - 1 - y; /* rows below this one; what is missing is the last row again */
        int second = left < 1 ? left : 1, third = left < 2 ? left : 2, fourth = left < 3 ? left : 3;
        const uint8_t *source = pixels + y * stride;
        uint8_t *out0 = out + y * out_stride, *out1 = out0 + second * out_stride, *out2 = out0 + third * out_stride,
                *out3 = out0 + fourth * out_stride;
        for (int x = 0; x < wanted.count; x++) {
            const taps pixel = wanted.pixels[x];
            size_t weights = (size_t)x * wanted.stride;
            __m256i four = four_pixels(source + 3 * (ptrdiff_t)pixel.first, second * stride, third * stride,
                                       fourth * stride, wanted.high + weights, wanted.low + weights, pixel.count);
            __m128i even = _mm256_castsi256_si128(four), odd = _mm256_extracti128_si256(four, 1);
            int last = x + 1 == wanted.count;
            store(out0 + 3 * x, (uint32_t)_mm_cvtsi128_si32(even), last);
            store(out1 + 3 * x, (uint32_t)_mm_cvtsi128_si32(odd), last);
            store(out2 + 3 * x, (uint32_t)_mm_extract_epi32(even, 1), last);
            store(out3 + 3 * x, (uint32_t)_mm_extract_epi32(odd, 1), last);
        }
    }
}

AVX2 static inline __m128i column_sums(const uint8_t *source, ptrdiff_t stride, int count, const int16_t *high,
                                       const int16_t *low) {
    __m256i high0 = _mm256_setzero_si256(), high1 = high0, low0 = _mm256_set1_epi32(HALF), low1 = low0;
    for (int j = 0; j < count; j += 2, source += 2 * stride) {
        __m256i h = pair_of(high + j), l = pair_of(low + j);
        const uint8_t *next = source + (j + 1 < count ? stride : 0); /* an odd tap's partner has no weight */
        __m256i upper = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)source));
        __m256i lower = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)next));
        __m256i even = _mm256_unpacklo_epi16(upper, lower), odd = _mm256_unpackhi_epi16(upper, lower);
        MULTIPLY_ADD(high0, even, h);
        MULTIPLY_ADD(low0, even, l);
        MULTIPLY_ADD(high1, odd, h);
        MULTIPLY_ADD(low1, odd, l);
    }
    __m256i sums = _mm256_packs_epi32(levels(high0, low0), levels(high1, low1));
    sums = _mm256_packus_epi16(sums, sums);
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(sums, 0x08));
}

AVX2 static void vertical_avx2(uint8_t *out, size_t out_stride, const uint8_t *pixels, ptrdiff_t stride, int width,
                               const plan *rows) {
    for (int y = 0; y < rows->count; y++, out += out_stride) {
        const taps row = rows->pixels[y];
        const int16_t *high = rows->high + (size_t)y * rows->stride, *low = rows->low + (size_t)y * rows->stride;
        const uint8_t *source = pixels + row.first * stride;
        int x = 0;
        for (; x + 16 <= width; x += 16)
            _mm_storeu_si128((__m128i *)(out + x), column_sums(source + x, stride, row.count, high, low));
        if (x < width) {
            uint8_t rest[16];
            _mm_storeu_si128((__m128i *)rest, column_sums(source + x, stride, row.count, high, low));
            memcpy(out + x, rest, (size_t)(width - x));
        }
    }
}
#define HAS_AVX2 __builtin_cpu_supports("avx2")
#else
#define HAS_AVX2 0
#define horizontal_avx2 horizontal_plain
#define vertical_avx2 vertical_plain
#endif

void horizontal_pass(uint8_t *out, size_t out_stride, const uint8_t *pixels, ptrdiff_t stride, int height,
                     const plan *columns) {
    (HAS_AVX2 ? horizontal_avx2 : horizontal_plain)(out, out_stride, pixels, stride, height, columns);
}

void vertical_pass(uint8_t *out, size_t out_stride, const uint8_t *pixels, ptrdiff_t stride, int width,
                   const plan *rows) {
    (HAS_AVX2 ? vertical_avx2 : vertical_plain)(out, out_stride, pixels, stride, width, rows);
}
