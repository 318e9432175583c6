/* The inner loops of resampling: weighted sums of pixels along rows and along columns. */
#ifndef INTERPLAY_PASSES_H
#define INTERPLAY_PASSES_H

#include <stddef.h>
#include <stdint.h>

/* A weight is a whole number of 1/2^WEIGHT_BITS, held as (high << LOW_BITS) + low. Weights come in groups. */
enum { WEIGHT_BITS = 22, LOW_BITS = 11, TAP_GROUP = 2 };

/* The source pixels of one output pixel. */
typedef struct {
    int first, count;
} taps;

/* Weights of `count` output pixels: [count, stride] each, zeros after a pixel's last tap. */
typedef struct {
    taps *pixels;
    int16_t *high, *low;
    int count, stride;
} plan;

/* `height` rows of RGB -> [height, columns->count, 3], rows `out_stride` apart. Rows of `pixels` are read up to
   OVERREAD bytes beyond the last tap. */
void horizontal_pass(uint8_t *out, size_t out_stride, const uint8_t *pixels, ptrdiff_t stride, int height,
                     const plan *columns);

/* Rows of `width` bytes -> [rows->count, width], rows `out_stride` apart. Rows of `pixels` are read up to OVERREAD
   bytes beyond `width`. */
void vertical_pass(uint8_t *out, size_t out_stride, const uint8_t *pixels, ptrdiff_t stride, int width,
                   const plan *rows);

#endif
