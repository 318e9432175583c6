/* Pillow's separable resampling of 8-bit RGB images, bit for bit, of the output pixels that are asked for. */
#ifndef INTERPLAY_RESAMPLE_H
#define INTERPLAY_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* Rows of pixels that are resampled may be read this many bytes beyond their end. */
enum { OVERREAD = 16 };

enum { FILTER_BOX, FILTER_BILINEAR, FILTER_BICUBIC, FILTERS };

/* A piece of memory that is kept between images and grows when it has to. Starts as zeros. */
typedef struct {
    void *memory;
    size_t capacity;
} scratch;

/* At least `bytes` bytes, contents undefined; NULL if there is no memory. */
void *scratch_of(scratch *piece, size_t bytes);

/* One axis of a window that is resized: `length` source pixels become `size`, of which the `count` from `start`
   are wanted, mirrored at both ends without repeating the border; in reverse if `flip`. */
typedef struct {
    int length, size, start, count, flip, filter;
} axis;

/* The source pixels [*first, *end) of the window that the axis reads. */
void axis_span(const axis *wanted, int *first, int *end);

typedef struct {
    scratch columns, rows, between;
} resampler;

void resampler_free(resampler *state);

/* Resamples into `out` [vertical->count, horizontal->count, 3].

   `pixels` is the window's pixel (0, 0), which need not exist: only the spans of both axes are read, and
   OVERREAD bytes more. `stride` is the distance of two rows in bytes. Returns 0, or -1 without memory. */
int resample(resampler *state, const uint8_t *pixels, ptrdiff_t stride, const axis *horizontal,
             const axis *vertical, uint8_t *out);

#endif
