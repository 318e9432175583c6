#include "retile.h"

#include <stdlib.h>
#include <string.h>

#include "jpeg.h"
#include "recut.h"

#include <jerror.h>

/* A file that grows in memory and belongs to us even when libjpeg fails. */
typedef struct {
    struct jpeg_destination_mgr base;
    uint8_t *bytes;
    size_t capacity;
} growing;

static void start(j_compress_ptr info) {
    growing *file = (growing *)info->dest;
    file->base.next_output_byte = file->bytes;
    file->base.free_in_buffer = file->capacity;
}

static boolean grow(j_compress_ptr info) {
    growing *file = (growing *)info->dest;
    uint8_t *larger = realloc(file->bytes, 2 * file->capacity);
    if (!larger) ERREXIT1(info, JERR_OUT_OF_MEMORY, 0);
    file->bytes = larger;
    file->base.next_output_byte = larger + file->capacity;
    file->base.free_in_buffer = file->capacity;
    file->capacity *= 2;
    return TRUE;
}

static void finish(j_compress_ptr info) { (void)info; }

int interval_of(int across, int mcu_width, int tile) {
    int best = across;
    double smallest = 0.0;
    for (int count = across; count >= 1; count--) {
        if (across % count) continue;
        double pixels = (double)count * mcu_width, ratio = pixels > tile ? pixels / tile : tile / pixels;
        if (count == across || ratio < smallest) {
            smallest = ratio;
            best = count;
        }
    }
    return best;
}

typedef struct {
    escapes errors;
    struct jpeg_decompress_struct from;
    struct jpeg_compress_struct to;
    growing file;
} transcoding;

/* NULL, or why the file is refused; jumps to `errors.escape` for libjpeg's own errors. */
static const char *transcode(transcoding *work, const uint8_t *data, size_t length, int tile) {
    j_decompress_ptr from = &work->from;
    j_compress_ptr to = &work->to;
    jpeg_mem_src(from, data, (unsigned long)length);
    jpeg_read_header(from, TRUE);
    if (from->num_components != 3 || (from->jpeg_color_space != JCS_YCbCr && from->jpeg_color_space != JCS_RGB))
        return "it is not in RGB or YCbCr";
    jvirt_barray_ptr *coefficients = jpeg_read_coefficients(from);
    jpeg_copy_critical_parameters(from, to);
    int mcu_width = DCTSIZE * from->max_h_samp_factor;
    to->restart_in_rows = 0;
    int across = ((int)from->image_width + mcu_width - 1) / mcu_width;
    to->restart_interval = (unsigned)interval_of(across, mcu_width, tile);
    to->optimize_coding = TRUE;
    to->dest = &work->file.base;
    jpeg_write_coefficients(to, coefficients);
    jpeg_finish_compress(to);
    return NULL;
}

uint8_t *retile(const uint8_t *data, size_t length, int tile, size_t *new_length, char *reason) {
    uint8_t *bytes = recut(data, length, tile, new_length);
    if (bytes) return bytes;
    transcoding *work = calloc(1, sizeof *work);
    strcpy(reason, "there is not enough memory");
    if (!work) return NULL;
    work->from.err = work->to.err = escapes_init(&work->errors);
    work->file.base.init_destination = start;
    work->file.base.empty_output_buffer = grow;
    work->file.base.term_destination = finish;
    work->file.capacity = length + 4096;
    work->file.bytes = malloc(work->file.capacity);
    if (!work->file.bytes) {
        free(work);
        return NULL;
    }
    if (setjmp(work->errors.escape)) {
        work->errors.base.format_message((j_common_ptr)&work->from, reason);
    } else {
        jpeg_create_decompress(&work->from);
        jpeg_create_compress(&work->to);
        const char *refusal = transcode(work, data, length, tile);
        if (refusal) {
            strcpy(reason, refusal);
        } else {
            bytes = work->file.bytes;
            *new_length = work->file.capacity - work->file.base.free_in_buffer;
            work->file.bytes = NULL;
        }
    }
    /* both are no-ops on what was never created: the struct began as zeros */
    jpeg_destroy_compress(&work->to);
    jpeg_destroy_decompress(&work->from);
    free(work->file.bytes);
    free(work);
    return bytes;
}
