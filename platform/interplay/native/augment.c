/* In float32 where the tensor version is, with the same order of additions: the results are equal. */
#include "augment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTORISED __attribute__((target_clones("avx2", "default"), optimize("O3")))
#else
#define VECTORISED
#endif

enum { BOX_BLURS = 3, LUMA_RED = 19595, LUMA_GREEN = 38470, LUMA_BLUE = 7471 };

VECTORISED static void grayscale(uint8_t *image, int64_t pixels) {
    for (int64_t i = 0; i < pixels; i++, image += 3) {
        uint32_t luma = LUMA_RED * image[0] + LUMA_GREEN * image[1] + LUMA_BLUE * image[2];
        image[0] = image[1] = image[2] = (uint8_t)((luma + 32768) >> 16);
    }
}

VECTORISED static void solarise(uint8_t *image, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i++) image[i] = image[i] < 128 ? image[i] : (uint8_t)(255 - image[i]);
}

/* Pillow's rule: the box, with a fractional radius, that three times over has the Gaussian's variance. */
static float box_radius(float sigma) {
    float variance = sigma * sigma / BOX_BLURS;
    float whole = floorf((sqrtf(12.0f * variance + 1.0f) - 1.0f) / 2.0f);
    float over = variance - (whole + 1.0f) * (whole + 1.0f);
    float rest = (2.0f * whole + 1.0f) * (whole * (whole + 1.0f) - 3.0f * variance) / (6.0f * over);
    return whole + rest;
}

/* Adding and taking away 1.5 * 2^23 rounds to the nearest whole number, halves to even, as rintf does. */
static inline uint8_t rounded(float value) {
    union {
        float value;
        int32_t bits;
    } shifted = {value + 12582912.0f};
    return (uint8_t)shifted.bits;
}

enum { CHUNK = 256 };

/* out[i] = sum over k of weights[k] * rows[k][i], in the order of k. */
VECTORISED static void weighted_sum(uint8_t *out, const uint8_t *const *rows, const float *weights, int taps,
                                    int bytes) {
    for (int start = 0; start < bytes; start += CHUNK) {
        float sums[CHUNK] = {0.0f};
        int count = bytes - start < CHUNK ? bytes - start : CHUNK;
        for (int k = 0; k < taps; k++) {
            const uint8_t *row = rows[k] + start;
            float weight = weights[k];
            for (int i = 0; i < count; i++) sums[i] += weight * (float)row[i];
        }
        for (int i = 0; i < count; i++) out[start + i] = rounded(sums[i]);
    }
}

/* Room for one image's blur: a row with repeated borders, an image, and the rows and weights of one sum. */
typedef struct {
    uint8_t *padded, *image;
    const uint8_t **rows;
    float *weights;
} blur_room;

static void blur_rows(uint8_t *image, int side, int half, const blur_room *room) {
    int bytes = side * 3;
    for (int y = 0; y < side; y++, image += bytes) {
        for (int pass = 0; pass < BOX_BLURS; pass++) {
            for (int i = 0; i < half; i++) {
                memcpy(room->padded + 3 * i, image, 3);
                memcpy(room->padded + 3 * (half + side + i), image + bytes - 3, 3);
            }
            memcpy(room->padded + 3 * half, image, (size_t)bytes);
            for (int k = 0; k <= 2 * half; k++) room->rows[k] = room->padded + 3 * k;
            weighted_sum(image, room->rows, room->weights, 2 * half + 1, bytes);
        }
    }
}

static void blur_columns(uint8_t *image, int side, int half, const blur_room *room) {
    int bytes = side * 3;
    for (int pass = 0; pass < BOX_BLURS; pass++) {
        memcpy(room->image, image, (size_t)bytes * side);
        for (int y = 0; y < side; y++) {
            for (int k = -half; k <= half; k++) {
                int row = y + k < 0 ? 0 : y + k >= side ? side - 1 : y + k;
                room->rows[k + half] = room->image + (size_t)row * bytes;
            }
            weighted_sum(image + (size_t)y * bytes, room->rows, room->weights, 2 * half + 1, bytes);
        }
    }
}

static int blur(uint8_t *image, int side, float sigma) {
    float box = box_radius(sigma);
    int half = (int)box + 1, taps = 2 * half + 1, failed = -1;
    blur_room room = {malloc(3 * ((size_t)side + 2 * half)), malloc((size_t)side * side * 3),
                      malloc(taps * sizeof(uint8_t *)), malloc(taps * sizeof(float))};
    if (room.padded && room.image && room.rows && room.weights) {
        for (int k = -half; k <= half; k++) {
            float inside = box + 1.0f - (float)abs(k);
            inside = inside < 0.0f ? 0.0f : inside > 1.0f ? 1.0f : inside;
            room.weights[k + half] = inside / (2.0f * box + 1.0f);
        }
        blur_rows(image, side, half, &room);
        blur_columns(image, side, half, &room);
        failed = 0;
    }
    free(room.padded);
    free(room.image);
    free(room.rows);
    free(room.weights);
    return failed;
}

int three_augment(uint8_t *images, int64_t count, int side, const uint8_t *operations, const float *radii) {
    int64_t bytes = (int64_t)side * side * 3;
    for (int64_t i = 0; i < count; i++, images += bytes) {
        if (operations[i] == GRAYSCALE) grayscale(images, bytes / 3);
        if (operations[i] == SOLARISE) solarise(images, bytes);
        if (operations[i] == BLUR && blur(images, side, radii[i])) return -1;
    }
    return 0;
}
