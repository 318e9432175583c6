/* Lossless transcoding to a JPEG with restart markers. */
#ifndef INTERPLAY_RETILE_H
#define INTERPLAY_RETILE_H

#include <stddef.h>
#include <stdint.h>

/* The same coefficients in one sequential scan, with a restart marker about every `tile` pixels of a row.

   Returns the new file, to be freed, and its length; or NULL and why in `reason` (of JMSG_LENGTH_MAX bytes). */
uint8_t *retile(const uint8_t *data, size_t length, int tile, size_t *new_length, char *reason);

#endif
