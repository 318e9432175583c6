/* JPEGs with restart markers: a rectangle of their segments is a JPEG too, so the rest need not be decoded.

   After a restart marker nothing depends on what was before it. With a restart interval that divides the row of
   MCUs (the blocks that are coded together), the segments are tiles in a grid. */
#include "jpeg.h"

#include <string.h>

enum { SOF0 = 0xC0, SOF1 = 0xC1, RST0 = 0xD0, RST7 = 0xD7, SOI = 0xD8, EOI = 0xD9, SOS = 0xDA, DRI = 0xDD };

/* Where the header's parts are, and the grid of tiles. */
typedef struct {
    size_t frame, scan; /* the frame's marker, the first byte of coded data */
    int height, width, tile_height, tile_width, columns, rows;
} grid;

static int two_bytes(const uint8_t *at) { return at[0] << 8 | at[1]; }

static int read_frame(const uint8_t *at, size_t size, grid *out, int *mcu_width) {
    int across = 1, down = 1;
    if (size < 17 || at[4] != 8 || at[9] != 3) return -1;
    out->height = two_bytes(at + 5);
    out->width = two_bytes(at + 7);
    for (int i = 0; i < 3; i++) {
        int factors = at[11 + 3 * i];
        if (factors >> 4 > across) across = factors >> 4;
        if ((factors & 15) > down) down = factors & 15;
    }
    *mcu_width = 8 * across;
    out->tile_height = 8 * down;
    return 0;
}

/* Reads the markers up to the first scan. 0 if it is the only scan, with tiles. */
static int read_grid(const uint8_t *data, size_t length, grid *out) {
    int interval = 0, mcu_width = 0;
    size_t at = 2;
    memset(out, 0, sizeof *out);
    if (length < 4 || data[0] != 0xFF || data[1] != SOI) return -1;
    while (at + 4 <= length) {
        if (data[at] != 0xFF) return -1;
        int marker = data[at + 1];
        size_t size = (size_t)two_bytes(data + at + 2) + 2;
        if (marker == 0xFF) { /* a fill byte */
            at++;
            continue;
        }
        if (size < 4 || at + size > length) return -1;
        if (marker == SOF0 || marker == SOF1) {
            if (out->frame || read_frame(data + at, size, out, &mcu_width)) return -1;
            out->frame = at;
        } else if (marker >= 0xC2 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
            return -1; /* progressive, arithmetic, lossless */
        } else if (marker == DRI && size == 6) {
            interval = two_bytes(data + at + 4);
        } else if (marker == SOS) {
            if (size < 5 || data[at + 4] != 3) return -1; /* not all components in one scan */
            out->scan = at + size;
            break;
        }
        at += size;
    }
    if (!out->scan || !out->frame || !interval || !out->height || !out->width) return -1;
    int across = (out->width + mcu_width - 1) / mcu_width;
    if (across % interval) return -1;
    out->tile_width = interval * mcu_width;
    out->columns = across / interval;
    out->rows = (out->height + out->tile_height - 1) / out->tile_height;
    return 0;
}

/* Where segment `i` begins, for i up to `last` + 1 (then just after the marker that ends `last`). */
static int find_segments(const uint8_t *data, size_t length, const grid *tiles, uint32_t *starts, int last) {
    const uint8_t *at = data + tiles->scan, *end = data + length - 1;
    int total = tiles->columns * tiles->rows;
    starts[0] = (uint32_t)tiles->scan;
    for (int found = 0; found <= last;) {
        if (at >= end || !(at = memchr(at, 0xFF, (size_t)(end - at)))) return -1;
        int marker = at[1];
        if (marker == 0xFF) {
            at++; /* a fill byte */
            continue;
        }
        at += 2;
        if (marker == 0) continue; /* a coded byte of 255 */
        int expected = found == total - 1 ? EOI : RST0 + (found & 7);
        if (marker != expected) return -1;
        starts[++found] = (uint32_t)(at - data);
    }
    return 0;
}

size_t jpeg_splice(jpeg_decoder *decoder, const uint8_t *data, size_t length, int height, int width, box wanted,
                   int *left, int *top, int size[2]) {
    grid tiles;
    if (length > UINT32_MAX || read_grid(data, length, &tiles) || tiles.height != height || tiles.width != width)
        return 0;
    int first = wanted.left / tiles.tile_width, end = (wanted.right - 1) / tiles.tile_width + 1;
    int upper = wanted.top / tiles.tile_height, lower = (wanted.bottom - 1) / tiles.tile_height + 1;
    if (first == 0 && upper == 0 && end == tiles.columns && lower == tiles.rows) return 0; /* everything */
    int last = (lower - 1) * tiles.columns + end - 1;
    uint32_t *starts = scratch_of(&decoder->segments, ((size_t)last + 2) * sizeof(uint32_t));
    if (!starts || find_segments(data, length, &tiles, starts, last)) return 0;
    size_t coded = 0;
    for (int row = upper; row < lower; row++)
        coded += starts[row * tiles.columns + end] - starts[row * tiles.columns + first];
    uint8_t *out = scratch_of(&decoder->spliced, tiles.scan + coded + 2);
    if (!out) return 0;

    *left = first * tiles.tile_width;
    *top = upper * tiles.tile_height;
    size[0] = (end == tiles.columns ? width : end * tiles.tile_width) - *left;
    size[1] = (lower == tiles.rows ? height : lower * tiles.tile_height) - *top;
    memcpy(out, data, tiles.scan);
    for (int i = 0; i < 2; i++) {
        out[tiles.frame + 5 + 2 * i] = (uint8_t)(size[1 - i] >> 8);
        out[tiles.frame + 6 + 2 * i] = (uint8_t)size[1 - i];
    }
    uint8_t *at = out + tiles.scan;
    int number = 0;
    for (int row = upper; row < lower; row++) {
        for (int column = first; column < end; column++) {
            int segment = row * tiles.columns + column;
            size_t bytes = starts[segment + 1] - starts[segment];
            memcpy(at, data + starts[segment], bytes);
            at += bytes;
            at[-1] = (uint8_t)(RST0 + (number++ & 7));
        }
    }
    at[-1] = EOI;
    return (size_t)(at - out);
}
