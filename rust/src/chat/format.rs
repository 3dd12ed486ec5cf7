//! str.format with its format specifications.

use num_bigint::BigInt;
use num_traits::Signed;

use super::access;
use super::call::CallArgs;
use super::error::{fail, type_error, value_error, Kind, Res};
use super::float_text::{exponent, fixed, general};
use super::html;
use super::ops::{as_big, as_float};
use super::repr::{repr, to_text};
use super::runtime::Interp;
use super::value::{type_name, PyStr, Value};

/// Formats inside formats.
const MAX_NESTING: u32 = 2;

struct Fields<'a> {
    positional: &'a [Value],
    keyword: &'a [(std::sync::Arc<PyStr>, Value)],
    mapping: Option<Value>,
    /// Which numbering the format uses, once it has used one.
    next: Option<usize>,
    manual: bool,
    markup: bool,
}

/// str.format and str.format_map
pub fn method(interp: &mut Interp, text: &PyStr, name: &str, args: CallArgs) -> Res<Value> {
    let mut mapping = None;
    let mut args = args;
    if name == "format_map" {
        if !args.keyword.is_empty() {
            return type_error("format_map() takes no keyword arguments");
        }
        if args.positional.len() != 1 {
            let given = args.positional.len();
            return type_error(format!("format_map() takes exactly one argument ({given} given)"));
        }
        mapping = args.positional.pop();
    }
    let mut fields = Fields {
        positional: &args.positional,
        keyword: &args.keyword,
        mapping,
        next: None,
        manual: false,
        markup: text.markup,
    };
    let out = expand(interp, &text.text, &mut fields, MAX_NESTING)?;
    Ok(Value::text(out, text.markup))
}

fn expand(interp: &mut Interp, format: &str, fields: &mut Fields, nesting: u32) -> Res<String> {
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..at + 1];
        rest = &rest[at + 1..];
        if rest.starts_with(brace) {
            out.push_str(brace);
            rest = &rest[1..];
            continue;
        }
        if brace == "}" {
            return value_error("Single '}' encountered in format string");
        }
        let Some(end) = field_end(rest) else {
            return value_error(match rest.is_empty() {
                true => "Single '{' encountered in format string",
                false => "expected '}' before end of string",
            });
        };
        if nesting == 0 {
            return value_error("Max string recursion exceeded");
        }
        let piece = field(interp, &rest[..end], fields, nesting)?;
        interp.budget.room(out.len() + piece.len())?;
        out.push_str(&piece);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The brace that closes a field, those inside its specification skipped.
fn field_end(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut brackets = false;
    for (at, c) in text.char_indices() {
        match c {
            '[' if depth == 0 => brackets = true,
            ']' => brackets = false,
            _ if brackets => {}
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn field(interp: &mut Interp, field: &str, fields: &mut Fields, nesting: u32) -> Res<String> {
    let mut brackets = false;
    let border = field.char_indices().find(|(_, c)| {
        brackets = (brackets || *c == '[') && *c != ']';
        !brackets && matches!(c, '!' | ':')
    });
    let (name, mut tail) = border.map_or((field, ""), |(at, _)| field.split_at(at));
    let mut conversion = None;
    if let Some(after) = tail.strip_prefix('!') {
        conversion = after.chars().next();
        tail = &after[conversion.map_or(0, char::len_utf8)..];
        if !tail.is_empty() && !tail.starts_with(':') {
            return value_error("expected ':' after conversion specifier");
        }
    }
    let mut value = lookup(interp, name, fields)?;
    match conversion {
        None => {}
        Some('s') => value = Value::str(to_text(interp, &value)?),
        Some('r') => value = Value::str(repr(interp, &value)?),
        Some('a') => value = Value::str(ascii(&repr(interp, &value)?)),
        Some(other) => return value_error(format!("Unknown conversion specifier {other}")),
    }
    let spec = match tail.strip_prefix(':') {
        Some(spec) => expand(interp, spec, fields, nesting - 1)?,
        None => String::new(),
    };
    if fields.markup {
        if spec.is_empty() {
            return html::escaped_text(interp, &value);
        }
        let text = format_value(interp, &value, &spec)?;
        return Ok(html::escape_text(&text));
    }
    format_value(interp, &value, &spec)
}

/// repr with everything beyond ASCII escaped.
pub fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c)
        } else {
            out.push_str(&super::repr::escape_char(c))
        }
    }
    out
}

fn lookup(interp: &mut Interp, name: &str, fields: &mut Fields) -> Res<Value> {
    let first_end = name.find(['.', '[']).unwrap_or(name.len());
    let (first, mut rest) = name.split_at(first_end);
    let index = if first.is_empty() {
        if fields.manual {
            return value_error(
                "cannot switch from manual field specification to automatic field numbering",
            );
        }
        let index = fields.next.unwrap_or(0);
        fields.next = Some(index + 1);
        Some(index)
    } else if first.bytes().all(|c| c.is_ascii_digit()) {
        if fields.next.is_some() {
            return value_error(
                "cannot switch from manual field specification to automatic field numbering",
            );
        }
        fields.manual = true;
        first.parse().ok()
    } else {
        None
    };
    let mut value = match (index, &fields.mapping) {
        (Some(_), Some(_)) => return fail(Kind::Index, "tuple index out of range"),
        (Some(index), None) => match fields.positional.get(index) {
            Some(value) => value.clone(),
            None => return fail(Kind::Index, "tuple index out of range"),
        },
        (None, mapping) => {
            let found = match mapping {
                Some(Value::Dict(dict)) => dict.get_text(first).cloned(),
                Some(other) => {
                    return type_error(format!(
                        "'{}' object is not subscriptable",
                        type_name(other)
                    ))
                }
                None => fields
                    .keyword
                    .iter()
                    .find(|(key, _)| key.text == first)
                    .map(|(_, value)| value.clone()),
            };
            match found {
                Some(value) => value,
                None => return fail(Kind::Key, super::repr::repr_str(first)),
            }
        }
    };
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            if end == 0 {
                return value_error("Empty attribute in format string");
            }
            let name = std::sync::Arc::new(PyStr::new(after[..end].to_string()));
            value = access::getattr(interp, &value, &name)?;
            rest = &after[end..];
        } else {
            let Some(end) = rest.find(']') else {
                return value_error("Missing ']' in format string");
            };
            let key = match &rest[1..end] {
                "" => return value_error("Empty attribute in format string"),
                key => match key.parse::<i64>() {
                    Ok(index) if key.bytes().all(|c| c.is_ascii_digit()) => Value::Int(index),
                    _ => Value::str(key),
                },
            };
            value = access::getitem(interp, &value, &key)?;
            rest = &rest[end + 1..];
            if !rest.is_empty() && !rest.starts_with(['.', '[']) {
                return value_error("Only '.' or '[' may follow ']' in format field specifier");
            }
        }
    }
    Ok(value)
}

#[derive(Default)]
pub struct Spec {
    pub fill: Option<char>,
    pub align: Option<char>,
    pub sign: Option<char>,
    pub alternate: bool,
    pub zero: bool,
    pub width: usize,
    pub grouping: Option<char>,
    pub precision: Option<usize>,
    pub kind: Option<char>,
}

const MAX_WIDTH: usize = 1 << 28;

fn parse_number(chars: &[char], at: &mut usize) -> Res<Option<usize>> {
    let start = *at;
    let mut value = 0usize;
    while let Some(digit) = chars.get(*at).and_then(|c| c.to_digit(10)) {
        value = value * 10 + digit as usize;
        if value > MAX_WIDTH {
            return value_error("Too many decimal digits in format string");
        }
        *at += 1;
    }
    Ok((*at > start).then_some(value))
}

fn parse_spec(text: &str, type_name: &str) -> Res<Spec> {
    let chars: Vec<char> = text.chars().collect();
    let mut spec = Spec::default();
    let mut at = 0;
    let is_align = |c: Option<&char>| matches!(c, Some('<' | '>' | '=' | '^'));
    if is_align(chars.get(1)) {
        (spec.fill, spec.align) = (Some(chars[0]), Some(chars[1]));
        at = 2;
    } else if is_align(chars.first()) {
        spec.align = Some(chars[0]);
        at = 1;
    }
    if let Some(sign @ ('+' | '-' | ' ')) = chars.get(at) {
        spec.sign = Some(*sign);
        at += 1;
    }
    if chars.get(at) == Some(&'z') {
        at += 1;
    }
    if chars.get(at) == Some(&'#') {
        spec.alternate = true;
        at += 1;
    }
    if spec.fill.is_none() && chars.get(at) == Some(&'0') {
        spec.zero = true;
        spec.fill = Some('0');
        at += 1;
    }
    spec.width = parse_number(&chars, &mut at)?.unwrap_or(0);
    while let Some(grouping @ (',' | '_')) = chars.get(at) {
        if spec.grouping.is_some() {
            return value_error("Cannot specify both ',' and '_'.");
        }
        spec.grouping = Some(*grouping);
        at += 1;
    }
    if chars.get(at) == Some(&'.') {
        at += 1;
        spec.precision = parse_number(&chars, &mut at)?;
        if spec.precision.is_none() {
            return value_error("Format specifier missing precision");
        }
    }
    match chars.len() - at {
        0 => {}
        1 => spec.kind = Some(chars[at]),
        _ => {
            return value_error(format!(
                "Invalid format specifier '{text}' for object of type '{type_name}'"
            ))
        }
    }
    Ok(spec)
}

/// format(value, spec)
pub fn format_value(interp: &mut Interp, value: &Value, spec: &str) -> Res<String> {
    if spec.is_empty() {
        return to_text(interp, value);
    }
    let name = type_name(value);
    match value {
        Value::Str(text) => format_str(interp, &text.text, &parse_spec(spec, name)?, name),
        Value::Bool(_) | Value::Int(_) | Value::Big(_) => {
            let spec = parse_spec(spec, name)?;
            let value = as_big(value).unwrap_or_default();
            format_int(interp, &value, &spec, name)
        }
        Value::Float(f) => format_float(interp, *f, &parse_spec(spec, name)?, name),
        _ => type_error(format!("unsupported format string passed to {name}.__format__")),
    }
}

fn unknown_code<T>(kind: char, name: &str) -> Res<T> {
    value_error(format!("Unknown format code '{kind}' for object of type '{name}'"))
}

fn format_str(interp: &mut Interp, text: &str, spec: &Spec, name: &str) -> Res<String> {
    match spec.kind {
        None | Some('s') => {}
        Some(kind) => return unknown_code(kind, name),
    }
    if spec.sign.is_some() {
        return value_error("Sign not allowed in string format specifier");
    }
    if spec.alternate {
        return value_error("Alternate form (#) not allowed in string format specifier");
    }
    if let Some(grouping) = spec.grouping {
        return value_error(format!("Cannot specify '{grouping}' with 's'."));
    }
    if spec.align == Some('=') {
        return value_error("'=' alignment not allowed in string format specifier");
    }
    let text: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
    pad(interp, "", &text, spec, '<')
}

/// Sign and digits within the width.
fn pad(interp: &mut Interp, sign: &str, digits: &str, spec: &Spec, align: char) -> Res<String> {
    let length = sign.chars().count() + digits.chars().count();
    let missing = spec.width.saturating_sub(length);
    let fill = spec.fill.unwrap_or(' ');
    interp.budget.room(missing * fill.len_utf8() + digits.len())?;
    let fills = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
    let align = spec.align.unwrap_or(if spec.zero && align == '>' { '=' } else { align });
    Ok(match align {
        '<' => format!("{sign}{digits}{}", fills(missing)),
        '^' => format!("{}{sign}{digits}{}", fills(missing / 2), fills(missing - missing / 2)),
        '=' => format!("{sign}{}{digits}", fills(missing)),
        _ => format!("{}{sign}{digits}", fills(missing)),
    })
}

fn sign_text(negative: bool, sign: Option<char>) -> String {
    match (negative, sign) {
        (true, _) => "-".into(),
        (false, Some(sign @ ('+' | ' '))) => sign.to_string(),
        _ => String::new(),
    }
}

/// Digits in groups; with zero padding the zeros are grouped too.
fn group(digits: &str, separator: char, size: usize, least: usize) -> String {
    let mut reversed = String::new();
    let mut count = 0;
    let mut source = digits.chars().rev();
    loop {
        let digit = match source.next() {
            Some(digit) => digit,
            None if reversed.len() < least => '0',
            None => break,
        };
        if count > 0 && count % size == 0 {
            reversed.push(separator);
        }
        reversed.push(digit);
        count += 1;
    }
    reversed.chars().rev().collect()
}

fn format_int(interp: &mut Interp, value: &BigInt, spec: &Spec, name: &str) -> Res<String> {
    let (radix, prefix) = match spec.kind {
        None | Some('d' | 'n') => (10, ""),
        Some('b') => (2, "0b"),
        Some('o') => (8, "0o"),
        Some('x') => (16, "0x"),
        Some('X') => (16, "0X"),
        Some('c') => {
            use num_traits::ToPrimitive;
            return match value.to_u32().and_then(char::from_u32) {
                Some(c) => pad(interp, "", &c.to_string(), spec, '<'),
                None => fail(Kind::Overflow, "%c arg not in range(0x110000)"),
            };
        }
        Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => {
            let value = as_float(&Value::big(value.clone())).unwrap_or(f64::INFINITY);
            return format_float(interp, value, spec, name);
        }
        Some(kind) => return unknown_code(kind, name),
    };
    if spec.precision.is_some() {
        return value_error("Precision not allowed in integer format specifier");
    }
    let mut digits = value.magnitude().to_str_radix(radix);
    if spec.kind == Some('X') {
        digits = digits.to_uppercase();
    }
    let prefix = if spec.alternate { prefix } else { "" };
    let sign = sign_text(value.is_negative(), spec.sign) + prefix;
    digits = grouped(digits, &sign, spec, if radix == 10 { 3 } else { 4 })?;
    pad(interp, &sign, &digits, spec, '>')
}

fn grouped(digits: String, sign: &str, spec: &Spec, size: usize) -> Res<String> {
    let Some(separator) = spec.grouping else { return Ok(digits) };
    if separator == ',' && size == 4 {
        return value_error(format!("Cannot specify ',' with '{}'.", spec.kind.unwrap_or('d')));
    }
    let zeros = spec.fill == Some('0') && matches!(spec.align, None | Some('='));
    let least = if zeros && (spec.zero || spec.align == Some('=')) {
        spec.width.saturating_sub(sign.len())
    } else {
        0
    };
    Ok(group(&digits, separator, size, least))
}

fn format_float(interp: &mut Interp, value: f64, spec: &Spec, name: &str) -> Res<String> {
    let magnitude = value.abs();
    let precision = spec.precision.unwrap_or(6);
    interp.budget.room(precision)?;
    let mut digits = match spec.kind {
        _ if !value.is_finite() => if value.is_nan() { "nan" } else { "inf" }.to_string(),
        Some('f' | 'F') => fixed(magnitude, precision, spec.alternate),
        Some('e' | 'E') => exponent(magnitude, precision, spec.alternate),
        Some('g' | 'G' | 'n') => general(magnitude, precision, spec.alternate),
        Some('%') => fixed(magnitude * 100.0, precision, spec.alternate),
        None if spec.precision.is_none() => super::repr::repr_float(magnitude),
        None => {
            // Like 'g', but with a digit behind the point.
            let text = general(magnitude, precision, false);
            if text.contains(['.', 'e']) {
                text
            } else {
                text + ".0"
            }
        }
        Some(kind) => return unknown_code(kind, name),
    };
    if matches!(spec.kind, Some('E' | 'F' | 'G')) {
        digits = digits.to_uppercase();
    }
    let sign = sign_text(value.is_sign_negative() && !value.is_nan(), spec.sign);
    if spec.grouping.is_some() {
        let whole_end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let tail = digits.split_off(whole_end);
        let percent = (spec.kind == Some('%')) as usize;
        let room = Spec {
            width: spec.width.saturating_sub(tail.len() + percent),
            align: spec.align,
            fill: spec.fill,
            zero: spec.zero,
            grouping: spec.grouping,
            kind: spec.kind,
            ..Spec::default()
        };
        digits = grouped(digits, &sign, &room, 3)? + &tail;
    }
    if spec.kind == Some('%') {
        digits.push('%');
    }
    pad(interp, &sign, &digits, spec, '>')
}
