//! Tokenizers and chat templates behind a C ABI; `include/genkit_rust.h` states its conventions.

mod chat;
mod engine;
mod ffi;
mod pre_tokenizers;
mod scored_bpe;
mod tokenizer;
mod vocab;
