//! The tokenizer pipeline of the `tokenizers` crate around a model of ours: either one of the
//! crate's own, read without its detour over a JSON tree, or `ScoredBpe`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ahash::AHashMap;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokenizers::models::bpe::{BpeBuilder, BpeTrainer};
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::tokenizer::{Model, Result, Token, TokenizerImpl};
use tokenizers::{DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use crate::scored_bpe::ScoredBpe;

pub type Engine = TokenizerImpl<
    EngineModel,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

pub enum EngineModel {
    /// `id_limit` is one more than the largest id.
    Library {
        model: Box<ModelWrapper>,
        id_limit: u32,
    },
    Scored(Box<ScoredBpe>),
}

impl EngineModel {
    pub fn library(model: ModelWrapper, id_limit: u32) -> Self {
        EngineModel::Library { model: Box::new(model), id_limit }
    }

    pub fn id_limit(&self) -> u32 {
        match self {
            EngineModel::Library { id_limit, .. } => *id_limit,
            EngineModel::Scored(model) => model.len() as u32,
        }
    }
}

impl Model for EngineModel {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, sequence: &str) -> Result<Vec<Token>> {
        match self {
            EngineModel::Library { model, .. } => model.tokenize(sequence),
            EngineModel::Scored(model) => Ok(model.tokenize(sequence)),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            EngineModel::Library { model, .. } => model.token_to_id(token),
            EngineModel::Scored(model) => model.token_to_id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            EngineModel::Library { model, .. } => model.id_to_token(id),
            EngineModel::Scored(model) => model.id_to_token(id).map(str::to_string),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            EngineModel::Library { model, .. } => model.get_vocab(),
            EngineModel::Scored(model) => model.vocabulary(),
        }
    }

    fn get_vocab_size(&self) -> usize {
        match self {
            EngineModel::Library { model, .. } => model.get_vocab_size(),
            EngineModel::Scored(model) => model.len(),
        }
    }

    fn save(&self, _folder: &Path, _prefix: Option<&str>) -> Result<Vec<PathBuf>> {
        Err("a tokenizer is read here, never written".into())
    }

    fn get_trainer(&self) -> TrainerWrapper {
        TrainerWrapper::BpeTrainer(BpeTrainer::default())
    }
}

/// The crate reads a model into a JSON tree, then into its types: three copies of a vocabulary of
/// a quarter million tokens. A BPE model whose first key is its type, as the crate writes it, goes
/// straight into the builder here; every other model takes the crate's way.
impl<'de> Deserialize<'de> for EngineModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(ModelVisitor)
    }
}

struct ModelVisitor;

impl<'de> Visitor<'de> for ModelVisitor {
    type Value = EngineModel;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a tokenizer model: an object")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<EngineModel, A::Error> {
        let mut tree = serde_json::Map::new();
        let mut key = map.next_key::<String>()?;
        if key.as_deref() == Some("type") {
            let value: serde_json::Value = map.next_value()?;
            if value == "BPE" {
                return read_bpe(map);
            }
            tree.insert("type".to_string(), value);
            key = map.next_key()?;
        }
        while let Some(name) = key {
            tree.insert(name, map.next_value()?);
            key = map.next_key()?;
        }
        let model: ModelWrapper = serde_json::from_value(serde_json::Value::Object(tree))
            .map_err(|error| A::Error::custom(format!("model: {error}")))?;
        let id_limit = match model.get_vocab().values().max() {
            Some(id) => next_id::<A::Error>(*id)?,
            None => 0,
        };
        Ok(EngineModel::library(model, id_limit))
    }
}

/// Ids are int32 outside.
fn next_id<E: serde::de::Error>(id: u32) -> std::result::Result<u32, E> {
    if id >= i32::MAX as u32 {
        return Err(E::custom(format!("model.vocab: id {id} is too large")));
    }
    Ok(id + 1)
}

fn read_bpe<'de, A: MapAccess<'de>>(mut map: A) -> std::result::Result<EngineModel, A::Error> {
    let mut builder = BpeBuilder::new();
    let mut vocab = None;
    let mut merges = None;
    while let Some(key) = map.next_key::<Cow<str>>()? {
        match key.as_ref() {
            "dropout" => {
                if let Some(dropout) = map.next_value::<Option<f32>>()? {
                    builder = builder.dropout(dropout);
                }
            }
            "unk_token" => {
                if let Some(token) = map.next_value()? {
                    builder = builder.unk_token(token);
                }
            }
            "continuing_subword_prefix" => {
                if let Some(prefix) = map.next_value()? {
                    builder = builder.continuing_subword_prefix(prefix);
                }
            }
            "end_of_word_suffix" => {
                if let Some(suffix) = map.next_value()? {
                    builder = builder.end_of_word_suffix(suffix);
                }
            }
            "fuse_unk" => {
                builder = builder.fuse_unk(map.next_value::<Option<bool>>()?.unwrap_or(false))
            }
            "byte_fallback" => {
                builder = builder.byte_fallback(map.next_value::<Option<bool>>()?.unwrap_or(false))
            }
            "ignore_merges" => {
                builder = builder.ignore_merges(map.next_value::<Option<bool>>()?.unwrap_or(false))
            }
            "vocab" => vocab = Some(map.next_value_seed(VocabSeed)?),
            "merges" => merges = Some(map.next_value_seed(MergesSeed)?),
            _ => {
                map.next_value::<IgnoredAny>()?;
            }
        }
    }
    let vocab = vocab.ok_or_else(|| A::Error::custom("model.vocab: missing"))?;
    let merges = merges.ok_or_else(|| A::Error::custom("model.merges: missing"))?;
    let id_limit = match vocab.values().max() {
        Some(id) => next_id::<A::Error>(*id)?,
        None => 0,
    };
    let model = builder
        .vocab_and_merges(vocab, merges)
        .build()
        .map_err(|error| A::Error::custom(format!("model: {error}")))?;
    Ok(EngineModel::library(ModelWrapper::BPE(model), id_limit))
}

struct VocabSeed;

impl<'de> DeserializeSeed<'de> for VocabSeed {
    type Value = AHashMap<String, u32>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for VocabSeed {
    type Value = AHashMap<String, u32>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("model.vocab: an object from tokens to ids")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut vocab = AHashMap::with_capacity(1 << 15);
        while let Some((token, id)) = map.next_entry::<String, u32>()? {
            vocab.insert(token, id);
        }
        Ok(vocab)
    }
}

struct MergesSeed;

impl<'de> DeserializeSeed<'de> for MergesSeed {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for MergesSeed {
    type Value = Vec<(String, String)>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("model.merges: a list of merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(
        self,
        mut sequence: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut merges = Vec::new();
        while let Some(merge) = sequence.next_element::<Merge>()? {
            // The header line of a merges.txt, which early writers kept in the list.
            if let Merge(Some(pair)) = merge {
                merges.push(pair);
            }
        }
        Ok(merges)
    }
}

/// "a b" as early versions wrote it, or ["a", "b"].
struct Merge(Option<(String, String)>);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct MergeVisitor;
        impl<'de> Visitor<'de> for MergeVisitor {
            type Value = Merge;

            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("a merge: \"left right\" or [\"left\", \"right\"]")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<Merge, E> {
                if text.starts_with("#version") {
                    return Ok(Merge(None));
                }
                match text.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => {
                        Ok(Merge(Some((left.to_string(), right.to_string()))))
                    }
                    _ => Err(E::custom(format!("model.merges: {text:?} is not two tokens"))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut sequence: A,
            ) -> std::result::Result<Merge, A::Error> {
                let left = sequence.next_element()?;
                let right = sequence.next_element()?;
                match (left, right, sequence.next_element::<IgnoredAny>()?) {
                    (Some(left), Some(right), None) => Ok(Merge(Some((left, right)))),
                    _ => Err(A::Error::custom("model.merges: a merge that is not two tokens")),
                }
            }
        }
        deserializer.deserialize_any(MergeVisitor)
    }
}
