/* Weights as Pillow computes them (libImaging/Resample.c, PRECISION_BITS = 22), and the two passes over them. */
#include "resample.h"

#include <math.h>
#include <stdlib.h>
#include "passes.h"

static const double SUPPORT[FILTERS] = {0.5, 1.0, 2.0};

void *scratch_of(scratch *piece, size_t bytes) {
    if (piece->capacity < bytes) {
        free(piece->memory);
        piece->memory = malloc(bytes);
        piece->capacity = piece->memory ? bytes : 0;
    }
    return piece->memory;
}

static double filter_at(int filter, double x) {
    if (filter == FILTER_BOX) return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
    x = fabs(x);
    if (filter == FILTER_BILINEAR) return x < 1.0 ? 1.0 - x : 0.0;
    if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1;
    if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * -0.5;
    return 0.0;
}

typedef struct {
    double scale, filter_scale, support;
} geometry;

static geometry geometry_of(const axis *wanted) {
    double scale = (double)wanted->length / wanted->size;
    double filter_scale = scale < 1.0 ? 1.0 : scale;
    return (geometry){scale, filter_scale, SUPPORT[wanted->filter] * filter_scale};
}

static void reach_of(const axis *wanted, const geometry *g, int position, double *centre, int *first, int *end) {
    *centre = (position + 0.5) * g->scale;
    *first = (int)(*centre - g->support + 0.5);
    if (*first < 0) *first = 0;
    *end = (int)(*centre + g->support + 0.5);
    if (*end > wanted->length) *end = wanted->length;
}

static int mirrored(int position, int size) {
    if (size == 1) return 0;
    int period = 2 * size - 2;
    position = abs(position) % period;
    return position < size ? position : period - position;
}

void axis_span(const axis *wanted, int *first, int *end) {
    geometry g = geometry_of(wanted);
    int low = wanted->size - 1, high = 0, unused;
    double centre;
    for (int i = 0; i < wanted->count; i++) {
        int position = mirrored(wanted->start + i, wanted->size);
        if (position < low) low = position;
        if (position > high) high = position;
    }
    reach_of(wanted, &g, low, &centre, first, &unused);
    reach_of(wanted, &g, high, &centre, &unused, end);
}

static int32_t fixed_point(double weight, double total) {
    if (total != 0.0) weight /= total;
    weight *= 1 << WEIGHT_BITS;
    return weight < 0 ? (int32_t)(-0.5 + weight) : (int32_t)(0.5 + weight);
}

/* Weights of one output pixel, split so that each half fits 16 bits; zeros at their ends are left out. */
static void set_taps(taps *out, const double *raw, double total, int count, int stride, int16_t *high,
                     int16_t *low) {
    int from = 0, to = count;
    while (to > 1 && fixed_point(raw[to - 1], total) == 0) to--;
    while (from < to - 1 && fixed_point(raw[from], total) == 0) from++;
    out->first += from;
    out->count = to - from;
    for (int i = 0; i < stride; i++) {
        int32_t weight = i < out->count ? fixed_point(raw[from + i], total) : 0;
        high[i] = (int16_t)(weight >> LOW_BITS);
        low[i] = (int16_t)(weight & ((1 << LOW_BITS) - 1));
    }
}

static int plan_axis(scratch *memory, const axis *wanted, plan *out) {
    geometry g = geometry_of(wanted);
    int widest = (int)ceil(g.support) * 2 + 1;
    int stride = (widest + TAP_GROUP - 1) / TAP_GROUP * TAP_GROUP;
    size_t count = (size_t)wanted->count;
    size_t bytes = count * sizeof(taps) + count * 2 * stride * sizeof(int16_t) + (size_t)stride * sizeof(double);
    double *raw = scratch_of(memory, bytes);
    if (!raw) return -1;
    out->pixels = (taps *)(raw + stride);
    out->high = (int16_t *)(out->pixels + count);
    out->low = out->high + count * stride;
    out->count = wanted->count;
    out->stride = stride;
    for (int i = 0; i < wanted->count; i++) {
        int place = wanted->flip ? wanted->count - 1 - i : i, first, end;
        double centre, total = 0.0;
        reach_of(wanted, &g, mirrored(wanted->start + i, wanted->size), &centre, &first, &end);
        for (int j = first; j < end; j++) {
            raw[j - first] = filter_at(wanted->filter, (j - centre + 0.5) * (1.0 / g.filter_scale));
            total += raw[j - first];
        }
        out->pixels[place].first = first;
        set_taps(&out->pixels[place], raw, total, end - first, stride, out->high + (size_t)place * stride,
                 out->low + (size_t)place * stride);
    }
    return 0;
}

/* The source pixels [*first, *end) that the taps of a plan read; the taps are then counted from *first. */
static void rebase(plan *of, int *first, int *end) {
    *first = of->pixels[0].first;
    *end = *first + of->pixels[0].count;
    for (int i = 1; i < of->count; i++) {
        const taps *pixel = &of->pixels[i];
        if (pixel->first < *first) *first = pixel->first;
        if (pixel->first + pixel->count > *end) *end = pixel->first + pixel->count;
    }
    for (int i = 0; i < of->count; i++) of->pixels[i].first -= *first;
}

/* Since version 13, where the height shrinks much more than the width. */
static int is_vertical_first(const axis *horizontal, const axis *vertical) {
    int shorter = vertical->length - vertical->size, narrower = horizontal->length - horizontal->size;
    return shorter > 0 && shorter > 2 * narrower;
}

int resample(resampler *state, const uint8_t *pixels, ptrdiff_t stride, const axis *horizontal,
             const axis *vertical, uint8_t *out) {
    plan columns, rows;
    int left, right, top, bottom;
    if (plan_axis(&state->columns, horizontal, &columns) || plan_axis(&state->rows, vertical, &rows)) return -1;
    rebase(&columns, &left, &right);
    rebase(&rows, &top, &bottom);
    pixels += top * stride + 3 * (ptrdiff_t)left;

    int vertical_first = is_vertical_first(horizontal, vertical);
    int width = 3 * (vertical_first ? right - left : columns.count);
    int height = vertical_first ? rows.count : bottom - top;
    size_t between_stride = (size_t)width + OVERREAD, out_stride = (size_t)columns.count * 3;
    uint8_t *between = scratch_of(&state->between, (size_t)height * between_stride);
    if (!between) return -1;
    if (vertical_first) {
        vertical_pass(between, between_stride, pixels, stride, width, &rows);
        horizontal_pass(out, out_stride, between, (ptrdiff_t)between_stride, height, &columns);
    } else {
        horizontal_pass(between, between_stride, pixels, stride, height, &columns);
        vertical_pass(out, out_stride, between, (ptrdiff_t)between_stride, width, &rows);
    }
    return 0;
}

void resampler_free(resampler *state) {
    free(state->columns.memory);
    free(state->rows.memory);
    free(state->between.memory);
}
