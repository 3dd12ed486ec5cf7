//! Filters over text.

use std::sync::Arc;

use super::call::CallArgs;
use super::error::{fail, type_error, value_error, Kind, Res};
use super::html;
use super::iter;
use super::percent;
use super::pprint as pretty;
use super::repr::{repr, repr_str, to_text};
use super::runtime::Interp;
use super::str_case;
use super::str_methods::{self, want_int};
use super::textwrap;
use super::unicode::{is_space, is_word};
use super::urlize as links;
use super::value::{type_name, PyStr, Value};

/// soft_str(value): a str stays what it is, Markup included.
fn soft(interp: &mut Interp, value: &Value) -> Res<Arc<PyStr>> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        other => Ok(Arc::new(PyStr::new(to_text(interp, other)?))),
    }
}

fn map_text(interp: &mut Interp, value: &Value, change: impl Fn(&str) -> String) -> Res<Value> {
    let text = soft(interp, value)?;
    interp.budget.room(text.text.len())?;
    Ok(Value::text(change(&text.text), text.markup))
}

pub fn capitalize(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_capitalize", 0, 0)?;
    map_text(interp, &value, str_case::capitalize)
}

pub fn lower(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_lower", 0, 0)?;
    map_text(interp, &value, str::to_lowercase)
}

pub fn upper(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_upper", 0, 0)?;
    map_text(interp, &value, str::to_uppercase)
}

/// Words begin after white space, hyphens and opening brackets; jinja2 does not use str.title.
pub fn title(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_title", 0, 0)?;
    map_text(interp, &value, |text| {
        let border = |c: char| is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let kind = border(first);
            let end = rest.find(|c| border(c) != kind).unwrap_or(rest.len());
            let after = first.len_utf8();
            out.extend(first.to_uppercase());
            out.push_str(&rest[after..end].to_lowercase());
            rest = &rest[end..];
        }
        out
    })
}

pub fn center(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [width] = args.bind("do_center", ["width"], 0)?;
    let width = width.as_ref().map_or(Ok(80), want_int)?;
    let text = soft(interp, &value)?;
    Ok(Value::text(str_methods::pad(interp, &text.text, width, ' ', true, true)?, text.markup))
}

pub fn escape(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("escape", 0, 0)?;
    html::escape(interp, &value)
}

pub fn forceescape(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_forceescape", 0, 0)?;
    let text = to_text(interp, &value)?;
    Ok(Value::markup(html::escape_text(&text)))
}

pub fn safe(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_mark_safe", 0, 0)?;
    Ok(Value::markup(to_text(interp, &value)?))
}

pub fn string(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("soft_str", 0, 0)?;
    soft(interp, &value).map(Value::Str)
}

pub fn striptags(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_striptags", 0, 0)?;
    let text = to_text(interp, &value)?;
    Ok(Value::str(html::strip_tags(&text)))
}

pub fn format(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    if !args.keyword.is_empty() && !args.positional.is_empty() {
        return fail(
            Kind::FilterArgument,
            "can't handle positional and keyword arguments at the same time",
        );
    }
    let text = soft(interp, &value)?;
    let values = if args.keyword.is_empty() {
        Value::tuple(args.positional)
    } else {
        let mut dict = super::value::Dict::default();
        args.keyword.into_iter().for_each(|(name, value)| dict.insert_text(&name.text, value));
        Value::dict(dict)
    };
    percent::format(interp, &text, &values)
}

pub fn trim(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [chars] = args.bind("do_trim", ["chars"], 0)?;
    let text = soft(interp, &value)?;
    let chars = match &chars {
        None | Some(Value::None) => None,
        Some(Value::Str(chars)) => Some(chars.text.as_str()),
        Some(_) => return type_error("strip arg must be None or str"),
    };
    Ok(Value::text(str_methods::strip(&text.text, chars, true, true), text.markup))
}

pub fn replace(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [old, new, count] = args.bind("do_replace", ["old", "new", "count"], 2)?;
    let count = match count {
        None | Some(Value::None) => -1,
        Some(count) => want_int(&count)?,
    };
    let (old, new) = (old.unwrap_or(Value::None), new.unwrap_or(Value::None));
    if !interp.autoescape {
        let (text, old, new) =
            (to_text(interp, &value)?, to_text(interp, &old)?, to_text(interp, &new)?);
        return Ok(Value::str(str_methods::replace(interp, &text, &old, &new, count)?));
    }
    let force = old.is_markup() || (new.is_markup() && !value.is_markup());
    let value = if force { html::escape(interp, &value)? } else { value };
    let text = soft(interp, &value)?;
    let old = to_text(interp, &old)?;
    let new = if text.markup { html::escaped_text(interp, &new)? } else { to_text(interp, &new)? };
    Ok(Value::text(str_methods::replace(interp, &text.text, &old, &new, count)?, text.markup))
}

fn need_str(value: &Value) -> Res<Arc<PyStr>> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        Value::Undefined(undefined) => fail(undefined.kind, undefined.message.clone()),
        other => type_error(format!("expected str, got {}", type_name(other))),
    }
}

pub fn indent(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [width, first, blank] = args.bind("do_indent", ["width", "first", "blank"], 0)?;
    let text = need_str(&value)?;
    let indention = match &width {
        None => "    ".to_string(),
        Some(Value::Str(text)) => text.text.clone(),
        Some(width) => {
            let width = want_int(width)?.max(0) as usize;
            interp.budget.room(width)?;
            " ".repeat(width)
        }
    };
    let truth = |value: Option<Value>| value.is_some_and(|value| value.truth());
    let blank = truth(blank);
    let lines = str_methods::split_lines(&(text.text.clone() + "\n"), false);
    interp
        .budget
        .room(text.text.len().saturating_add(indention.len().saturating_mul(lines.len())))?;
    let mut out = String::new();
    if truth(first) {
        out.push_str(&indention);
    }
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            out.push('\n');
            if blank || !line.is_empty() {
                out.push_str(&indention);
            }
        }
        out.push_str(line);
    }
    Ok(Value::text(out, text.markup))
}

pub fn truncate(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let names = ["length", "killwords", "end", "leeway"];
    let [length, killwords, end, leeway] = args.bind("do_truncate", names, 0)?;
    let length = length.as_ref().map_or(Ok(255), want_int)?;
    let end = match end {
        Some(end) => to_text(interp, &end)?,
        None => "...".to_string(),
    };
    let leeway = match leeway {
        None | Some(Value::None) => 5,
        Some(leeway) => want_int(&leeway)?,
    };
    let end_length = end.chars().count() as i64;
    if length < end_length {
        return fail(Kind::Assertion, format!("expected length >= {end_length}, got {length}"));
    }
    if leeway < 0 {
        return fail(Kind::Assertion, format!("expected leeway >= 0, got {leeway}"));
    }
    if iter::length(interp, &value)? <= length.saturating_add(leeway) {
        return Ok(value);
    }
    let text = need_str(&value)?;
    let cut: String = text.text.chars().take((length - end_length) as usize).collect();
    let cut = match killwords.is_some_and(|flag| flag.truth()) {
        true => cut.as_str(),
        false => cut.rsplit_once(' ').map_or(cut.as_str(), |(before, _)| before),
    };
    Ok(Value::text(cut.to_string() + &end, text.markup))
}

pub fn wordcount(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_wordcount", 0, 0)?;
    let text = soft(interp, &value)?;
    let words = text.text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).count();
    Ok(Value::Int(words as i64))
}

pub fn wordwrap(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
    let [width, break_long, wrapstring, hyphens] = args.bind("do_wordwrap", names, 0)?;
    let width = width.as_ref().map_or(Ok(79), want_int)?;
    if width <= 0 {
        return value_error(format!("invalid width {width} (must be > 0)"));
    }
    let between = match wrapstring {
        None | Some(Value::None) => "\n".to_string(),
        Some(text) => to_text(interp, &text)?,
    };
    let truth = |value: Option<Value>| value.is_none_or(|value| value.truth());
    let (break_long, hyphens) = (truth(break_long), truth(hyphens));
    let text = need_str(&value)?;
    interp.budget.room(text.text.len().saturating_mul(2 + between.len()))?;
    let lines = str_methods::split_lines(&text.text, false);
    let wrapped: Vec<String> = lines
        .iter()
        .map(|line| textwrap::wrap(line, width as usize, break_long, hyphens).join(&between))
        .collect();
    Ok(Value::str(wrapped.join(&between)))
}

pub fn pprint(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_pprint", 0, 0)?;
    pretty::format(interp, &value).map(Value::str)
}

fn quote(text: &str, query: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => {
                out.push(byte as char)
            }
            b'/' if !query => out.push('/'),
            b' ' if query => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

pub fn urlencode(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_urlencode", 0, 0)?;
    if matches!(value, Value::Str(_)) || !iter::is_iterable(&value) {
        let text = to_text(interp, &value)?;
        interp.budget.room(text.len() * 3)?;
        return Ok(Value::str(quote(&text, false)));
    }
    let pairs: Vec<Value> = match &value {
        Value::Dict(dict) => {
            dict.items().map(|(key, item)| Value::tuple(vec![key.clone(), item.clone()])).collect()
        }
        other => iter::collect(interp, other)?,
    };
    let mut parts = vec![];
    for pair in pairs {
        let pair = iter::collect(interp, &pair)?;
        let [key, item] = &pair[..] else {
            return value_error(format!(
                "not enough values to unpack (expected 2, got {})",
                pair.len()
            ));
        };
        let (key, item) = (to_text(interp, key)?, to_text(interp, item)?);
        interp.budget.room((key.len() + item.len()) * 3)?;
        parts.push(format!("{}={}", quote(&key, true), quote(&item, true)));
    }
    Ok(Value::str(parts.join("&")))
}

pub fn xmlattr(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [autospace] = args.bind("do_xmlattr", ["autospace"], 0)?;
    let Value::Dict(dict) = &value else {
        if let Value::Undefined(undefined) = &value {
            return fail(undefined.kind, undefined.message.clone());
        }
        return fail(
            Kind::Attribute,
            format!("'{}' object has no attribute 'items'", type_name(&value)),
        );
    };
    let mut parts = vec![];
    for (key, item) in dict.items() {
        if matches!(item, Value::None | Value::Undefined(_)) {
            continue;
        }
        let Value::Str(name) = key else {
            return type_error("expected string or bytes-like object, got 'int'");
        };
        if name
            .text
            .contains(|c: char| c.is_ascii_whitespace() || matches!(c, '\x0b' | '/' | '>' | '='))
        {
            let shown = repr_str(&name.text);
            return value_error(format!("Invalid character in attribute name: {shown}"));
        }
        let (key, item) = (html::escaped_text(interp, key)?, html::escaped_text(interp, item)?);
        parts.push(format!("{key}=\"{item}\""));
    }
    let mut out = parts.join(" ");
    if !out.is_empty() && autospace.is_none_or(|autospace| autospace.truth()) {
        out.insert(0, ' ');
    }
    Ok(Value::text(out, interp.autoescape))
}

pub fn urlize(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let names = ["trim_url_limit", "nofollow", "target", "rel", "extra_schemes"];
    let [limit, nofollow, target, rel, schemes] = args.bind("do_urlize", names, 0)?;
    let text = html::escaped_text(interp, &value)?;
    interp.budget.room(text.len().saturating_mul(4))?;
    let word = |interp: &mut Interp, value: Option<Value>| match value {
        None | Some(Value::None) => Ok(None),
        Some(value) => to_text(interp, &value).map(Some),
    };
    let rel = word(interp, rel)?.unwrap_or_default();
    let mut rels: Vec<String> = str_methods::split(&rel, None, -1, false);
    if nofollow.is_some_and(|flag| flag.truth()) {
        rels.push("nofollow".into());
    }
    rels.push("noopener".into());
    rels.sort();
    rels.dedup();
    let target = word(interp, target)?;
    let mut extra = vec![];
    if let Some(schemes) = schemes.filter(|schemes| schemes.truth()) {
        for scheme in iter::collect(interp, &schemes)? {
            let scheme_text = to_text(interp, &scheme)?;
            let name = scheme_text.split(':').next().unwrap_or("");
            let known = name.chars().all(|c| is_word(c) || matches!(c, '.' | '+' | '-'));
            let tail = &scheme_text[name.len()..];
            if !known || name.chars().count() < 2 || !matches!(tail, ":" | ":/" | "://") {
                let shown = repr(interp, &scheme)?;
                let message = format!("{shown} is not a valid URI scheme prefix.");
                return fail(Kind::FilterArgument, message);
            }
            extra.push(scheme_text);
        }
    }
    let limit = match limit {
        None | Some(Value::None) => None,
        Some(limit) => Some(want_int(&limit)?.max(0) as usize),
    };
    let style = links::Style { limit, rel: rels.join(" "), target, schemes: extra };
    Ok(Value::text(links::urlize(&text, &style), interp.autoescape))
}
