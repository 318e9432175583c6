/* Batches of squares cut out of stored images. */
#ifndef INTERPLAY_FILL_H
#define INTERPLAY_FILL_H

#include <stddef.h>
#include <stdint.h>

enum { MODE_JPEG, MODE_RAW };

/* For each image: where it is stored in `base`, [height, width], the window [left, top, right, bottom], the
   [width, height] it is resized to, the [left, top] of the square in that, and whether it is mirrored. */
typedef struct {
    const uint8_t *base;
    size_t base_length;
    const int64_t *starts, *lengths, *sizes, *boxes, *resized, *corners;
    const uint8_t *modes, *flips;
    int filter, resolution;
    uint8_t *out; /* [B, resolution, resolution, 3] */
} batch;

/* Writes the squares of the images `first` to `last` - 1 and what became of each (see jpeg.h). */
void fill(const batch *images, int64_t first, int64_t last, uint8_t *status);

#endif
