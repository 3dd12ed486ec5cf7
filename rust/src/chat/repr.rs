//! str() and repr() of values.

use super::error::{fail, Kind, Res};
use super::limits::MAX_DEPTH;
use super::runtime::Interp;
use super::unicode::is_printable;
use super::value::{type_name, Seq, Value, ViewKind};

/// Python refuses to print longer integers.
const MAX_DIGITS: usize = 4300;

/// repr of a str.
pub fn repr_str(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => out.push_str(&escape_char(c)),
        }
    }
    out.push(quote);
    out
}

/// \xhh, \uhhhh or \Uhhhhhhhh
pub fn escape_char(c: char) -> String {
    match c as u32 {
        code @ 0..=0xff => format!("\\x{code:02x}"),
        code @ 0x100..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

/// repr of a float: the shortest digits that give it back.
pub fn repr_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// repr of a value that needs no rendering state; for messages.
pub fn repr_plain(value: &Value) -> String {
    match value {
        Value::None => "None".into(),
        Value::Bool(b) => if *b { "True" } else { "False" }.into(),
        Value::Int(i) => i.to_string(),
        Value::Big(big) => big.to_string(),
        Value::Float(f) => repr_float(*f),
        Value::Str(text) => repr_str(&text.text),
        other => format!("<{} object>", type_name(other)),
    }
}

/// str(value)
pub fn to_text(interp: &mut Interp, value: &Value) -> Res<String> {
    match value {
        Value::Str(text) => {
            interp.budget.room(text.text.len())?;
            Ok(text.text.clone())
        }
        Value::Undefined(_) => Ok(String::new()),
        other => repr(interp, other),
    }
}

/// repr(value)
pub fn repr(interp: &mut Interp, value: &Value) -> Res<String> {
    let mut out = String::new();
    write_repr(interp, value, &mut out, 0)?;
    Ok(out)
}

fn write_items(
    interp: &mut Interp,
    seq: &Seq,
    brackets: [&str; 2],
    out: &mut String,
    depth: u32,
) -> Res<()> {
    out.push_str(brackets[0]);
    for (at, item) in seq.items.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        write_repr(interp, item, out, depth)?;
    }
    out.push_str(brackets[1]);
    Ok(())
}

fn write_repr(interp: &mut Interp, value: &Value, out: &mut String, depth: u32) -> Res<()> {
    interp.budget.step()?;
    if depth > MAX_DEPTH + 100 {
        return fail(
            Kind::Recursion,
            "maximum recursion depth exceeded while getting the repr of an object",
        );
    }
    let depth = depth + 1;
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::Str(text) => {
            interp.budget.room(out.len() + text.text.len())?;
            if text.markup {
                out.push_str("Markup(");
                out.push_str(&repr_str(&text.text));
                out.push(')');
            } else {
                out.push_str(&repr_str(&text.text));
            }
        }
        Value::Big(big) => {
            let digits = big.to_string();
            if digits.len() > MAX_DIGITS {
                return fail(
                    Kind::Value,
                    format!(
                        "Exceeds the limit ({MAX_DIGITS} digits) for integer string conversion"
                    ),
                );
            }
            out.push_str(&digits);
        }
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            out.push_str(&repr_plain(value))
        }
        Value::Bytes(content) => out.push_str(&super::bytes::repr(content)),
        Value::List(seq) => write_items(interp, seq, ["[", "]"], out, depth)?,
        Value::Tuple(seq) => {
            let close = if seq.items.len() == 1 { ",)" } else { ")" };
            write_items(interp, seq, ["(", close], out, depth)?;
        }
        Value::Dict(dict) => {
            out.push('{');
            for (at, (key, item)) in dict.items().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                write_repr(interp, key, out, depth)?;
                out.push_str(": ");
                write_repr(interp, item, out, depth)?;
            }
            out.push('}');
        }
        Value::View(kind, dict) => {
            let name = type_name(value);
            let items = dict.items().map(|(key, item)| match kind {
                ViewKind::Keys => key.clone(),
                ViewKind::Values => item.clone(),
                ViewKind::Items => Value::tuple(vec![key.clone(), item.clone()]),
            });
            out.push_str(name);
            write_items(interp, &Seq::new(items.collect()), ["([", "])"], out, depth)?;
        }
        Value::Range(range) => {
            out.push_str(&format!("range({}, {}", range.start, range.stop));
            if range.step != 1 {
                out.push_str(&format!(", {}", range.step));
            }
            out.push(')');
        }
        Value::Slice(parts) => {
            out.push_str("slice");
            write_items(interp, &Seq::new(parts.to_vec()), ["(", ")"], out, depth)?;
        }
        Value::Namespace(namespace) => {
            out.push_str("<Namespace ");
            let attrs = super::value::Value::dict(namespace.attrs.borrow().duplicate());
            write_repr(interp, &attrs, out, depth)?;
            out.push('>');
        }
        Value::Macro(target) => match &target.def.name {
            Some(name) => out.push_str(&format!("<Macro {}>", repr_str(&name.text))),
            None => out.push_str("<Macro anonymous>"),
        },
        Value::Loop(state) => {
            let index = super::loops::attribute(interp, state, "index")?;
            let length = super::loops::length(interp, state)?;
            let index = index.as_ref().map_or(String::new(), repr_plain);
            out.push_str(&format!("<LoopContext {index}/{length}>"));
        }
        Value::Template => out.push_str("<TemplateReference None>"),
        Value::Method(bound) => out.push_str(&format!(
            "<built-in method {} of {} object at {:#x}>",
            bound.1,
            type_name(&bound.0),
            bound.0.address()
        )),
        Value::Function(name) => {
            out.push_str(&format!("<function {name} at {:#x}>", value.address()))
        }
        other => out.push_str(&format!("<{} object at {:#x}>", type_name(other), other.address())),
    }
    Ok(())
}
