/* libjpeg-turbo decodes rows and columns; chroma is upsampled from neighbours, so a margin is decoded with them. */
#include "jpeg.h"

#include <stdlib.h>
#include <string.h>

#include <jerror.h>

/* Pixels around a window whose chroma is read: one chroma sample, at most four pixels wide. */
enum { MARGIN = 8 };

static void on_error(j_common_ptr info) { longjmp(((escapes *)info->err)->escape, 1); }

/* Pillow reads past these warnings too: the pixels are whole. */
static int is_harmless(int code) {
    return code == JWRN_EXTRANEOUS_DATA || code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR ||
           code == JWRN_BOGUS_PROGRESSION;
}

static void on_message(j_common_ptr info, int level) {
    if (level < 0 && !is_harmless(info->err->msg_code)) on_error(info);
}

static void on_output(j_common_ptr info) { (void)info; }

struct jpeg_error_mgr *escapes_init(escapes *errors) {
    jpeg_std_error(&errors->base);
    errors->base.error_exit = on_error;
    errors->base.emit_message = on_message;
    errors->base.output_message = on_output;
    return &errors->base;
}

int jpeg_decoder_init(jpeg_decoder *decoder) {
    memset(decoder, 0, sizeof *decoder);
    decoder->info.err = escapes_init(&decoder->errors);
    if (setjmp(decoder->errors.escape)) return -1;
    jpeg_create_decompress(&decoder->info);
    return 0;
}

void jpeg_decoder_free(jpeg_decoder *decoder) {
    jpeg_destroy_decompress(&decoder->info);
    free(decoder->pixels.memory);
    free(decoder->spliced.memory);
    free(decoder->segments.memory);
}

static int at_least(int value, int least) { return value < least ? least : value; }
static int at_most(int value, int most) { return value > most ? most : value; }

/* Between jpeg_start_decompress and jpeg_abort_decompress. */
static int read_region(jpeg_decoder *decoder, box wanted, region *out) {
    j_decompress_ptr info = &decoder->info;
    JDIMENSION left = 0, columns = info->output_width;
    int first = at_least(wanted.left - MARGIN, 0), end = at_most(wanted.right + MARGIN, (int)info->output_width);
    if (first >= DCTSIZE * info->max_h_samp_factor || end < (int)info->output_width) {
        left = (JDIMENSION)first;
        columns = (JDIMENSION)(end - first);
        jpeg_crop_scanline(info, &left, &columns); /* moves left to the left, to whole blocks */
    }
    int block = DCTSIZE * info->max_v_samp_factor;
    int top = at_least(wanted.top - MARGIN, 0) / block * block;
    size_t stride = (size_t)columns * 3, rows = (size_t)(wanted.bottom - top);
    uint8_t *pixels = scratch_of(&decoder->pixels, rows * stride + OVERREAD);
    if (!pixels) return NO_MEMORY;
    if (top) jpeg_skip_scanlines(info, (JDIMENSION)top);
    while (info->output_scanline < (JDIMENSION)wanted.bottom) {
        JSAMPROW lines[4];
        int count = at_most(wanted.bottom - (int)info->output_scanline, 4);
        for (int i = 0; i < count; i++) lines[i] = pixels + (info->output_scanline - (JDIMENSION)top + i) * stride;
        jpeg_read_scanlines(info, lines, (JDIMENSION)count);
    }
    *out = (region){pixels, (ptrdiff_t)stride, (int)left, top};
    return DECODED;
}

static int decode(jpeg_decoder *decoder, const uint8_t *data, size_t length, int height, int width, box wanted,
                  region *out) {
    j_decompress_ptr info = &decoder->info;
    if (setjmp(decoder->errors.escape)) {
        int code = decoder->errors.base.msg_code;
        jpeg_abort_decompress(info);
        return code == JERR_OUT_OF_MEMORY ? NO_MEMORY : DAMAGED;
    }
    jpeg_mem_src(info, data, (unsigned long)length);
    jpeg_read_header(info, TRUE);
    int status = DECODED;
    if (info->num_components != 3 || (info->jpeg_color_space != JCS_YCbCr && info->jpeg_color_space != JCS_RGB))
        status = NOT_RGB;
    else if (info->image_height != (JDIMENSION)height || info->image_width != (JDIMENSION)width)
        status = OTHER_SIZE;
    if (status == DECODED) {
        info->out_color_space = JCS_RGB;
        jpeg_start_decompress(info);
        status = read_region(decoder, wanted, out);
    }
    jpeg_abort_decompress(info);
    return status;
}

/* Zeros in place of the last part decode without a warning; then the marker of the end is missing too. */
static int has_end(const uint8_t *data, size_t length) {
    for (; length >= 2; length--)
        if (data[length - 2] == 0xFF && data[length - 1] == JPEG_EOI) return 1;
    return 0;
}

int jpeg_region(jpeg_decoder *decoder, const uint8_t *data, size_t length, int height, int width, box wanted,
                region *out) {
    if (!has_end(data, length)) return DAMAGED;
    box margins = {at_least(wanted.left - MARGIN, 0), at_least(wanted.top - MARGIN, 0),
                   at_most(wanted.right + MARGIN, width), at_most(wanted.bottom + MARGIN, height)};
    int left = 0, top = 0, tiles[2];
    size_t spliced = jpeg_splice(decoder, data, length, height, width, margins, &left, &top, tiles);
    if (!spliced) return decode(decoder, data, length, height, width, wanted, out);
    box within = {wanted.left - left, wanted.top - top, wanted.right - left, wanted.bottom - top};
    int status = decode(decoder, decoder->spliced.memory, spliced, tiles[1], tiles[0], within, out);
    out->left += left;
    out->top += top;
    return status;
}
