/* The three operations of 3-Augment on 8-bit images. */
#ifndef INTERPLAY_AUGMENT_H
#define INTERPLAY_AUGMENT_H

#include <stdint.h>

enum { GRAYSCALE, SOLARISE, BLUR };

/* Changes [count, side, side, 3] in place: operations[i] on image i, radii[i] for BLUR (standard deviation in
   pixels, at least 0). Returns 0, or -1 without memory. */
int three_augment(uint8_t *images, int64_t count, int side, const uint8_t *operations, const float *radii);

#endif
