/* A restart marker resets what the DC coefficients are told relative to, and fills up a byte. All other bits of a
   segment stay as they are, so it is enough to know where blocks begin and what their DC coefficients are. */
#include "recut.h"

#include <stdlib.h>
#include <string.h>

enum { SOF0 = 0xC0, SOF1 = 0xC1, DHT = 0xC4, RST0 = 0xD0, SOI = 0xD8, EOI = 0xD9, SOS = 0xDA, DQT = 0xDB, DRI = 0xDD,
       APP0 = 0xE0, APP14 = 0xEE };
enum { LOOKED_UP = 10, LONGEST = 16, PADDING = 16, COMPONENTS = 3, LARGEST_DC = 11, MOST_DC = 1 << 14,
       SCAN_HEADER = 14 };

/* A Huffman table. `fast` maps the next bits to length << 8 | symbol, 0 for codes that are longer. */
typedef struct {
    int defined;
    uint16_t fast[1 << LOOKED_UP];
    int32_t last[LONGEST + 1]; /* the largest code of each length, -1 if there is none */
    int32_t offset[LONGEST + 1];
    uint8_t symbols[256];
    uint16_t code[LARGEST_DC + 1]; /* of small symbols, for writing */
    uint8_t size[LARGEST_DC + 1];
} table;

typedef struct {
    int identifier, blocks, dc, ac, value;
} component;

typedef struct {
    const uint8_t *bytes; /* coded data without stuffed zeros */
    uint64_t bits, at;
} reader;

typedef struct {
    uint8_t *next;
    uint64_t held; /* the `count` lowest bits are not written yet */
    int count;
} writer;

typedef struct {
    table tables[2][4]; /* DC, AC */
    component components[COMPONENTS];
    int height, width, mcu_width, mcu_height, framed;
    size_t scan; /* the first coded byte */
    uint8_t *header; /* what is kept of the markers */
    size_t header_length;
} image;

static int two_bytes(const uint8_t *at) { return at[0] << 8 | at[1]; }

static int read_table(table *to, const uint8_t *counts, const uint8_t *symbols, int total) {
    int code = 0, read = 0;
    memset(to, 0, sizeof *to);
    memcpy(to->symbols, symbols, (size_t)total);
    for (int length = 1; length <= LONGEST; length++, code <<= 1) {
        to->offset[length] = read - code;
        for (int i = 0; i < counts[length - 1]; i++, code++, read++) {
            if (code >= 1 << length) return -1;
            int symbol = symbols[read];
            if (symbol <= LARGEST_DC) {
                to->code[symbol] = (uint16_t)code;
                to->size[symbol] = (uint8_t)length;
            }
            if (length > LOOKED_UP) continue;
            int spare = LOOKED_UP - length;
            for (int rest = 0; rest < 1 << spare; rest++)
                to->fast[code << spare | rest] = (uint16_t)(length << 8 | symbol);
        }
        to->last[length] = counts[length - 1] ? code - 1 : -1;
    }
    to->defined = 1;
    return 0;
}

static int read_tables(image *of, const uint8_t *at, size_t size) {
    for (size_t i = 4; i < size;) {
        int total = 0, kind = at[i] >> 4, number = at[i] & 15;
        if (i + 17 > size || kind > 1 || number > 3) return -1;
        for (int n = 0; n < 16; n++) total += at[i + 1 + (size_t)n];
        if (total > 256 || i + 17 + (size_t)total > size) return -1;
        if (read_table(&of->tables[kind][number], at + i + 1, at + i + 17, total)) return -1;
        i += 17 + (size_t)total;
    }
    return 0;
}

static int read_frame(image *of, const uint8_t *at, size_t size) {
    int across = 1, down = 1;
    if (of->framed || size != 19 || at[4] != 8 || at[9] != COMPONENTS) return -1;
    of->framed = 1;
    of->height = two_bytes(at + 5);
    of->width = two_bytes(at + 7);
    for (int i = 0; i < COMPONENTS; i++) {
        int wide = at[11 + 3 * i] >> 4, high = at[11 + 3 * i] & 15;
        if (wide < 1 || wide > 4 || high < 1 || high > 4) return -1;
        of->components[i] = (component){.identifier = at[10 + 3 * i], .blocks = wide * high};
        if (wide > across) across = wide;
        if (high > down) down = high;
    }
    of->mcu_width = 8 * across;
    of->mcu_height = 8 * down;
    return of->height && of->width ? 0 : -1;
}

/* All components in one scan, in the frame's order, every coefficient at once. */
static int read_scan(image *of, const uint8_t *at, size_t size) {
    if (!of->framed || size != SCAN_HEADER || at[4] != COMPONENTS || at[11] != 0 || at[12] != 63 || at[13] != 0) return -1;
    for (int i = 0; i < COMPONENTS; i++) {
        component *one = &of->components[i];
        one->dc = at[6 + 2 * i] >> 4;
        one->ac = at[6 + 2 * i] & 15;
        if (at[5 + 2 * i] != one->identifier || one->dc > 3 || one->ac > 3) return -1;
        if (!of->tables[0][one->dc].defined || !of->tables[1][one->ac].defined) return -1;
    }
    return 0;
}

static void keep(image *of, const uint8_t *from, size_t size) {
    memcpy(of->header + of->header_length, from, size);
    of->header_length += size;
}

static int tells_colours(const uint8_t *segment, size_t size) {
    if (size < 9) return 0;
    return segment[1] == APP0 ? !memcmp(segment + 4, "JFIF", 5) : segment[1] == APP14 && !memcmp(segment + 4, "Adobe", 5);
}

/* Reads the markers up to the scan and keeps those that pixels depend on; 0 if the file is of the simple kind. */
static int read_header(image *of, const uint8_t *data, size_t length) {
    if (length < 4 || data[0] != 0xFF || data[1] != SOI) return -1;
    keep(of, data, 2);
    for (size_t at = 2; at + 4 <= length;) {
        int marker = data[at + 1];
        size_t size = (size_t)two_bytes(data + at + 2) + 2;
        if (data[at] != 0xFF || marker == 0xFF || size < 4 || at + size > length) return -1;
        const uint8_t *segment = data + at;
        if (marker == DHT) {
            if (read_tables(of, segment, size)) return -1;
        } else if (marker == SOF0 || marker == SOF1) {
            if (read_frame(of, segment, size)) return -1;
        } else if (marker == SOS) {
            if (read_scan(of, segment, size)) return -1;
            of->scan = at + size;
            return 0; /* the caller keeps it, behind the interval */
        } else if (marker == DRI) {
            if (size != 6 || two_bytes(segment + 4)) return -1;
        } else if (marker != DQT && (marker < APP0 || marker > 0xEF) && marker != 0xFE) {
            return -1; /* progressive, arithmetic, lossless or unknown */
        }
        if (marker == DHT || marker == SOF0 || marker == SOF1 || marker == DQT || tells_colours(segment, size))
            keep(of, segment, size);
        at += size;
    }
    return -1;
}

/* The scan without stuffed zeros, which must end with the end of the image. Returns its bytes, or 0. */
static size_t unstuff(const uint8_t *at, const uint8_t *end, uint8_t *out) {
    uint8_t *start = out;
    while (at < end) {
        const uint8_t *found = memchr(at, 0xFF, (size_t)(end - at));
        if (!found || found + 1 >= end) return 0;
        size_t plain = (size_t)(found - at);
        memcpy(out, at, plain);
        out += plain;
        at = found + 2;
        if (found[1] == EOI) {
            memset(out, 0, PADDING);
            return (size_t)(out - start);
        }
        if (found[1]) return 0;
        *out++ = 0xFF;
    }
    return 0;
}

/* At least 56 bits from position `at` on, from the highest one. */
static inline uint64_t peek(const reader *from, uint64_t at) {
    uint64_t bits;
    memcpy(&bits, from->bytes + (at >> 3), 8);
    return __builtin_bswap64(bits) << (at & 7);
}

static int decode_long(const table *with, uint64_t bits) {
    for (int length = LOOKED_UP + 1; length <= LONGEST; length++) {
        int32_t code = (int32_t)(bits >> (64 - length));
        if (with->last[length] >= 0 && code <= with->last[length])
            return length << 8 | with->symbols[(uint8_t)(with->offset[length] + code)];
    }
    return 0;
}

/* length << 8 | symbol; 0 for no code. */
static inline int decode(const table *with, uint64_t bits) {
    int found = with->fast[bits >> (64 - LOOKED_UP)];
    return found ? found : decode_long(with, bits);
}

/* The difference that `size` bits tell. */
static int extended(uint64_t bits, int size) {
    if (!size) return 0;
    int value = (int)(bits >> (64 - size));
    return value < 1 << (size - 1) ? value - (1 << size) + 1 : value;
}

static int skip_ac(reader *from, const table *with) {
    uint64_t at = from->at;
    for (int k = 1; k < 64; k++) {
        int found = decode(with, peek(from, at)), size = found & 15, run = found >> 4 & 15;
        if (!found) return -1;
        at += (uint64_t)(found >> 8) + (uint64_t)size;
        if (!size && run != 15) break;
        k += run;
        if (k > 63 || at > from->bits) return -1;
    }
    from->at = at;
    return at > from->bits ? -1 : 0;
}

static inline void put_byte(writer *to, uint8_t byte) {
    *to->next++ = byte;
    if (byte == 0xFF) *to->next++ = 0;
}

/* At most 32 bits, the lowest ones. */
static inline void put(writer *to, uint64_t bits, int count) {
    to->held = to->held << count | bits;
    to->count += count;
    if (to->count < 32) return;
    to->count -= 32;
    uint32_t ready = (uint32_t)(to->held >> to->count);
    if ((ready & 0x80808080u & ~(ready + 0x01010101u)) == 0) {
        uint32_t swapped = __builtin_bswap32(ready);
        memcpy(to->next, &swapped, 4);
        to->next += 4;
        return;
    }
    for (int shift = 24; shift >= 0; shift -= 8) put_byte(to, (uint8_t)(ready >> shift));
}

static void copy(writer *to, const reader *from, uint64_t first, uint64_t end) {
    for (; end - first >= 32; first += 32) put(to, peek(from, first) >> 32, 32);
    if (end > first) put(to, peek(from, first) >> (64 - (end - first)), (int)(end - first));
}

static void fill_byte(writer *to) {
    int missing = -to->count & 7;
    put(to, (1u << missing) - 1, missing);
    while (to->count) {
        to->count -= 8;
        put_byte(to, (uint8_t)(to->held >> to->count));
    }
}

static int put_dc(writer *to, const table *with, int value) {
    int size = 0;
    for (int rest = abs(value); rest; rest >>= 1) size++;
    if (size > LARGEST_DC || !with->size[size]) return -1;
    put(to, with->code[size], with->size[size]);
    put(to, (uint64_t)(value < 0 ? value + (1 << size) - 1 : value), size);
    return 0;
}

/* Writes the blocks of `count` MCUs as a segment of its own. */
static int put_segment(image *of, reader *from, writer *to, int count) {
    uint64_t copied = from->at;
    int begun[COMPONENTS] = {0};
    for (int mcu = 0; mcu < count; mcu++)
        for (int c = 0; c < COMPONENTS; c++)
            for (int block = 0; block < of->components[c].blocks; block++) {
                component *one = &of->components[c];
                const table *dc = &of->tables[0][one->dc];
                uint64_t start = from->at, bits = peek(from, start);
                int found = decode(dc, bits), length = found >> 8, size = found & 255;
                if (!found || size > LARGEST_DC) return -1;
                one->value += extended(bits << length, size);
                from->at = start + (uint64_t)(length + size);
                if (from->at > from->bits || abs(one->value) > MOST_DC) return -1;
                if (!begun[c]) {
                    copy(to, from, copied, start);
                    if (put_dc(to, dc, one->value)) return -1;
                    copied = from->at;
                    begun[c] = 1;
                }
                if (skip_ac(from, &of->tables[1][one->ac])) return -1;
            }
    copy(to, from, copied, from->at);
    fill_byte(to);
    return 0;
}

static int put_segments(image *of, reader *from, writer *to, int interval, int total) {
    for (int mcu = 0; mcu < total; mcu += interval) {
        if (put_segment(of, from, to, interval)) return -1;
        *to->next++ = 0xFF;
        *to->next++ = (uint8_t)(mcu + interval < total ? RST0 + (mcu / interval & 7) : EOI);
    }
    return from->bits - from->at < 8 ? 0 : -1; /* nothing is left but what filled up the last byte */
}

/* The new file of an image whose header has been read; NULL if its coded data is not what it says. */
static uint8_t *write_file(image *of, const uint8_t *scan_header, reader *from, int tile, size_t *new_length) {
    int across = (of->width + of->mcu_width - 1) / of->mcu_width;
    int total = across * ((of->height + of->mcu_height - 1) / of->mcu_height);
    int interval = interval_of(across, of->mcu_width, tile);
    const uint8_t restart[] = {0xFF, DRI, 0, 4, (uint8_t)(interval >> 8), (uint8_t)interval};
    if (from->bits < 6 * (uint64_t)total) return NULL; /* a block has two codes */
    /* a segment adds a marker, a filled byte and larger DC coefficients; at worst every byte is stuffed */
    uint8_t *out = malloc(of->header_length + 32 + from->bits / 4 + (size_t)(total / interval) * 32);
    if (!out) return NULL;
    uint8_t *at = out;
    memcpy(at, of->header, of->header_length);
    at += of->header_length;
    memcpy(at, restart, sizeof restart);
    at += sizeof restart;
    memcpy(at, scan_header, SCAN_HEADER);
    writer to = {at + SCAN_HEADER, 0, 0};
    if (put_segments(of, from, &to, interval, total)) {
        free(out);
        return NULL;
    }
    *new_length = (size_t)(to.next - out);
    return out;
}

uint8_t *recut(const uint8_t *data, size_t length, int tile, size_t *new_length) {
    image *of = calloc(1, sizeof *of);
    uint8_t *plain = malloc(length + PADDING), *out = NULL;
    if (of && plain && (of->header = malloc(length)) && !read_header(of, data, length)) {
        reader from = {plain, 8 * (uint64_t)unstuff(data + of->scan, data + length, plain), 0};
        if (from.bits) out = write_file(of, data + of->scan - SCAN_HEADER, &from, tile, new_length);
    }
    if (of) free(of->header);
    free(of);
    free(plain);
    return out;
}
