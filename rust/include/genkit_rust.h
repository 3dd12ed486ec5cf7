#pragma once

/* C ABI of the Rust library: tokenizers and chat templates.
 *
 * Conventions, the same for every function:
 * - The result is a GkStatus. On GK_OK the last argument, a GkBuffer, holds the returned value
 *   (empty where there is none); otherwise it holds the error message, UTF-8 without a zero byte.
 *   In both cases the caller owns the buffer and gives it back with gk_buffer_free.
 * - Text goes in as GkSlice; it need not be valid UTF-8 or end with a zero byte, may hold zero
 *   bytes, and is not kept after the call.
 * - No panic crosses: a panic inside becomes GK_INTERNAL with its message.
 * - Handles are immutable after they are made: every function that takes a const handle may be
 *   called from several threads at once, and nothing about a call stays behind in it.
 * - Integers in buffers are little-endian, as the machine's are, and not aligned.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum GkStatus {
  GK_OK = 0,
  GK_ARGUMENT = 1, /* the caller's mistake */
  GK_FORMAT = 2,   /* a file or a text in a format that cannot be what it claims to be */
  GK_IO = 3,       /* the system said no */
  GK_INTERNAL = 4, /* a defect of the library or of what it is built on */
} GkStatus;

/* Bytes lent for the time of a call. `data` may be null when `size` is 0. */
typedef struct GkSlice {
  const uint8_t* data;
  size_t size;
} GkSlice;

/* Bytes returned. Initialise with zeros; freed by gk_buffer_free, which accepts zeros. */
typedef struct GkBuffer {
  uint8_t* data;
  size_t size;
} GkBuffer;

void gk_buffer_free(GkBuffer buffer);

#ifdef __cplusplus
}
#endif
