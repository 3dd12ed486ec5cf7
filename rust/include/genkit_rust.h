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

/* ---- Tokenizers ------------------------------------------------------------------------- */

/* A tokenizer and everything it decodes and encodes by. Immutable. */
typedef struct GkTokenizer GkTokenizer;

/* Reads a tokenizer.json. Messages are not prefixed by the file's name.
 * @param added_tokens a JSON list of {"content", "special", "lstrip", "rstrip", "single_word",
 *                     "normalized", "only_if_new", "promote"}, added in their order. With
 *                     only_if_new a token that tokenizer.json has stays as it is there; with
 *                     promote too it becomes special.
 * @param split_special_tokens whether special tokens in a text are text.
 * @param handle receives the tokenizer on GK_OK. The buffer is empty then. */
int32_t gk_tokenizer_from_json(GkSlice json, GkSlice added_tokens, int32_t split_special_tokens,
                               GkTokenizer** handle, GkBuffer* out);

/* The vocabulary of a GGUF file, named as its keys under "tokenizer.ggml.". */
typedef struct GkVocab {
  GkSlice kind; /* model: "llama", "gpt2", "gemma4" */
  GkSlice pre;
  GkSlice architecture; /* general.architecture */
  const GkSlice* tokens;
  size_t token_count;
  const float* scores;
  size_t score_count;
  const int32_t* types; /* token_type */
  size_t type_count;
  const GkSlice* merges;
  size_t merge_count;
  int32_t has_merges;
  int64_t bos; /* ids: -1 where the file does not say */
  int64_t eos;
  int64_t unk;
  int64_t pad;
  int32_t add_bos; /* flags: -1 where the file does not say */
  int32_t add_eos;
  int32_t add_space_prefix;
} GkVocab;

int32_t gk_tokenizer_from_vocab(const GkVocab* vocab, GkTokenizer** handle, GkBuffer* out);

/* Accepts null. */
void gk_tokenizer_free(GkTokenizer* handle);

/* Returns a JSON object:
 *   model              "BPE", "WordPiece", "WordLevel" or "Unigram"
 *   id_limit           one more than the largest id
 *   byte_level_decoder whether decoding is nothing but the byte alphabet
 *   byte_fallback      whether "<0x0A>" stands for a byte
 *   special_ids        sorted
 *   batch_defaults     pad_token, padding_side, truncation_side of tokenizer.json, or null */
int32_t gk_tokenizer_describe(const GkTokenizer* handle, GkBuffer* out);

/* Return uint32: ids; (id, begin, end) a token, begin and end in code points; ids of both texts. */
int32_t gk_tokenizer_encode(const GkTokenizer* handle, GkSlice text, int32_t add_special_tokens,
                            GkBuffer* out);
int32_t gk_tokenizer_encode_with_offsets(const GkTokenizer* handle, GkSlice text, int32_t add_special_tokens,
                                         GkBuffer* out);
int32_t gk_tokenizer_encode_pair(const GkTokenizer* handle, GkSlice first, GkSlice second,
                                 int32_t add_special_tokens, GkBuffer* out);

/* Returns uint32: for each text the number of ids and the ids.
 * @param max_length longer rows are cut to it, special tokens counted; -1: no limit. */
int32_t gk_tokenizer_encode_batch(const GkTokenizer* handle, const GkSlice* texts, size_t count,
                                  int32_t add_special_tokens, int64_t max_length, int32_t truncate_left,
                                  GkBuffer* out);

/* Returns UTF-8. Ids without a token add nothing. */
int32_t gk_tokenizer_decode(const GkTokenizer* handle, const uint32_t* ids, size_t count,
                            int32_t skip_special_tokens, GkBuffer* out);

/* Return a byte 1 and the value, or nothing when there is no such token. */
int32_t gk_tokenizer_id_to_token(const GkTokenizer* handle, uint32_t id, GkBuffer* out);
int32_t gk_tokenizer_token_bytes(const GkTokenizer* handle, uint32_t id, GkBuffer* out);

/* Returns one uint32, or nothing when there is no such token. */
int32_t gk_tokenizer_token_to_id(const GkTokenizer* handle, GkSlice token, GkBuffer* out);

/* ---- Chat templates ----------------------------------------------------------------------- */

/* Renders a chat template.
 * variables_json: an object; its members are the template's variables.
 * now: "2026-03-14T09:26:53", what strftime_now sees.
 * Result: uint32 n, n pairs of uint32 [begin, end) in bytes of the text that {% generation %}
 * blocks produced, then the text. GK_ARGUMENT with the template's own words where it raises;
 * GK_FORMAT, "line N: KIND: ..." for a template that does not parse or fails. Templates are kept
 * parsed. */
int32_t gk_chat_render(GkSlice template_text, GkSlice variables_json, GkSlice now, GkBuffer* out);

#ifdef __cplusplus
}
#endif
