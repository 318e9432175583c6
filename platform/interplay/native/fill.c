#include "fill.h"

#include <string.h>

#include "jpeg.h"
#include "resample.h"

/* Sides beyond this are refused, so that sizes in bytes cannot overflow. */
enum { MAX_SIDE = 1 << 20 };

typedef struct {
    jpeg_decoder decoder;
    resampler resampling;
} tools;

static int within(int64_t value, int64_t low, int64_t high) { return value >= low && value <= high; }

static int check(const batch *images, int64_t slot) {
    const int64_t *size = images->sizes + 2 * slot, *window = images->boxes + 4 * slot;
    const int64_t *resized = images->resized + 2 * slot, *corner = images->corners + 2 * slot;
    int64_t start = images->starts[slot], length = images->lengths[slot], total = (int64_t)images->base_length;
    if (!within(length, 1, total) || !within(start, 0, total - length)) return OUTSIDE;
    if (!within(size[0], 1, MAX_SIDE) || !within(size[1], 1, MAX_SIDE)) return OTHER_SIZE;
    if (images->modes[slot] == MODE_RAW && length != size[0] * size[1] * 3) return OTHER_SIZE;
    if (!within(window[0], 0, window[2] - 1) || !within(window[2], 1, size[1])) return BAD_WINDOW;
    if (!within(window[1], 0, window[3] - 1) || !within(window[3], 1, size[0])) return BAD_WINDOW;
    for (int i = 0; i < 2; i++)
        if (!within(resized[i], 1, MAX_SIDE) || !within(corner[i], -MAX_SIDE, MAX_SIDE)) return BAD_WINDOW;
    return DECODED;
}

/* `which`: 0 for columns, 1 for rows. */
static axis axis_of(const batch *images, int64_t slot, int which) {
    const int64_t *window = images->boxes + 4 * slot;
    return (axis){.length = (int)(window[2 + which] - window[which]),
                  .size = (int)images->resized[2 * slot + which],
                  .start = (int)images->corners[2 * slot + which],
                  .count = (int)images->sides[slot],
                  .flip = which == 0 && images->flips[slot],
                  .filter = images->filter};
}

/* The pixels of the image that its square is made of. */
static box needed(const batch *images, int64_t slot) {
    const int64_t *window = images->boxes + 4 * slot;
    axis columns = axis_of(images, slot, 0), rows = axis_of(images, slot, 1);
    int left, top, right, bottom;
    axis_span(&columns, &left, &right);
    axis_span(&rows, &top, &bottom);
    return (box){left + (int)window[0], top + (int)window[1], right + (int)window[0], bottom + (int)window[1]};
}

/* Stored pixels need no decoding; the last image of the file is copied, as it has nothing behind it to overread. */
static int raw_region(tools *with, const batch *images, int64_t slot, region *out) {
    const uint8_t *pixels = images->base + images->starts[slot];
    size_t length = (size_t)images->lengths[slot];
    if ((size_t)images->starts[slot] + length + OVERREAD > images->base_length) {
        uint8_t *copy = scratch_of(&with->decoder.pixels, length + OVERREAD);
        if (!copy) return NO_MEMORY;
        pixels = memcpy(copy, pixels, length);
    }
    *out = (region){pixels, (ptrdiff_t)images->sizes[2 * slot + 1] * 3, 0, 0};
    return DECODED;
}

static int decode(tools *with, const batch *images, int64_t slot, box wanted, region *out) {
    if (images->modes[slot] == MODE_RAW) return raw_region(with, images, slot, out);
    return jpeg_region(&with->decoder, images->base + images->starts[slot], (size_t)images->lengths[slot],
                       (int)images->sizes[2 * slot], (int)images->sizes[2 * slot + 1], wanted, out);
}

static int square(tools *with, const batch *images, int64_t slot, const region *source) {
    const int64_t *window = images->boxes + 4 * slot;
    axis columns = axis_of(images, slot, 0), rows = axis_of(images, slot, 1);
    ptrdiff_t down = window[1] - source->top, right = window[0] - source->left;
    const uint8_t *corner = source->pixels + down * source->stride + right * 3;
    int failed = resample(&with->resampling, corner, source->stride, &columns, &rows, images->out + images->places[slot]);
    return failed ? NO_MEMORY : DECODED;
}

static int same_image(const batch *images, int64_t one, int64_t other) {
    return images->starts[one] == images->starts[other] && images->lengths[one] == images->lengths[other] &&
           images->modes[one] == MODE_JPEG && images->modes[other] == MODE_JPEG;
}

/* Rows above a window are read too, though not made into pixels: they count half. */
static double cost(const batch *images, int64_t slot, box wanted) {
    return 0.5 * wanted.bottom * (double)images->sizes[2 * slot + 1] +
           (double)(wanted.right - wanted.left) * (wanted.bottom - wanted.top);
}

/* Decodes once for views of one image that follow each other, if that is less work; 0 if it is not, or failed. */
static int together(tools *with, const batch *images, int64_t first, int64_t end, uint8_t *status) {
    box all = needed(images, first);
    double alone = 0.0;
    region source;
    for (int64_t slot = first; slot < end; slot++) {
        box one = needed(images, slot);
        alone += cost(images, slot, one);
        if (one.left < all.left) all.left = one.left;
        if (one.top < all.top) all.top = one.top;
        if (one.right > all.right) all.right = one.right;
        if (one.bottom > all.bottom) all.bottom = one.bottom;
    }
    if (cost(images, first, all) > alone || decode(with, images, first, all, &source) != DECODED) return 0;
    for (int64_t slot = first; slot < end; slot++) status[slot] = (uint8_t)square(with, images, slot, &source);
    return 1;
}

static int alone(tools *with, const batch *images, int64_t slot) {
    region source;
    int status = decode(with, images, slot, needed(images, slot), &source);
    return status == DECODED ? square(with, images, slot, &source) : status;
}

void fill(const batch *images, int64_t first, int64_t last, uint8_t *status) {
    tools with;
    memset(&with, 0, sizeof with);
    if (jpeg_decoder_init(&with.decoder)) {
        memset(status + first, NO_MEMORY, (size_t)(last - first));
        return;
    }
    for (int64_t slot = first; slot < last; slot++) status[slot] = (uint8_t)check(images, slot);
    for (int64_t slot = first; slot < last;) {
        int64_t end = slot + 1;
        while (end < last && same_image(images, slot, end) && !status[slot] && !status[end]) end++;
        if (end - slot == 1 || !together(&with, images, slot, end, status))
            for (int64_t i = slot; i < end; i++)
                if (status[i] == DECODED) status[i] = (uint8_t)alone(&with, images, i);
        slot = end;
    }
    jpeg_decoder_free(&with.decoder);
    resampler_free(&with.resampling);
}
