/* Batches of squares cut out of stored images. */
#ifndef INTERPLAY_FILL_H
#define INTERPLAY_FILL_H

#include <stddef.h>
#include <stdint.h>

enum { MODE_JPEG, MODE_RAW };

/* For each image: where it is stored in `base`, [height, width], the window [left, top, right, bottom], the
   [width, height] it is resized to, the [left, top] of the square in that, whether it is mirrored, the square's side
   and where it lies in `out`. */
typedef struct {
    const uint8_t *base;
    size_t base_length;
    const int64_t *starts, *lengths, *sizes, *boxes, *resized, *corners, *sides, *places;
    const uint8_t *modes, *flips;
    int filter;
    uint8_t *out; /* at places[i] begins a square of [sides[i], sides[i], 3] */
} batch;

/* Writes the squares of the images `first` to `last` - 1 and what became of each (see jpeg.h). */
void fill(const batch *images, int64_t first, int64_t last, uint8_t *status);

#endif
