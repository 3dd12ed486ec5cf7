//! Tokenizers and chat templates behind a C ABI; `include/genkit_rust.h` states its conventions.

mod ffi;
