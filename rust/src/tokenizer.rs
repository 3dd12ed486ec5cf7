//! Entry points of the tokenizer; `include/genkit_rust.h` documents them.

use serde::{Deserialize, Serialize};
use tokenizers::models::ModelWrapper;
use tokenizers::tokenizer::{Decoder, Model, PostProcessor};
use tokenizers::{AddedToken, DecoderWrapper, Encoding, PaddingDirection, TruncationDirection};

use crate::engine::{Engine, EngineModel};
use crate::ffi::{
    argument_error, entry, format_error, pack_u32, Failure, GkBuffer, GkSlice, Outcome, Status,
};
use crate::vocab::{self, Vocab};

/// Offsets are 32 bits wide.
const LONGEST_TEXT: usize = 1 << 30;

/// A text that every vocabulary can spell, put before a token so that nothing at its beginning is
/// taken for the beginning of a text.
const STATIC_PREFIX: &str = "abcdef";

/// What a token is in the decoded text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ByteSpelling {
    /// Tokens are words of the 256-letter byte alphabet.
    ByteLevel,
    /// "<0x0A>" stands for a byte.
    ByteFallback,
    None,
}

pub struct GkTokenizer {
    engine: Engine,
    spelling: ByteSpelling,
    prefix_tokens: Vec<String>,
    id_limit: u32,
    batch_defaults: BatchDefaults,
}

/// What tokenizer.json says about padding and truncation; transformers takes it over where
/// tokenizer_config.json says nothing.
#[derive(Serialize)]
struct BatchDefaults {
    pad_token: Option<String>,
    padding_side: Option<&'static str>,
    truncation_side: Option<&'static str>,
}

impl BatchDefaults {
    fn of(engine: &Engine) -> Self {
        let padding = engine.get_padding();
        BatchDefaults {
            pad_token: padding.map(|padding| padding.pad_token.clone()),
            padding_side: padding.map(|padding| match padding.direction {
                PaddingDirection::Left => "left",
                PaddingDirection::Right => "right",
            }),
            truncation_side: engine.get_truncation().map(|truncation| match truncation.direction {
                TruncationDirection::Left => "left",
                TruncationDirection::Right => "right",
            }),
        }
    }
}

impl GkTokenizer {
    fn new(mut engine: Engine) -> Outcome<Self> {
        let batch_defaults = BatchDefaults::of(&engine);
        // Neither cuts nor pads unless a call asks for it.
        engine.with_truncation(None).map_err(|error| internal(&*error))?;
        engine.with_padding(None);
        let spelling = engine.get_decoder().map_or(ByteSpelling::None, spelling_of);
        let prefix_tokens = match engine.encode(STATIC_PREFIX, false) {
            Ok(encoding) => encoding.get_tokens().to_vec(),
            Err(_) => Vec::new(),
        };
        let added = engine.get_added_vocabulary().get_added_tokens_decoder();
        let added_limit = added.keys().max().map_or(0, |id| id + 1);
        let id_limit = engine.get_model().id_limit().max(added_limit);
        Ok(GkTokenizer { engine, spelling, prefix_tokens, id_limit, batch_defaults })
    }

    fn token(&self, id: u32) -> Option<String> {
        let added = self.engine.get_added_vocabulary().get_added_tokens_decoder();
        match added.get(&id) {
            Some(token) => Some(token.content.clone()),
            None => self.engine.get_model().id_to_token(id),
        }
    }

    /// @source transformers 5.23 StopStringCriteria.clean_tokenizer_vocab
    fn token_bytes(&self, token: &str) -> Outcome<Vec<u8>> {
        match self.spelling {
            ByteSpelling::ByteLevel => {
                let bytes: Option<Vec<u8>> = token.chars().map(byte_of_letter).collect();
                if let Some(bytes) = bytes {
                    return Ok(bytes);
                }
            }
            ByteSpelling::ByteFallback => {
                if let Some(byte) = byte_of_fallback(token) {
                    return Ok(vec![byte]);
                }
            }
            ByteSpelling::None => {}
        }
        let Some(decoder) = self.engine.get_decoder() else {
            return Ok(token.as_bytes().to_vec());
        };
        let mut tokens = self.prefix_tokens.clone();
        tokens.push(token.to_string());
        let text = decoder.decode(tokens).map_err(|error| internal(&*error))?;
        // A vocabulary that cannot spell the prefix leaves the token's own spelling.
        Ok(match text.find(STATIC_PREFIX) {
            Some(start) => text[start + STATIC_PREFIX.len()..].as_bytes().to_vec(),
            None => token.as_bytes().to_vec(),
        })
    }
}

fn internal(error: &(dyn std::error::Error + Send + Sync)) -> Failure {
    Failure { status: Status::Internal, message: error.to_string() }
}

/// Byte fallback counts first where both occur.
fn spelling_of(decoder: &DecoderWrapper) -> ByteSpelling {
    match decoder {
        DecoderWrapper::ByteFallback(_) => ByteSpelling::ByteFallback,
        DecoderWrapper::ByteLevel(_) => ByteSpelling::ByteLevel,
        DecoderWrapper::Sequence(sequence) => {
            let inner: Vec<_> = sequence.get_decoders().iter().map(spelling_of).collect();
            [ByteSpelling::ByteFallback, ByteSpelling::ByteLevel]
                .into_iter()
                .find(|spelling| inner.contains(spelling))
                .unwrap_or(ByteSpelling::None)
        }
        _ => ByteSpelling::None,
    }
}

fn byte_of_letter(letter: char) -> Option<u8> {
    match letter as u32 {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

fn byte_of_fallback(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// One entry of the JSON list of tokens to add: the fields of tokenizers' AddedToken.
#[derive(Deserialize)]
struct AddedTokenFields {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
    /// Left as it is when tokenizer.json has a token of this content ...
    #[serde(default)]
    only_if_new: bool,
    /// ... except that it becomes special.
    #[serde(default)]
    promote: bool,
}

impl AddedTokenFields {
    /// What there is to add to `engine`.
    fn resolve(self, engine: &Engine) -> Option<AddedToken> {
        let vocabulary = engine.get_added_vocabulary();
        let existing = vocabulary
            .get_vocab()
            .get(&self.content)
            .and_then(|id| vocabulary.get_added_tokens_decoder().get(id));
        if let (true, Some(existing)) = (self.only_if_new, existing) {
            let promoted = self.promote && !existing.special;
            return promoted.then(|| existing.clone().special(true));
        }
        Some(
            AddedToken::from(self.content, self.special)
                .single_word(self.single_word)
                .lstrip(self.lstrip)
                .rstrip(self.rstrip)
                .normalized(self.normalized.unwrap_or(!self.special)),
        )
    }
}

fn text_of<'a>(slice: GkSlice) -> Outcome<&'a str> {
    let text = unsafe { slice.text("text")? };
    if text.len() > LONGEST_TEXT {
        return argument_error(format!(
            "text: expected at most {LONGEST_TEXT} bytes, got {}",
            text.len()
        ));
    }
    Ok(text)
}

/// Some contents make the crate panic where it expects to have checked them: the file's fault.
fn parse(json: &[u8]) -> Outcome<Engine> {
    let parsed = crate::ffi::catch(|| {
        serde_json::from_slice::<Engine>(json).or_else(|error| format_error(error.to_string()))
    });
    parsed.map_err(|failure| Failure { status: Status::Format, ..failure })
}

fn hand_over(engine: Engine, handle: *mut *mut GkTokenizer) -> Outcome<Vec<u8>> {
    let tokenizer = Box::new(GkTokenizer::new(engine)?);
    unsafe { handle.write(Box::into_raw(tokenizer)) };
    Ok(Vec::new())
}

/// # Safety
/// The slices are readable, `handle` is writable.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_from_json(
    json: GkSlice,
    added_tokens: GkSlice,
    split_special_tokens: i32,
    handle: *mut *mut GkTokenizer,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let mut engine = parse(json.bytes())?;
        let fields: Vec<AddedTokenFields> =
            serde_json::from_slice(added_tokens.bytes()).map_err(|error| internal(&error))?;
        let tokens: Vec<AddedToken> =
            fields.into_iter().filter_map(|token| token.resolve(&engine)).collect();
        if !tokens.is_empty() {
            engine.add_tokens(tokens).or_else(|error| format_error(error.to_string()))?;
        }
        engine.set_encode_special_tokens(split_special_tokens != 0);
        hand_over(engine, handle)
    })
}

/// The vocabulary of a GGUF file; ids are -1 and flags -1 where the file does not say.
#[repr(C)]
pub struct GkVocab {
    pub kind: GkSlice,
    pub pre: GkSlice,
    pub architecture: GkSlice,
    pub tokens: *const GkSlice,
    pub token_count: usize,
    pub scores: *const f32,
    pub score_count: usize,
    pub types: *const i32,
    pub type_count: usize,
    pub merges: *const GkSlice,
    pub merge_count: usize,
    pub has_merges: i32,
    pub bos: i64,
    pub eos: i64,
    pub unk: i64,
    pub pad: i64,
    pub add_bos: i32,
    pub add_eos: i32,
    pub add_space_prefix: i32,
}

unsafe fn raw_slice<'a, T>(data: *const T, count: usize) -> &'a [T] {
    if count == 0 {
        return &[];
    }
    std::slice::from_raw_parts(data, count)
}

unsafe fn strings<'a>(data: *const GkSlice, count: usize, key: &str) -> Outcome<Vec<&'a str>> {
    raw_slice(data, count)
        .iter()
        .enumerate()
        .map(|(index, slice)| {
            std::str::from_utf8(slice.bytes()).or_else(|error| {
                let at = error.valid_up_to();
                format_error(format!("{key}[{index}]: invalid UTF-8 at byte {at}"))
            })
        })
        .collect()
}

fn id_in_vocab(id: i64, count: usize, key: &str) -> Outcome<Option<u32>> {
    match id {
        -1 => Ok(None),
        id if id >= 0 && (id as u64) < count as u64 => Ok(Some(id as u32)),
        id => format_error(format!("tokenizer.ggml.{key}: {id} is not one of the {count} tokens")),
    }
}

fn flag(value: i32) -> Option<bool> {
    (value >= 0).then_some(value != 0)
}

/// # Safety
/// All of `vocab`'s arrays are readable, `handle` is writable.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_from_vocab(
    vocab: *const GkVocab,
    handle: *mut *mut GkTokenizer,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let raw = &*vocab;
        let count = raw.token_count;
        if count == 0 || count >= i32::MAX as usize {
            return format_error(format!("tokenizer.ggml.tokens: {count} tokens"));
        }
        let types = raw_slice(raw.types, raw.type_count);
        if !types.is_empty() && types.len() != count {
            return format_error(format!(
                "tokenizer.ggml.token_type: expected {count} numbers, one a token, got {}",
                types.len()
            ));
        }
        let merges = match raw.has_merges {
            0 => None,
            _ => Some(strings(raw.merges, raw.merge_count, "tokenizer.ggml.merges")?),
        };
        let vocab = Vocab {
            kind: strings(&raw.kind, 1, "tokenizer.ggml.model")?[0],
            pre: strings(&raw.pre, 1, "tokenizer.ggml.pre")?[0],
            architecture: strings(&raw.architecture, 1, "general.architecture")?[0],
            tokens: strings(raw.tokens, count, "tokenizer.ggml.tokens")?,
            scores: raw_slice(raw.scores, raw.score_count),
            types,
            merges,
            bos: id_in_vocab(raw.bos, count, "bos_token_id")?,
            eos: id_in_vocab(raw.eos, count, "eos_token_id")?,
            unk: id_in_vocab(raw.unk, count, "unknown_token_id")?,
            pad: id_in_vocab(raw.pad, count, "padding_token_id")?,
            add_bos: flag(raw.add_bos),
            add_eos: flag(raw.add_eos),
            add_space_prefix: flag(raw.add_space_prefix),
        };
        hand_over(vocab::build(&vocab)?, handle)
    })
}

/// # Safety
/// `handle` came from this library and was not freed before, or is null.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_free(handle: *mut GkTokenizer) {
    if !handle.is_null() {
        let _ = crate::ffi::catch(|| {
            drop(Box::from_raw(handle));
            Ok(())
        });
    }
}

/// # Safety
/// `handle` is alive.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_describe(
    handle: *const GkTokenizer,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let tokenizer = &*handle;
        let added = tokenizer.engine.get_added_vocabulary().get_added_tokens_decoder();
        let mut special: Vec<u32> =
            added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id).collect();
        special.sort_unstable();
        let model = match tokenizer.engine.get_model() {
            EngineModel::Scored(_) => "BPE",
            EngineModel::Library { model, .. } => match **model {
                ModelWrapper::BPE(_) => "BPE",
                ModelWrapper::WordPiece(_) => "WordPiece",
                ModelWrapper::WordLevel(_) => "WordLevel",
                ModelWrapper::Unigram(_) => "Unigram",
            },
        };
        let only_byte_level =
            matches!(tokenizer.engine.get_decoder(), Some(DecoderWrapper::ByteLevel(_)));
        let description = serde_json::json!({
            "model": model,
            "id_limit": tokenizer.id_limit,
            "byte_level_decoder": only_byte_level,
            "byte_fallback": tokenizer.spelling == ByteSpelling::ByteFallback,
            "special_ids": special,
            "batch_defaults": tokenizer.batch_defaults,
        });
        Ok(description.to_string().into_bytes())
    })
}

/// # Safety
/// `handle` is alive, `text` readable.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_encode(
    handle: *const GkTokenizer,
    text: GkSlice,
    add_special_tokens: i32,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let encoding = (*handle)
            .engine
            .encode_fast(text_of(text)?, add_special_tokens != 0)
            .map_err(|error| internal(&*error))?;
        Ok(pack_u32(encoding.get_ids().iter().copied()))
    })
}

/// # Safety
/// `handle` is alive, `text` readable.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_encode_with_offsets(
    handle: *const GkTokenizer,
    text: GkSlice,
    add_special_tokens: i32,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let encoding = (*handle)
            .engine
            .encode_char_offsets(text_of(text)?, add_special_tokens != 0)
            .map_err(|error| internal(&*error))?;
        let triples = encoding
            .get_ids()
            .iter()
            .zip(encoding.get_offsets())
            .flat_map(|(id, (begin, end))| [*id, *begin as u32, *end as u32]);
        Ok(pack_u32(triples))
    })
}

/// # Safety
/// `handle` is alive, the texts are readable.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_encode_pair(
    handle: *const GkTokenizer,
    first: GkSlice,
    second: GkSlice,
    add_special_tokens: i32,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let encoding = (*handle)
            .engine
            .encode_fast((text_of(first)?, text_of(second)?), add_special_tokens != 0)
            .map_err(|error| internal(&*error))?;
        Ok(pack_u32(encoding.get_ids().iter().copied()))
    })
}

/// # Safety
/// `handle` is alive, the `count` texts are readable.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_encode_batch(
    handle: *const GkTokenizer,
    texts: *const GkSlice,
    count: usize,
    add_special_tokens: i32,
    max_length: i64,
    truncate_left: i32,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let mut inputs = Vec::with_capacity(count);
        for (index, slice) in raw_slice(texts, count).iter().enumerate() {
            inputs.push(text_of(*slice).map_err(|failure| Failure {
                message: failure.message.replacen("text", &format!("texts[{index}]"), 1),
                ..failure
            })?);
        }
        let engine = &(*handle).engine;
        let special = add_special_tokens != 0;
        let encodings = if max_length < 0 {
            engine.encode_batch_fast(inputs, special).map_err(|error| internal(&*error))?
        } else {
            encode_truncated(engine, inputs, special, max_length as usize, truncate_left != 0)?
        };
        let mut packed = Vec::new();
        for encoding in &encodings {
            packed.push(encoding.len() as u32);
            packed.extend_from_slice(encoding.get_ids());
        }
        Ok(pack_u32(packed))
    })
}

/// Cuts each text so that it has at most `max_length` ids with its special tokens.
fn encode_truncated(
    engine: &Engine,
    inputs: Vec<&str>,
    special: bool,
    max_length: usize,
    left: bool,
) -> Outcome<Vec<Encoding>> {
    let added = match engine.get_post_processor() {
        Some(processor) if special => processor.added_tokens(false),
        _ => 0,
    };
    if max_length < added {
        return argument_error(format!(
            "max_length: expected at least the {added} special tokens, got {max_length}"
        ));
    }
    let direction = if left { TruncationDirection::Left } else { TruncationDirection::Right };
    let bare = engine.encode_batch_fast(inputs, false).map_err(|error| internal(&*error))?;
    bare.into_iter()
        .map(|mut encoding| {
            encoding.truncate(max_length - added, 0, direction);
            engine.post_process(encoding, None, special).map_err(|error| internal(&*error))
        })
        .collect()
}

/// # Safety
/// `handle` is alive, the `count` ids are readable.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_decode(
    handle: *const GkTokenizer,
    ids: *const u32,
    count: usize,
    skip_special_tokens: i32,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let text = (*handle)
            .engine
            .decode(raw_slice(ids, count), skip_special_tokens != 0)
            .map_err(|error| internal(&*error))?;
        Ok(text.into_bytes())
    })
}

/// A found value behind a byte, so that an empty buffer can mean "none".
fn found(value: Option<Vec<u8>>) -> Vec<u8> {
    value.map_or_else(Vec::new, |mut bytes| {
        bytes.insert(0, 1);
        bytes
    })
}

/// # Safety
/// `handle` is alive.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_id_to_token(
    handle: *const GkTokenizer,
    id: u32,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || Ok(found((*handle).token(id).map(String::into_bytes))))
}

/// # Safety
/// `handle` is alive.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_token_bytes(
    handle: *const GkTokenizer,
    id: u32,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let tokenizer = &*handle;
        let bytes = match tokenizer.token(id) {
            Some(token) => Some(tokenizer.token_bytes(&token)?),
            None => None,
        };
        Ok(found(bytes))
    })
}

/// # Safety
/// `handle` is alive, `token` readable.
#[no_mangle]
pub unsafe extern "C" fn gk_tokenizer_token_to_id(
    handle: *const GkTokenizer,
    token: GkSlice,
    out: *mut GkBuffer,
) -> i32 {
    entry(out, || {
        let id = std::str::from_utf8(token.bytes())
            .ok()
            .and_then(|token| (*handle).engine.token_to_id(token));
        Ok(pack_u32(id))
    })
}
