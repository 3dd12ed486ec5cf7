//! Python's pprint.pformat at its width of 80.

use super::error::{fail, Kind, Res};
use super::limits::MAX_DEPTH;
use super::repr::{repr, repr_str};
use super::runtime::Interp;
use super::value::{type_name, Value};

const WIDTH: usize = 80;

pub fn format(interp: &mut Interp, value: &Value) -> Res<String> {
    let mut out = String::new();
    write(interp, value, 0, 0, &mut out, 1)?;
    Ok(out)
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// pprint sorts by value where it can and by type name where it cannot.
fn sorted_items(interp: &mut Interp, items: Vec<(Value, Value)>) -> Res<Vec<(Value, Value)>> {
    let plain = items.iter().map(|item| (item.0.clone(), item.clone())).collect();
    if let Ok(sorted) = super::sorting::sort_keyed(interp, plain, false) {
        return Ok(sorted.into_iter().map(|(_, item)| item).collect());
    }
    let named = items.into_iter().map(|item| {
        let shown = super::repr::repr_plain(&item.0);
        (Value::tuple(vec![Value::str(type_name(&item.0)), Value::str(shown)]), item)
    });
    let named = named.collect();
    let sorted = super::sorting::sort_keyed(interp, named, false)?;
    Ok(sorted.into_iter().map(|(_, item)| item).collect())
}

/// repr with the keys of dictionaries in order.
fn safe_repr(interp: &mut Interp, value: &Value) -> Res<String> {
    Ok(match value {
        Value::Dict(dict) => {
            let items = dict.items().map(|(key, item)| (key.clone(), item.clone())).collect();
            let mut parts = vec![];
            for (key, item) in sorted_items(interp, items)? {
                parts.push(format!("{}: {}", safe_repr(interp, &key)?, safe_repr(interp, &item)?));
            }
            format!("{{{}}}", parts.join(", "))
        }
        Value::List(seq) | Value::Tuple(seq) => {
            let parts: Vec<String> =
                seq.items.iter().map(|item| safe_repr(interp, item)).collect::<Res<_>>()?;
            let inner = parts.join(", ");
            match value {
                Value::List(_) => format!("[{inner}]"),
                _ if parts.len() == 1 => format!("({inner},)"),
                _ => format!("({inner})"),
            }
        }
        other => repr(interp, other)?,
    })
}

/// @param indent columns already used on this line. @param allowance closing brackets to come.
fn write(
    interp: &mut Interp,
    value: &Value,
    indent: usize,
    allowance: usize,
    out: &mut String,
    level: u32,
) -> Res<()> {
    if level > MAX_DEPTH + 100 {
        return fail(Kind::Recursion, "maximum recursion depth exceeded");
    }
    let text = safe_repr(interp, value)?;
    interp.budget.room(out.len() + text.len())?;
    if columns(&text) <= WIDTH.saturating_sub(indent + allowance) {
        out.push_str(&text);
        return Ok(());
    }
    match value {
        Value::Dict(dict) if dict.len() > 0 => {
            out.push('{');
            let items = dict.items().map(|(key, item)| (key.clone(), item.clone())).collect();
            let items = sorted_items(interp, items)?;
            let last = items.len() - 1;
            for (at, (key, item)) in items.iter().enumerate() {
                if at > 0 {
                    new_line(out, indent + 1);
                }
                let key = safe_repr(interp, key)?;
                out.push_str(&key);
                out.push_str(": ");
                let room = if at == last { allowance + 1 } else { 1 };
                write(interp, item, indent + 1 + columns(&key) + 2, room, out, level + 1)?;
            }
            out.push('}');
        }
        Value::List(seq) | Value::Tuple(seq) if !seq.items.is_empty() => {
            let list = matches!(value, Value::List(_));
            let close = match (list, seq.items.len()) {
                (true, _) => "]",
                (false, 1) => ",)",
                _ => ")",
            };
            out.push(if list { '[' } else { '(' });
            let last = seq.items.len() - 1;
            for (at, item) in seq.items.iter().enumerate() {
                if at > 0 {
                    new_line(out, indent + 1);
                }
                let room = if at == last { allowance + close.len() } else { 1 };
                write(interp, item, indent + 1, room, out, level + 1)?;
            }
            out.push_str(close);
        }
        Value::Str(string) if !string.markup => {
            write_string(&string.text, indent, allowance, out, level)
        }
        _ => out.push_str(&text),
    }
    Ok(())
}

fn new_line(out: &mut String, indent: usize) {
    out.push_str(",\n");
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A long string in pieces, one below the other.
fn write_string(text: &str, indent: usize, allowance: usize, out: &mut String, level: u32) {
    let lines = super::str_methods::split_lines(text, true);
    let (indent, allowance) =
        if level == 1 { (indent + 1, allowance + 1) } else { (indent, allowance) };
    let full = WIDTH.saturating_sub(indent);
    let mut pieces: Vec<String> = vec![];
    let mut shown = String::new();
    for (at, line) in lines.iter().enumerate() {
        shown = repr_str(line);
        let last_line = at + 1 == lines.len();
        let width = if last_line { full.saturating_sub(allowance) } else { full };
        if columns(&shown) <= width {
            pieces.push(shown.clone());
            continue;
        }
        let mut current = String::new();
        let parts = words(line);
        for (at, part) in parts.iter().enumerate() {
            let candidate = format!("{current}{part}");
            let last = last_line && at + 1 == parts.len();
            let width = if last { full.saturating_sub(allowance) } else { full };
            if columns(&repr_str(&candidate)) > width {
                if !current.is_empty() {
                    pieces.push(repr_str(&current));
                }
                current = part.clone();
            } else {
                current = candidate;
            }
        }
        if !current.is_empty() {
            pieces.push(repr_str(&current));
        }
    }
    if pieces.len() == 1 {
        out.push_str(&shown);
        return;
    }
    let between = format!("\n{}", " ".repeat(indent));
    if level == 1 {
        out.push('(');
    }
    out.push_str(&pieces.join(&between));
    if level == 1 {
        out.push(')');
    }
}

/// Words with the white space behind them.
fn words(line: &str) -> Vec<String> {
    let mut parts: Vec<String> = vec![];
    let mut space = true;
    for c in line.chars() {
        let now = super::unicode::is_space(c);
        if parts.is_empty() || (space && !now && !parts.is_empty()) {
            parts.push(String::new());
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
        space = now;
    }
    parts
}
