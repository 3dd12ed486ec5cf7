//! Tokenizers from the vocabularies in GGUF files: `tokenizer.ggml.*`. Messages name those keys.

use ahash::{AHashMap, AHashSet};
use serde_json::{json, Value};
use tokenizers::models::bpe::BpeBuilder;
use tokenizers::models::ModelWrapper;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
};

use crate::engine::{Engine, EngineModel};
use crate::ffi::{format_error, Failure, Outcome, Status};
use crate::pre_tokenizers;
use crate::scored_bpe::{ScoredBpe, ScoredBpeOptions};

const SPACE_MARK: &str = "\u{2581}";
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

pub struct Vocab<'a> {
    pub kind: &'a str,
    pub pre: &'a str,
    pub architecture: &'a str,
    pub tokens: Vec<&'a str>,
    /// Empty where the file has none.
    pub scores: &'a [f32],
    pub types: &'a [i32],
    pub merges: Option<Vec<&'a str>>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unk: Option<u32>,
    pub pad: Option<u32>,
    pub add_bos: Option<bool>,
    pub add_eos: Option<bool>,
    pub add_space_prefix: Option<bool>,
}

/// Everything around the model.
#[derive(Default)]
struct Pipeline {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    add_bos: bool,
}

pub fn build(vocab: &Vocab) -> Outcome<Engine> {
    let (model, pipeline) = match vocab.kind {
        "llama" => sentencepiece(vocab)?,
        "gemma4" => sentencepiece_with_merges(vocab)?,
        "gpt2" => byte_level(vocab)?,
        other => {
            return format_error(format!(
                "tokenizer.ggml.model: {other:?} is not supported; supported: gemma4, gpt2, llama"
            ))
        }
    };
    assemble(vocab, model, pipeline)
}

fn assemble(vocab: &Vocab, model: EngineModel, pipeline: Pipeline) -> Outcome<Engine> {
    let mut engine = Engine::new(model);
    let internal = |error: tokenizers::Error| Failure {
        status: Status::Internal,
        message: format!("internal error: {error}"),
    };
    if let Some(normalizer) = part::<NormalizerWrapper>(pipeline.normalizer) {
        engine.with_normalizer(Some(normalizer)).map_err(internal)?;
    }
    if let Some(pre_tokenizer) = part::<PreTokenizerWrapper>(pipeline.pre_tokenizer) {
        engine.with_pre_tokenizer(Some(pre_tokenizer));
    }
    if let Some(decoder) = part::<DecoderWrapper>(pipeline.decoder) {
        engine.with_decoder(Some(decoder));
    }
    let bos = special_of(vocab, vocab.bos, vocab.add_bos.unwrap_or(pipeline.add_bos));
    let eos = special_of(vocab, vocab.eos, vocab.add_eos.unwrap_or(false));
    if let Some(processor) = part::<PostProcessorWrapper>(template(bos, eos)) {
        engine.with_post_processor(Some(processor));
    }
    engine.add_tokens(added_tokens(vocab)).map_err(|error| Failure {
        status: Status::Format,
        message: format!("tokenizer.ggml.tokens: {error}"),
    })?;
    Ok(engine)
}

/// The descriptions are ours, so one that does not parse is a defect: the panic becomes an error.
fn part<T: serde::de::DeserializeOwned>(description: Value) -> Option<T> {
    (!description.is_null()).then(|| serde_json::from_value(description).expect("a valid part"))
}

fn special_of<'a>(vocab: &Vocab<'a>, id: Option<u32>, wanted: bool) -> Option<(&'a str, u32)> {
    id.filter(|_| wanted).map(|id| (vocab.tokens[id as usize], id))
}

fn template(bos: Option<(&str, u32)>, eos: Option<(&str, u32)>) -> Value {
    if bos.is_none() && eos.is_none() {
        return Value::Null;
    }
    let pieces = |name: &str, type_id: u32| {
        let special = |token: &str| json!({"SpecialToken": {"id": token, "type_id": type_id}});
        let mut list = Vec::new();
        list.extend(bos.map(|(token, _)| special(token)));
        list.push(json!({"Sequence": {"id": name, "type_id": type_id}}));
        list.extend(eos.map(|(token, _)| special(token)));
        list
    };
    let mut specials = serde_json::Map::new();
    for (token, id) in bos.iter().chain(eos.iter()) {
        let entry = json!({"id": token, "ids": [id], "tokens": [token]});
        specials.insert(token.to_string(), entry);
    }
    let pair: Vec<_> = pieces("A", 0).into_iter().chain(pieces("B", 1)).collect();
    json!({"type": "TemplateProcessing", "single": pieces("A", 0), "pair": pair,
           "special_tokens": specials})
}

/// Control tokens are special; user-defined ones are found whole in a text but are part of it.
fn added_tokens(vocab: &Vocab) -> Vec<AddedToken> {
    let named: AHashSet<u32> =
        [vocab.bos, vocab.eos, vocab.unk, vocab.pad].into_iter().flatten().collect();
    let mut added = Vec::new();
    for (id, token) in vocab.tokens.iter().enumerate() {
        let kind = vocab.types.get(id).copied().unwrap_or(1);
        let special = kind == CONTROL || named.contains(&(id as u32));
        if !special && kind != USER_DEFINED {
            continue;
        }
        if is_scored_sentencepiece(vocab) && is_spaces(token) {
            continue; // respelled with the space mark, and found by merging
        }
        added.push(AddedToken::from(token.to_string(), special).normalized(false));
    }
    added
}

fn is_gemma(vocab: &Vocab) -> bool {
    vocab.kind == "gemma4" || vocab.architecture.starts_with("gemma")
}

fn is_scored_sentencepiece(vocab: &Vocab) -> bool {
    vocab.kind == "llama" && is_gemma(vocab)
}

fn is_spaces(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte == b' ')
}

/// Higher scores first; equal scores, equal priority.
pub fn priorities_from_scores(scores: &[f32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_unstable_by(|a, b| scores[*b as usize].total_cmp(&scores[*a as usize]));
    let mut priorities = vec![0; scores.len()];
    let mut priority = 0;
    for (position, id) in order.iter().enumerate() {
        // == and not total_cmp: 0.0 and -0.0 are one score.
        if position > 0 && scores[*id as usize] != scores[order[position - 1] as usize] {
            priority = position as u32;
        }
        priorities[*id as usize] = priority;
    }
    priorities
}

fn sentencepiece(vocab: &Vocab) -> Outcome<(EngineModel, Pipeline)> {
    let mut pipeline = sentencepiece_pipeline(vocab);
    pipeline.add_bos = true;
    if let Some(merges) = &vocab.merges {
        let model = library_bpe(vocab.tokens.iter().map(|token| token.to_string()), merges, |b| {
            b.fuse_unk(true).byte_fallback(true)
        })?;
        return Ok((model, pipeline));
    }
    let count = vocab.tokens.len();
    // Gemma's scores do not follow the order in which its merges were learned; its ids do.
    let priorities = if is_gemma(vocab) {
        (0..count as u32).collect()
    } else {
        if vocab.scores.len() != count {
            return format_error(format!(
                "tokenizer.ggml.scores: expected {count} numbers, one a token, got {}",
                vocab.scores.len()
            ));
        }
        if let Some(bad) = vocab.scores.iter().position(|score| score.is_nan()) {
            return format_error(format!("tokenizer.ggml.scores[{bad}]: not a number"));
        }
        priorities_from_scores(vocab.scores)
    };
    let respelled: Vec<String>;
    let mut spelled: Vec<&str> = vocab.tokens.clone();
    if is_gemma(vocab) {
        let spaces: Vec<usize> = (0..count).filter(|id| is_spaces(vocab.tokens[*id])).collect();
        respelled = spaces.iter().map(|id| SPACE_MARK.repeat(vocab.tokens[*id].len())).collect();
        for (id, token) in spaces.iter().zip(&respelled) {
            spelled[*id] = token;
        }
    }
    let options = ScoredBpeOptions { unk_id: vocab.unk, fuse_unk: true };
    let model = ScoredBpe::new(spelled.iter().copied(), priorities, options)
        .or_else(|message| format_error(format!("tokenizer.ggml.tokens: {message}")))?;
    Ok((EngineModel::Scored(Box::new(model)), pipeline))
}

fn sentencepiece_pipeline(vocab: &Vocab) -> Pipeline {
    let to_mark = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK});
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE_MARK}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    let prefix = vocab.add_space_prefix.unwrap_or(!is_gemma(vocab));
    if prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let mut pipeline = Pipeline {
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        ..Pipeline::default()
    };
    if is_gemma(vocab) && !prefix {
        pipeline.normalizer = to_mark;
    } else if vocab.architecture == "phi3" && prefix {
        // Phi-3 puts the mark before every stretch between special tokens, and before one that
        // begins with a space too.
        let prepend = json!({"type": "Prepend", "prepend": SPACE_MARK});
        pipeline.normalizer = json!({"type": "Sequence", "normalizers": [prepend, to_mark]});
    } else {
        let scheme = if prefix { "first" } else { "never" };
        pipeline.pre_tokenizer = json!({"type": "Metaspace", "replacement": SPACE_MARK,
                                        "prepend_scheme": scheme, "split": false});
    }
    pipeline
}

fn sentencepiece_with_merges(vocab: &Vocab) -> Outcome<(EngineModel, Pipeline)> {
    let Some(merges) = &vocab.merges else {
        return format_error("tokenizer.ggml.merges: missing");
    };
    let unk = vocab.unk.map(|id| vocab.tokens[id as usize].to_string());
    let model =
        library_bpe(vocab.tokens.iter().map(|token| token.to_string()), merges, |mut builder| {
            if let Some(unk) = unk {
                builder = builder.unk_token(unk);
            }
            builder.fuse_unk(true).byte_fallback(true)
        })?;
    Ok((model, sentencepiece_pipeline(vocab)))
}

fn library_bpe(
    tokens: impl Iterator<Item = String>,
    merges: &[&str],
    configure: impl FnOnce(BpeBuilder) -> BpeBuilder,
) -> Outcome<EngineModel> {
    let mut ids = AHashMap::with_capacity(tokens.size_hint().0);
    let mut count = 0;
    for token in tokens {
        ids.insert(token, count);
        count += 1;
    }
    let mut pairs = Vec::with_capacity(merges.len());
    for (index, merge) in merges.iter().enumerate() {
        // The left part may begin with a space, in vocabularies that are not byte-level.
        let middle = merge.char_indices().skip(1).find(|(_, character)| *character == ' ');
        let Some((middle, _)) = middle else {
            return format_error(format!(
                "tokenizer.ggml.merges[{index}]: expected two tokens with a space between, \
                 got {merge:?}"
            ));
        };
        pairs.push((merge[..middle].to_string(), merge[middle + 1..].to_string()));
    }
    let model = configure(BpeBuilder::new().vocab_and_merges(ids, pairs))
        .build()
        .or_else(|error| format_error(format!("tokenizer.ggml.merges: {error}")))?;
    Ok(EngineModel::library(ModelWrapper::BPE(model), count))
}

/// The letter that stands for each byte in byte-level vocabularies: printable bytes stand for
/// themselves, the others take the code points from 256 on, in order.
fn byte_letters() -> [char; 256] {
    let mut letters = ['\0'; 256];
    let mut next = 256;
    for (byte, letter) in letters.iter_mut().enumerate() {
        let printable = matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        let code = if printable { byte as u32 } else { next };
        next += u32::from(!printable);
        *letter = char::from_u32(code).expect("a code point below the surrogates");
    }
    letters
}

fn byte_level(vocab: &Vocab) -> Outcome<(EngineModel, Pipeline)> {
    let Some(merges) = &vocab.merges else {
        return format_error("tokenizer.ggml.merges: missing");
    };
    let Some(pre) = pre_tokenizers::find(vocab.pre) else {
        return format_error(format!(
            "tokenizer.ggml.pre: unknown pre-tokenizer {:?}; known: {}",
            vocab.pre,
            pre_tokenizers::names()
        ));
    };
    let letters = byte_letters();
    let alphabet: AHashSet<char> = letters.iter().copied().collect();
    let tokens = vocab.tokens.iter().enumerate().map(|(id, token)| {
        let kind = vocab.types.get(id).copied().unwrap_or(1);
        let as_it_is = kind == CONTROL || kind == USER_DEFINED;
        if as_it_is || token.chars().all(|character| alphabet.contains(&character)) {
            return token.to_string();
        }
        token.bytes().map(|byte| letters[byte as usize]).collect()
    });
    let model = library_bpe(tokens, merges, |builder| builder.ignore_merges(pre.ignore_merges))?;
    let mut steps: Vec<Value> = pre
        .splits
        .iter()
        .map(|split| {
            json!({"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated",
                   "invert": false})
        })
        .collect();
    steps.push(json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                      "use_regex": false}));
    let pipeline = Pipeline {
        normalizer: if pre.nfc { json!({"type": "NFC"}) } else { Value::Null },
        pre_tokenizer: json!({"type": "Sequence", "pretokenizers": steps}),
        decoder: json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                        "use_regex": true}),
        add_bos: pre.add_bos,
    };
    Ok((model, pipeline))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_have_equal_priorities() {
        assert_eq!(priorities_from_scores(&[-1.0, 0.0, -3.0, -0.0, -1.0]), [2, 0, 4, 0, 2]);
    }

    #[test]
    fn every_split_compiles() {
        for name in pre_tokenizers::names().split(", ") {
            for split in pre_tokenizers::find(name).unwrap().splits {
                let description = json!({"type": "Split", "pattern": {"Regex": split},
                                         "behavior": "Isolated", "invert": false});
                serde_json::from_value::<PreTokenizerWrapper>(description).expect(name);
            }
        }
    }
}
