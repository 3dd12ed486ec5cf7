//! Chat templates: Jinja as transformers runs it (jinja2's immutable sandbox with loop controls,
//! the generation tag and json.dumps), with Python's values, printing and errors.

mod access;
mod ast;
mod bind;
mod bytes;
mod call;
mod entry;
mod error;
mod eval;
mod filters;
mod filters_number;
mod filters_seq;
mod filters_text;
mod float_text;
mod format;
mod globals;
mod html;
mod iter;
mod json;
mod lexer;
mod limits;
mod literal;
mod loops;
mod methods;
mod ops;
mod parser;
mod parser_expr;
mod percent;
mod pprint;
pub mod render;
mod repr;
mod runtime;
mod sorting;
mod str_case;
mod str_methods;
mod strftime;
mod symbols;
mod tests;
mod textwrap;
mod unicode;
mod urlize;
mod value;

