//! The caller's JSON to values, and the tojson filter, which is json.dumps.

use super::call::CallArgs;
use super::error::{fail, type_error, Kind, Res};
use super::limits::MAX_DEPTH;
use super::ops;
use super::repr::{repr_float, repr_plain};
use super::runtime::Interp;
use super::value::{type_name, Dict, Value};

pub fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(small), _) => Value::Int(small),
            (None, Some(large)) => Value::big(large.into()),
            _ => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::str(text.as_str()),
        serde_json::Value::Array(items) => Value::list(items.iter().map(from_json).collect()),
        serde_json::Value::Object(items) => {
            let mut dict = Dict::default();
            items.iter().for_each(|(key, value)| dict.insert_text(key, from_json(value)));
            Value::dict(dict)
        }
    }
}

struct Style {
    ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort: bool,
}

/// tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)
pub fn filter(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ascii, indent, separators, sort] = args.bind("tojson", names, 0)?;
    let truth = |value: Option<Value>| value.is_some_and(|value| value.truth());
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(text)) => Some(text.text.clone()),
        Some(other) => match ops::as_index(&other) {
            Some(count) => {
                let count = count.max(0) as usize;
                interp.budget.room(count)?;
                Some(" ".repeat(count))
            }
            None => {
                let name = type_name(&other);
                return type_error(format!("can't multiply sequence by non-int of type '{name}'"));
            }
        },
    };
    let (item, key) = match separators {
        None | Some(Value::None) => {
            (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string())
        }
        Some(Value::Tuple(pair) | Value::List(pair)) => match &pair.items[..] {
            [Value::Str(item), Value::Str(key)] => (item.text.clone(), key.text.clone()),
            [_, _] => return type_error("separators must be str"),
            items => {
                let few = items.len() < 2;
                let what = if few { "not enough values" } else { "too many values" };
                return fail(Kind::Value, format!("{what} to unpack (expected 2)"));
            }
        },
        Some(other) => {
            return type_error(format!("cannot unpack non-iterable {} object", type_name(&other)))
        }
    };
    let style = Style { ascii: truth(ascii), indent, item, key, sort: truth(sort) };
    let mut out = String::new();
    dump(interp, &value, &style, 0, &mut out)?;
    Ok(Value::str(out))
}

fn quote(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (ascii && !(' '..='~').contains(&c)) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    repr_float(value)
}

fn key_text(key: &Value) -> Res<String> {
    Ok(match key {
        Value::Str(text) => text.text.clone(),
        Value::Float(f) => float(*f),
        Value::Bool(b) => b.to_string(),
        Value::None => "null".into(),
        Value::Int(_) | Value::Big(_) => repr_plain(key),
        other => {
            return type_error(format!(
                "keys must be str, int, float, bool or None, not {}",
                type_name(other)
            ))
        }
    })
}

fn newline(style: &Style, depth: usize, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(indent.as_str(), depth));
    }
}

fn dump(
    interp: &mut Interp,
    value: &Value,
    style: &Style,
    depth: usize,
    out: &mut String,
) -> Res<()> {
    interp.budget.step()?;
    if depth as u32 > MAX_DEPTH + 100 {
        return fail(
            Kind::Recursion,
            "maximum recursion depth exceeded while encoding a JSON object",
        );
    }
    let indent = style.indent.as_ref().map_or(0, String::len);
    interp.budget.room(out.len() + indent.saturating_mul(depth + 1))?;
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(_) | Value::Big(_) => out.push_str(&super::repr::repr(interp, value)?),
        Value::Float(f) => out.push_str(&float(*f)),
        Value::Str(text) => {
            interp.budget.room(text.text.len())?;
            quote(&text.text, style.ascii, out);
        }
        Value::List(seq) | Value::Tuple(seq) => {
            if seq.items.is_empty() {
                out.push_str("[]");
                return Ok(());
            }
            out.push('[');
            for (at, item) in seq.items.iter().enumerate() {
                if at > 0 {
                    out.push_str(&style.item);
                }
                newline(style, depth + 1, out);
                dump(interp, item, style, depth + 1, out)?;
            }
            newline(style, depth, out);
            out.push(']');
        }
        Value::Dict(dict) => {
            if dict.len() == 0 {
                out.push_str("{}");
                return Ok(());
            }
            let mut items: Vec<(&Value, &Value)> = dict.items().collect();
            if style.sort {
                items =
                    super::sorting::sort_by_key(interp, items, |(key, _)| (*key).clone(), false)?;
            }
            out.push('{');
            for (at, (key, item)) in items.into_iter().enumerate() {
                if at > 0 {
                    out.push_str(&style.item);
                }
                newline(style, depth + 1, out);
                quote(&key_text(key)?, style.ascii, out);
                out.push_str(&style.key);
                dump(interp, item, style, depth + 1, out)?;
            }
            newline(style, depth, out);
            out.push('}');
        }
        other => {
            return type_error(format!(
                "Object of type {} is not JSON serializable",
                type_name(other)
            ))
        }
    }
    Ok(())
}
