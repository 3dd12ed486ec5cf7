//! C ABI over tokenizers and chat templates.
