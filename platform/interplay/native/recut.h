/* Restart markers without coding anything anew. */
#ifndef INTERPLAY_RECUT_H
#define INTERPLAY_RECUT_H

#include <stddef.h>
#include <stdint.h>

/* The number of MCUs between markers: of all that divide `across`, the one nearest to `tile` pixels by ratio. */
int interval_of(int across, int mcu_width, int tile);

/* The same JPEG with a restart marker about every `tile` pixels of a row, its coded bits copied: only the first DC
   coefficients of a segment, which are told as differences, get other ones. Huffman tables stay.

   Returns the new file, to be freed, and its length; or NULL if the file is not sequential in one scan of three
   components without markers, is damaged, or its tables have no code for such a coefficient. */
uint8_t *recut(const uint8_t *data, size_t length, int tile, size_t *new_length);

#endif
