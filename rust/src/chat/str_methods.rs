//! Methods of str.

use std::sync::Arc;

use super::access::slice_indices;
use super::bytes;
use super::call::CallArgs;
use super::error::{fail, type_error, value_error, Kind, Res};
use super::format;
use super::html;
use super::iter;
use super::ops::as_index;
use super::runtime::Interp;
use super::str_case::*;
use super::unicode::*;
use super::value::{type_name, PyStr, Value};

const NAMES: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

pub fn find(name: &str) -> Option<&'static str> {
    NAMES.binary_search(&name).ok().map(|at| NAMES[at])
}

fn want_str<'a>(value: &'a Value, what: &str) -> Res<&'a Arc<PyStr>> {
    match value {
        Value::Str(text) => Ok(text),
        other => type_error(format!("{what} must be str, not {}", type_name(other))),
    }
}

pub fn want_int(value: &Value) -> Res<i64> {
    match as_index(value) {
        Some(number) => Ok(number),
        None => match value {
            Value::Undefined(undefined) => fail(undefined.kind, undefined.message.clone()),
            Value::Big(_) => fail(Kind::Overflow, "Python int too large to convert to C ssize_t"),
            _ => type_error(format!(
                "'{}' object cannot be interpreted as an integer",
                type_name(value)
            )),
        },
    }
}

/// Start and stop arguments as byte offsets; none when the window lies outside of the text.
fn window(
    text: &PyStr,
    start: Option<&Value>,
    stop: Option<&Value>,
) -> Res<Option<(usize, usize)>> {
    let length = text.char_len() as i64;
    if let Some(start) = start.and_then(as_index) {
        if start > length {
            return Ok(None);
        }
    }
    let none = Value::None;
    let parts = [start.unwrap_or(&none).clone(), stop.unwrap_or(&none).clone(), Value::None];
    let (start, stop, _) = slice_indices(&parts, length)?;
    if start > stop {
        return Ok(None);
    }
    Ok(Some((byte_offset(text, start as usize), byte_offset(text, stop as usize))))
}

fn byte_offset(text: &PyStr, chars: usize) -> usize {
    if text.ascii {
        return chars.min(text.text.len());
    }
    text.text.char_indices().nth(chars).map_or(text.text.len(), |(at, _)| at)
}

fn char_offset(text: &PyStr, bytes: usize) -> i64 {
    if text.ascii {
        bytes as i64
    } else {
        text.text[..bytes].chars().count() as i64
    }
}

pub fn pad(
    interp: &mut Interp,
    text: &str,
    width: i64,
    fill: char,
    left: bool,
    right: bool,
) -> Res<String> {
    let length = text.chars().count() as i64;
    let missing = width.saturating_sub(length).max(0);
    interp
        .budget
        .room((missing as usize).saturating_mul(fill.len_utf8()).saturating_add(text.len()))?;
    let before = match (left, right) {
        // CPython puts the odd space to the left only for an odd width.
        (true, true) => missing / 2 + (missing & width & 1),
        (true, false) => missing,
        _ => 0,
    };
    let fills = |count: i64| std::iter::repeat_n(fill, count as usize);
    Ok(fills(before).chain(text.chars()).chain(fills(missing - before)).collect())
}

fn fill_char(value: Option<&Value>) -> Res<char> {
    match value {
        None => Ok(' '),
        Some(Value::Str(text)) if text.char_len() == 1 => {
            Ok(text.text.chars().next().unwrap_or(' '))
        }
        Some(Value::Str(_)) => type_error("The fill character must be exactly one character long"),
        Some(other) => {
            let name = type_name(other);
            type_error(format!("The fill character must be a unicode character, not {name}"))
        }
    }
}

/// What strip and its kin take off.
pub fn strip<'a>(text: &'a str, chars: Option<&str>, left: bool, right: bool) -> &'a str {
    let hit = |c: char| match chars {
        Some(chars) => chars.contains(c),
        None => is_space(c),
    };
    let text = if left { text.trim_start_matches(hit) } else { text };
    if right {
        text.trim_end_matches(hit)
    } else {
        text
    }
}

/// str.split and str.rsplit
pub fn split(text: &str, separator: Option<&str>, limit: i64, from_right: bool) -> Vec<String> {
    let limit = if limit < 0 { usize::MAX } else { limit as usize };
    let Some(separator) = separator else { return split_space(text, limit, from_right) };
    let owned = |part: &str| part.to_string();
    let most = limit.saturating_add(1);
    if from_right {
        let mut parts: Vec<String> = text.rsplitn(most, separator).map(owned).collect();
        parts.reverse();
        return parts;
    }
    text.splitn(most, separator).map(owned).collect()
}

fn split_space(text: &str, limit: usize, from_right: bool) -> Vec<String> {
    let mut parts = vec![];
    let mut rest = strip(text, None, !from_right, from_right);
    while !rest.is_empty() {
        let border = match from_right {
            _ if parts.len() >= limit => None,
            true => rest.char_indices().rev().find(|(_, c)| is_space(*c)),
            false => rest.char_indices().find(|(_, c)| is_space(*c)),
        };
        let Some((at, space)) = border else {
            parts.push(rest.to_string());
            break;
        };
        let after = at + space.len_utf8();
        if from_right {
            parts.push(rest[after..].to_string());
            rest = rest[..at].trim_end_matches(is_space);
        } else {
            parts.push(rest[..at].to_string());
            rest = rest[after..].trim_start_matches(is_space);
        }
    }
    if from_right {
        parts.reverse();
    }
    parts
}

/// str.splitlines
pub fn split_lines(text: &str, keep: bool) -> Vec<String> {
    let mut lines = vec![];
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let ends = matches!(
            c,
            '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
        );
        if !ends {
            continue;
        }
        let mut after = at + c.len_utf8();
        if c == '\r' && chars.peek().is_some_and(|(_, next)| *next == '\n') {
            chars.next();
            after += 1;
        }
        lines.push(text[start..if keep { after } else { at }].to_string());
        start = after;
    }
    if start < text.len() {
        lines.push(text[start..].to_string());
    }
    lines
}

/// str.replace; `count` below 0 replaces all.
pub fn replace(interp: &mut Interp, text: &str, old: &str, new: &str, count: i64) -> Res<String> {
    let found = match old.is_empty() {
        true => text.chars().count() + 1,
        false => text.matches(old).count(),
    };
    let times = if count < 0 { found } else { found.min(count as usize) };
    interp.budget.room(text.len().saturating_add(new.len().saturating_mul(times)))?;
    Ok(text.replacen(old, new, times))
}

fn expand_tabs(interp: &mut Interp, text: &str, size: i64) -> Res<String> {
    let tabs = text.matches('\t').count();
    interp.budget.room(text.len().saturating_add((size.max(0) as usize).saturating_mul(tabs)))?;
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    for c in text.chars() {
        match c {
            '\t' if size > 0 => {
                let fill = size - column % size;
                out.extend(std::iter::repeat_n(' ', fill as usize));
                column += fill;
            }
            '\t' => {}
            '\n' | '\r' => {
                out.push(c);
                column = 0;
            }
            c => {
                out.push(c);
                column += 1;
            }
        }
    }
    Ok(out)
}

fn affix(text: &PyStr, name: &str, args: CallArgs) -> Res<Value> {
    let args = args.plain(name, 1, 3)?;
    let Some((start, stop)) = window(text, args.get(1), args.get(2))? else {
        return Ok(Value::Bool(false));
    };
    let part = &text.text[start..stop];
    let hit = |affix: &PyStr| match name {
        "startswith" => part.starts_with(&affix.text),
        _ => part.ends_with(&affix.text),
    };
    match &args[0] {
        Value::Str(affix) => Ok(Value::Bool(hit(affix))),
        Value::Tuple(tuple) => {
            for item in &tuple.items {
                match item {
                    Value::Str(affix) if hit(affix) => return Ok(Value::Bool(true)),
                    Value::Str(_) => {}
                    other => {
                        let found = type_name(other);
                        return type_error(format!(
                            "tuple for {name} must only contain str, not {found}"
                        ));
                    }
                }
            }
            Ok(Value::Bool(false))
        }
        other => {
            let found = type_name(other);
            type_error(format!("{name} first arg must be str or a tuple of str, not {found}"))
        }
    }
}

fn search(interp: &mut Interp, text: &PyStr, name: &str, args: CallArgs) -> Res<Value> {
    let args = args.plain(name, 1, 3)?;
    let part = want_str(&args[0], "argument")?;
    interp.budget.work(text.text.len())?;
    let found = window(text, args.get(1), args.get(2))?.and_then(|(start, stop)| {
        let window = &text.text[start..stop];
        let at =
            if name.starts_with('r') { window.rfind(&part.text) } else { window.find(&part.text) };
        at.map(|at| char_offset(text, start + at))
    });
    match found {
        Some(at) => Ok(Value::Int(at)),
        None if name.ends_with("index") => value_error("substring not found"),
        None => Ok(Value::Int(-1)),
    }
}

fn count(text: &PyStr, args: CallArgs) -> Res<Value> {
    let args = args.plain("count", 1, 3)?;
    let part = want_str(&args[0], "argument")?;
    let Some((start, stop)) = window(text, args.get(1), args.get(2))? else {
        return Ok(Value::Int(0));
    };
    let window = &text.text[start..stop];
    Ok(Value::Int(match part.text.is_empty() {
        true => window.chars().count() + 1,
        false => window.matches(&part.text).count(),
    } as i64))
}

fn partition(text: &PyStr, name: &str, args: CallArgs) -> Res<Value> {
    let args = args.plain(name, 1, 1)?;
    let separator = want_str(&args[0], "argument")?;
    if separator.text.is_empty() {
        return value_error("empty separator");
    }
    let right = name == "rpartition";
    let (source, part) = (text.text.as_str(), separator.text.as_str());
    let found = if right { source.rfind(part) } else { source.find(part) };
    let pieces = match found {
        Some(at) => [&source[..at], part, &source[at + part.len()..]],
        None if right => ["", "", source],
        None => [source, "", ""],
    };
    Ok(Value::tuple(pieces.iter().map(|piece| Value::text(*piece, text.markup)).collect()))
}

fn join(interp: &mut Interp, text: &PyStr, args: CallArgs) -> Res<Value> {
    let args = args.plain("join", 1, 1)?;
    if !iter::is_iterable(&args[0]) {
        return type_error("can only join an iterable");
    }
    let mut out = String::new();
    for (at, item) in iter::collect(interp, &args[0])?.iter().enumerate() {
        let piece = match item {
            item if text.markup => html::escaped_text(interp, item)?,
            Value::Str(piece) => piece.text.clone(),
            other => {
                let found = type_name(other);
                return type_error(format!(
                    "sequence item {at}: expected str instance, {found} found"
                ));
            }
        };
        interp.budget.room(out.len() + piece.len() + text.text.len())?;
        if at > 0 {
            out.push_str(&text.text);
        }
        out.push_str(&piece);
    }
    Ok(Value::text(out, text.markup))
}

fn translate(text: &PyStr, args: CallArgs) -> Res<String> {
    let args = args.plain("translate", 1, 1)?;
    let Value::Dict(table) = &args[0] else {
        return type_error(format!("'{}' object is not subscriptable", type_name(&args[0])));
    };
    let mut out = String::with_capacity(text.text.len());
    for c in text.text.chars() {
        match table.get(&Value::Int(c as i64))? {
            None => out.push(c),
            Some(Value::None) => {}
            Some(Value::Str(piece)) => out.push_str(&piece.text),
            Some(other) => match as_index(&other).and_then(|code| char::from_u32(code as u32)) {
                Some(c) => out.push(c),
                None => return type_error("character mapping must return integer, None or str"),
            },
        }
    }
    Ok(out)
}

fn make_translation(args: CallArgs) -> Res<Value> {
    let args = args.plain("maketrans", 1, 3)?;
    let mut table = super::value::Dict::default();
    if let ([Value::Dict(source)], _) = (&args[..], ()) {
        for (key, value) in source.items() {
            let key = match key {
                Value::Str(text) if text.char_len() == 1 => {
                    Value::Int(text.text.chars().next().map_or(0, |c| c as i64))
                }
                Value::Str(_) => {
                    return value_error("string keys in translate table must be of length 1")
                }
                other => other.clone(),
            };
            table.insert(key, value.clone())?;
        }
        return Ok(Value::dict(table));
    }
    if args.len() == 1 {
        return type_error("if you give only one argument to maketrans it must be a dict");
    }
    let (from, to) = (want_str(&args[0], "argument")?, want_str(&args[1], "argument")?);
    if from.char_len() != to.char_len() {
        return value_error("the first two maketrans arguments must have equal length");
    }
    for (key, value) in from.text.chars().zip(to.text.chars()) {
        table.insert(Value::Int(key as i64), Value::Int(value as i64))?;
    }
    if let Some(gone) = args.get(2) {
        for c in want_str(gone, "argument")?.text.chars() {
            table.insert(Value::Int(c as i64), Value::None)?;
        }
    }
    Ok(Value::dict(table))
}

fn split_method(interp: &mut Interp, text: &PyStr, name: &str, args: CallArgs) -> Res<Value> {
    let [separator, limit] = args.bind(name, ["sep", "maxsplit"], 0)?;
    let limit = limit.as_ref().map_or(Ok(-1), want_int)?;
    let separator = match &separator {
        None | Some(Value::None) => None,
        Some(Value::Str(separator)) if separator.text.is_empty() => {
            return value_error("empty separator")
        }
        Some(other) => Some(want_str(other, "must be str or None")?.text.as_str()),
    };
    interp.budget.room(text.text.len())?;
    let parts = split(&text.text, separator, limit, name == "rsplit");
    interp.budget.room(parts.len() * 64)?;
    Ok(Value::list(parts.into_iter().map(|part| Value::text(part, text.markup)).collect()))
}

pub fn call(
    interp: &mut Interp,
    text: &Arc<PyStr>,
    name: &'static str,
    args: CallArgs,
) -> Res<Value> {
    let source = text.text.as_str();
    interp.budget.work(source.len())?;
    let all = |test: fn(char) -> bool| Value::Bool(!source.is_empty() && source.chars().all(test));
    let new: String = match name {
        "split" | "rsplit" => return split_method(interp, text, name, args),
        "startswith" | "endswith" => return affix(text, name, args),
        "find" | "rfind" | "index" | "rindex" => return search(interp, text, name, args),
        "count" => return count(text, args),
        "partition" | "rpartition" => return partition(text, name, args),
        "join" => return join(interp, text, args),
        "maketrans" => return make_translation(args),
        "translate" => translate(text, args)?,
        "format" | "format_map" => return format::method(interp, text, name, args),
        "strip" | "lstrip" | "rstrip" => {
            let args = args.plain(name, 0, 1)?;
            let chars = match args.first() {
                None | Some(Value::None) => None,
                Some(Value::Str(chars)) => Some(chars.text.as_str()),
                Some(_) => return type_error(format!("{name} arg must be None or str")),
            };
            strip(source, chars, name != "rstrip", name != "lstrip").to_string()
        }
        "replace" => {
            let args = args.plain(name, 2, 3)?;
            let (old, new) = (
                want_str(&args[0], "replace() argument 1")?,
                want_str(&args[1], "replace() argument 2")?,
            );
            let new =
                if text.markup { html::escaped_text(interp, &args[1])? } else { new.text.clone() };
            let count = args.get(2).map_or(Ok(-1), want_int)?;
            replace(interp, source, &old.text, &new, count)?
        }
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"], 0)?;
            let lines = split_lines(source, keep.is_some_and(|keep| keep.truth()));
            return Ok(Value::list(
                lines.into_iter().map(|line| Value::text(line, text.markup)).collect(),
            ));
        }
        "removeprefix" | "removesuffix" => {
            let args = args.plain(name, 1, 1)?;
            let affix = want_str(&args[0], &format!("{name}() argument"))?.text.as_str();
            let cut = if name == "removeprefix" {
                source.strip_prefix(affix)
            } else {
                source.strip_suffix(affix)
            };
            cut.unwrap_or(source).to_string()
        }
        "center" | "ljust" | "rjust" => {
            let args = args.plain(name, 1, 2)?;
            let (width, fill) = (want_int(&args[0])?, fill_char(args.get(1))?);
            pad(interp, source, width, fill, name != "ljust", name != "rjust")?
        }
        "zfill" => {
            let args = args.plain(name, 1, 1)?;
            let width = want_int(&args[0])?;
            let sign = source.starts_with(['+', '-']) as usize;
            let padded = pad(interp, &source[sign..], width - sign as i64, '0', true, false)?;
            [&source[..sign], &padded].concat()
        }
        "expandtabs" => {
            let [size] = args.bind(name, ["tabsize"], 0)?;
            expand_tabs(interp, source, size.as_ref().map_or(Ok(8), want_int)?)?
        }
        "encode" => {
            let [encoding, _] = args.bind(name, ["encoding", "errors"], 0)?;
            let encoding =
                encoding.as_ref().and_then(Value::as_str).map_or("utf-8", |name| &name.text);
            return bytes::encode(source, encoding);
        }
        _ => {
            args.plain(name, 0, 0)?;
            match name {
                "upper" => source.to_uppercase(),
                "lower" => source.to_lowercase(),
                "casefold" => casefold(source),
                "capitalize" => capitalize(source),
                "title" => title(source),
                "swapcase" => swapcase(source),
                "isalnum" => return Ok(all(is_alnum)),
                "isalpha" => return Ok(all(is_alpha)),
                "isdecimal" => return Ok(all(is_decimal)),
                "isdigit" => return Ok(all(is_digit)),
                "isnumeric" => return Ok(all(is_numeric)),
                "isspace" => return Ok(all(is_space)),
                "isascii" => return Ok(Value::Bool(source.is_ascii())),
                "isprintable" => return Ok(Value::Bool(source.chars().all(is_printable))),
                "isidentifier" => return Ok(Value::Bool(is_identifier(source))),
                "islower" => return Ok(Value::Bool(is_lower_text(source))),
                "isupper" => return Ok(Value::Bool(is_upper_text(source))),
                _ => return Ok(Value::Bool(is_title_text(source))),
            }
        }
    };
    Ok(Value::text(new, text.markup))
}
