//! Template text to tokens, with trim_blocks and lstrip_blocks on, as chat templates have them.
//! Follows the rules of jinja2's lexer; its regular expressions are written out.

use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::Num;

use super::ast::Const;
use super::error::{fail_at, Kind, Res};
use super::literal::unescape;
use super::unicode::{is_identifier, is_space, is_word};
use super::value::PyStr;

#[derive(Clone, Debug, PartialEq)]
pub enum Tok {
    Data(Arc<PyStr>),
    BlockBegin,
    BlockEnd,
    VariableBegin,
    VariableEnd,
    Name(Arc<PyStr>),
    Str(Arc<PyStr>),
    Integer(Const),
    Float(f64),
    Op(&'static str),
    Eof,
}

#[derive(Clone, Debug)]
pub struct Token {
    pub line: u32,
    pub tok: Tok,
}

/// Longest first, as the regular expression of jinja2 tries them.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

/// What a token is called in messages.
pub fn describe(tok: &Tok) -> String {
    match tok {
        Tok::Data(_) => "template data / text".into(),
        Tok::BlockBegin => "begin of statement block".into(),
        Tok::BlockEnd => "end of statement block".into(),
        Tok::VariableBegin => "begin of print statement".into(),
        Tok::VariableEnd => "end of print statement".into(),
        Tok::Name(name) => name.text.clone(),
        Tok::Str(_) => "string".into(),
        Tok::Integer(_) => "integer".into(),
        Tok::Float(_) => "float".into(),
        Tok::Op(op) => (*op).into(),
        Tok::Eof => "end of template".into(),
    }
}

struct Lexer {
    source: String,
    pos: usize,
    line: u32,
    line_starting: bool,
    brackets: Vec<char>,
    tokens: Vec<Token>,
}

pub fn tokenize(source: &str) -> Res<Vec<Token>> {
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    // keep_trailing_newline is off: one newline at the very end is not text.
    if source.ends_with('\n') {
        source.pop();
    }
    let mut lexer =
        Lexer { source, pos: 0, line: 1, line_starting: true, brackets: vec![], tokens: vec![] };
    while lexer.pos < lexer.source.len() {
        lexer.root()?;
    }
    let line = lexer.line;
    lexer.tokens.push(Token { line, tok: Tok::Eof });
    Ok(lexer.tokens)
}

fn newlines(text: &str) -> u32 {
    text.bytes().filter(|byte| *byte == b'\n').count() as u32
}

/// Bytes of leading white space.
fn space_len(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_space).len()
}

impl Lexer {
    fn rest(&self) -> &str {
        &self.source[self.pos..]
    }

    fn push(&mut self, tok: Tok) {
        self.tokens.push(Token { line: self.line, tok });
    }

    /// Moves on by `len` bytes and counts their lines.
    fn advance(&mut self, len: usize) {
        let text = &self.source[self.pos..self.pos + len];
        self.line_starting = text.ends_with('\n');
        self.line += newlines(text);
        self.pos += len;
    }

    /// Text up to the next tag, then the tag.
    fn root(&mut self) -> Res<()> {
        let rest = self.rest();
        let found = rest.char_indices().find(|(at, c)| {
            *c == '{' && matches!(rest.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#'))
        });
        let Some((at, _)) = found else {
            let len = rest.len();
            self.data(len);
            self.advance(len);
            return Ok(());
        };
        let kind = rest.as_bytes()[at + 1];
        let sign = rest.as_bytes().get(at + 2).copied().filter(|c| matches!(c, b'-' | b'+'));
        let kept = self.kept_before_tag(at, sign, kind == b'{');
        let raw = if kind == b'%' { raw_begin(&rest[at..]) } else { None };
        self.data(kept);
        self.advance(at);
        if let Some(len) = raw {
            self.advance(len);
            return self.raw();
        }
        let begin_line = self.line;
        self.advance(2 + sign.is_some() as usize);
        match kind {
            b'#' => self.comment(),
            b'%' => {
                self.tokens.push(Token { line: begin_line, tok: Tok::BlockBegin });
                self.code(true)
            }
            _ => {
                self.tokens.push(Token { line: begin_line, tok: Tok::VariableBegin });
                self.code(false)
            }
        }
    }

    /// How much of the `len` bytes of text before a tag stays.
    fn kept_before_tag(&self, len: usize, sign: Option<u8>, variable: bool) -> usize {
        let text = &self.rest()[..len];
        match sign {
            Some(b'-') => text.trim_end_matches(is_space).len(),
            None if !variable => {
                let line_start = text.rfind('\n').map_or(0, |at| at + 1);
                let blank = text[line_start..].chars().all(is_space);
                if blank && (line_start > 0 || self.line_starting) {
                    line_start
                } else {
                    len
                }
            }
            _ => len,
        }
    }

    fn data(&mut self, len: usize) {
        if len > 0 {
            let text = Arc::new(PyStr::new(self.rest()[..len].to_string()));
            self.push(Tok::Data(text));
        }
    }

    fn comment(&mut self) -> Res<()> {
        let rest = self.rest();
        let Some(end) = rest.find("#}") else {
            return fail_at(Kind::Syntax, self.line, "Missing end of comment tag");
        };
        let mut stop = end + 2;
        // The sign belongs to the closing delimiter only when text of the comment is not eaten.
        if end > 0 && rest.as_bytes()[end - 1] == b'-' {
            stop += space_len(&rest[stop..]);
        } else if !(end > 0 && rest.as_bytes()[end - 1] == b'+') && rest[stop..].starts_with('\n') {
            stop += 1;
        }
        self.advance(stop);
        Ok(())
    }

    /// The text of a raw block, through its end tag.
    fn raw(&mut self) -> Res<()> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest[from..].find("{%") {
            let at = from + found;
            if let Some((sign, len)) = raw_end(&rest[at..]) {
                let kept = self.kept_before_tag(at, sign, false);
                self.data(kept);
                self.advance(at + len);
                return Ok(());
            }
            from = at + 1;
        }
        fail_at(Kind::Syntax, self.line, "Missing end of raw directive")
    }

    /// Length of the closing delimiter at the present place, white space it eats included.
    fn closing(&self, block: bool) -> Option<usize> {
        let rest = self.rest();
        let delimiter = if block { "%}" } else { "}}" };
        if let Some(after) = rest.strip_prefix(delimiter) {
            return Some(2 + (block && after.starts_with('\n')) as usize);
        }
        if block && rest.starts_with('+') && rest[1..].starts_with(delimiter) {
            return Some(3);
        }
        if rest.starts_with('-') && rest[1..].starts_with(delimiter) {
            return Some(3 + space_len(&rest[3..]));
        }
        None
    }

    /// Tokens inside a tag, through its end.
    fn code(&mut self, block: bool) -> Res<()> {
        while self.pos < self.source.len() {
            if self.brackets.is_empty() {
                if let Some(len) = self.closing(block) {
                    self.push(if block { Tok::BlockEnd } else { Tok::VariableEnd });
                    self.advance(len);
                    return Ok(());
                }
            }
            self.code_token()?;
        }
        Ok(())
    }

    fn code_token(&mut self) -> Res<()> {
        let rest = self.rest();
        let space = space_len(rest);
        if space > 0 {
            self.advance(space);
            return Ok(());
        }
        if let Some((tok, len)) = number(rest, self.source[..self.pos].ends_with('.')) {
            self.push(tok);
            self.advance(len);
            return Ok(());
        }
        let word: usize =
            rest.chars().take_while(|c| is_word(*c) || *c == '\u{b7}').map(char::len_utf8).sum();
        if word > 0 {
            let name = rest[..word].to_string();
            if !is_identifier(&name) {
                return fail_at(Kind::Syntax, self.line, "Invalid character in identifier");
            }
            self.push(Tok::Name(Arc::new(PyStr::new(name))));
            self.advance(word);
            return Ok(());
        }
        if let Some(len) = string_len(rest) {
            let text = match unescape(&rest[1..len - 1]) {
                Ok(text) => text,
                Err(message) => return fail_at(Kind::Syntax, self.line, message),
            };
            self.push(Tok::Str(Arc::new(PyStr::new(text))));
            self.advance(len);
            return Ok(());
        }
        let Some(operator) = OPERATORS.iter().find(|operator| rest.starts_with(**operator)) else {
            let c = rest.chars().next().unwrap_or(' ');
            let shown = super::repr::repr_str(&c.to_string());
            let at = self.source[..self.pos].chars().count();
            return fail_at(Kind::Syntax, self.line, format!("unexpected char {shown} at {at}"));
        };
        self.balance(operator)?;
        self.push(Tok::Op(operator));
        self.advance(operator.len());
        Ok(())
    }

    fn balance(&mut self, operator: &str) -> Res<()> {
        match operator {
            "{" => self.brackets.push('}'),
            "(" => self.brackets.push(')'),
            "[" => self.brackets.push(']'),
            "}" | ")" | "]" => match self.brackets.pop() {
                None => {
                    return fail_at(Kind::Syntax, self.line, format!("unexpected '{operator}'"))
                }
                Some(expected) if !operator.starts_with(expected) => {
                    let message = format!("unexpected '{operator}', expected '{expected}'");
                    return fail_at(Kind::Syntax, self.line, message);
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}

/// Length of `{% raw %}` at the start of the text.
fn raw_begin(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("{%")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner =
        inner.trim_start_matches(is_space).strip_prefix("raw")?.trim_start_matches(is_space);
    let inner = match inner.strip_prefix("-%}") {
        Some(after) => after.trim_start_matches(is_space),
        None => inner.strip_prefix("%}")?,
    };
    Some(text.len() - inner.len())
}

/// Sign and length of `{% endraw %}` at the start of the text.
fn raw_end(text: &str) -> Option<(Option<u8>, usize)> {
    let inner = text.strip_prefix("{%")?;
    let sign = inner.bytes().next().filter(|c| matches!(c, b'-' | b'+'));
    let inner = if sign.is_some() { &inner[1..] } else { inner };
    let inner =
        inner.trim_start_matches(is_space).strip_prefix("endraw")?.trim_start_matches(is_space);
    let inner = if let Some(after) = inner.strip_prefix("-%}") {
        after.trim_start_matches(is_space)
    } else if let Some(after) = inner.strip_prefix("+%}") {
        after
    } else {
        let after = inner.strip_prefix("%}")?;
        after.strip_prefix('\n').unwrap_or(after)
    };
    Some((sign, text.len() - inner.len()))
}

/// Length of a quoted string, quotes included.
fn string_len(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(at + 1);
        }
    }
    None
}

/// Digits with single underscores between them: `(\d+_)*\d+`.
fn digits(text: &str, digit: impl Fn(u8) -> bool) -> usize {
    let bytes = text.as_bytes();
    let mut len = 0;
    while len < bytes.len() {
        if digit(bytes[len]) {
            len += 1;
        } else if len > 0 && bytes[len] == b'_' && bytes.get(len + 1).is_some_and(|c| digit(*c)) {
            len += 2;
        } else {
            break;
        }
    }
    len
}

fn decimal(text: &str) -> usize {
    digits(text, |c| c.is_ascii_digit())
}

fn number(text: &str, after_dot: bool) -> Option<(Tok, usize)> {
    if !text.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    if !after_dot {
        if let Some(len) = float_len(text) {
            let value = text[..len].replace('_', "").parse().unwrap_or(f64::INFINITY);
            return Some((Tok::Float(value), len));
        }
    }
    let (len, radix, skip) = integer_len(text);
    let clean = text[skip..len].replace('_', "");
    let value = match i64::from_str_radix(&clean, radix) {
        Ok(small) => Const::Int(small),
        Err(_) => Const::Big(BigInt::from_str_radix(&clean, radix).unwrap_or_default()),
    };
    Some((Tok::Integer(value), len))
}

fn float_len(text: &str) -> Option<usize> {
    let whole = decimal(text);
    let mut len = whole;
    let fraction = text[len..].strip_prefix('.').map_or(0, decimal);
    if fraction > 0 {
        len += 1 + fraction;
    }
    let mut exponent = 0;
    if let Some(after) = text[len..].strip_prefix(['e', 'E']) {
        let sign = after.starts_with(['+', '-']) as usize;
        let power = decimal(&after[sign..]);
        if power > 0 {
            exponent = 1 + sign + power;
        }
    }
    (fraction > 0 || exponent > 0).then_some(len + exponent)
}

/// (length, radix, bytes of prefix)
fn integer_len(text: &str) -> (usize, u32, usize) {
    let prefix = text.get(..2).unwrap_or("").to_ascii_lowercase();
    for (name, radix) in [("0b", 2), ("0o", 8), ("0x", 16)] {
        if prefix == name {
            // An underscore may stand right behind the prefix.
            let underscore = text[2..].starts_with('_') as usize;
            let len = digits(&text[2 + underscore..], |c| (c as char).is_digit(radix));
            if len > 0 {
                return (2 + underscore + len, radix, 2);
            }
        }
    }
    if text.starts_with('0') {
        return (digits(text, |c| c == b'0'), 10, 0);
    }
    (decimal(text), 10, 0)
}
