//! Markup, as markupsafe has it. Chat templates are rendered without automatic escaping, but
//! `escape` and `safe` still make Markup, and adding to Markup escapes.

use super::error::Res;
use super::repr::to_text;
use super::runtime::Interp;
use super::value::Value;

pub fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '>' => out.push_str("&gt;"),
            '<' => out.push_str("&lt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    out
}

/// The text of escape(value).
pub fn escaped_text(interp: &mut Interp, value: &Value) -> Res<String> {
    let text = to_text(interp, value)?;
    interp.budget.room(text.len())?;
    Ok(if value.is_markup() { text } else { escape_text(&text) })
}

/// escape(value)
pub fn escape(interp: &mut Interp, value: &Value) -> Res<Value> {
    if value.is_markup() {
        return Ok(value.clone());
    }
    escaped_text(interp, value).map(Value::markup)
}

/// Tags and comments gone, white space collapsed, entities resolved.
pub fn strip_tags(text: &str) -> String {
    let text = cut(&cut(text, "<!--", "-->"), "<", ">");
    let words: Vec<&str> =
        text.split(super::unicode::is_space).filter(|word| !word.is_empty()).collect();
    unescape(&words.join(" "))
}

fn cut(text: &str, open: &str, close: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(open) {
        let Some(end) = rest[start..].find(close) else { break };
        out.push_str(&rest[..start]);
        rest = &rest[start + end + close.len()..];
    }
    out + rest
}

/// html.unescape for the entities that escaping makes, the common names, and numbers.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(';').filter(|end| *end <= 12);
        match end.and_then(|end| entity(&rest[1..end]).map(|c| (end, c))) {
            Some((end, c)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "copy" => '\u{a9}',
        "reg" => '\u{ae}',
        "hellip" => '\u{2026}',
        "ndash" => '\u{2013}',
        "mdash" => '\u{2014}',
        "lsquo" => '\u{2018}',
        "rsquo" => '\u{2019}',
        "ldquo" => '\u{201c}',
        "rdquo" => '\u{201d}',
        "euro" => '\u{20ac}',
        _ => return None,
    })
}
