/* Decoding the part of a JPEG that a window needs, with the pixels of a whole decode. */
#ifndef INTERPLAY_JPEG_H
#define INTERPLAY_JPEG_H

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>

#include "resample.h"

/* What became of an image. */
enum { DECODED, DAMAGED, NOT_RGB, OTHER_SIZE, OUTSIDE, NO_MEMORY, BAD_WINDOW };

/* libjpeg's errors, and its warnings of lost data, jump to `escape` instead of ending the process. */
typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf escape;
} escapes;

struct jpeg_error_mgr *escapes_init(escapes *errors);

typedef struct {
    struct jpeg_decompress_struct info;
    escapes errors;
    scratch pixels, spliced, segments;
} jpeg_decoder;

typedef struct {
    int left, top, right, bottom;
} box;

/* Decoded pixels: `pixels` is the image's pixel (left, top). */
typedef struct {
    const uint8_t *pixels;
    ptrdiff_t stride;
    int left, top;
} region;

/* Returns 0, or -1 without memory. */
int jpeg_decoder_init(jpeg_decoder *decoder);
void jpeg_decoder_free(jpeg_decoder *decoder);

/* Decodes at least `wanted` of an image of the stated size; what `out` points to is valid until the next call.
   Returns DECODED or why it cannot be decoded. Damage that the wanted part does not meet is not seen. */
int jpeg_region(jpeg_decoder *decoder, const uint8_t *data, size_t length, int height, int width, box wanted,
                region *out);

/* A shorter JPEG that holds only the restart tiles around `wanted`, where its corner lies in the image,
   and its width and height. Returns its length, or 0 if the data has no such tiles. */
size_t jpeg_splice(jpeg_decoder *decoder, const uint8_t *data, size_t length, int height, int width, box wanted,
                   int *left, int *top, int size[2]);

#endif
