//! `format % values`

use num_bigint::BigInt;
use num_traits::{FromPrimitive, Signed};

use super::error::{fail, type_error, value_error, Kind, Res};
use super::float_text::{exponent, fixed, general};
use super::format::ascii;
use super::html;
use super::ops::{as_big, as_float};
use super::repr::{repr, to_text};
use super::runtime::Interp;
use super::value::{type_name, PyStr, Value};

#[derive(Default)]
struct Conversion {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

struct Arguments<'a> {
    values: &'a [Value],
    next: usize,
    dict: Option<&'a Value>,
}

impl Arguments<'_> {
    fn take(&mut self) -> Res<Value> {
        self.next += 1;
        match self.values.get(self.next - 1) {
            Some(value) => Ok(value.clone()),
            None => type_error("not enough arguments for format string"),
        }
    }
}

const MAX_WIDTH: usize = 1 << 28;

pub fn format(interp: &mut Interp, format: &PyStr, values: &Value) -> Res<Value> {
    let single = [values.clone()];
    let mut arguments = match values {
        Value::Tuple(tuple) => Arguments { values: &tuple.items, next: 0, dict: None },
        // Whatever has items by key counts as a mapping, which need not be used up.
        Value::Dict(_)
        | Value::List(_)
        | Value::Range(_)
        | Value::Undefined(_)
        | Value::Bytes(_) => Arguments { values: &single, next: 0, dict: Some(values) },
        _ => Arguments { values: &single, next: 0, dict: None },
    };
    let mut out = String::new();
    let mut rest = format.text.as_str();
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let offset = format.text.len() - rest.len();
        let (piece, length) = convert(interp, rest, &mut arguments, format.markup, offset)?;
        interp.budget.room(out.len() + piece.len())?;
        out.push_str(&piece);
        rest = &rest[length..];
    }
    out.push_str(rest);
    if arguments.next < arguments.values.len() && arguments.dict.is_none() {
        return type_error("not all arguments converted during string formatting");
    }
    Ok(Value::text(out, format.markup))
}

/// The text of the conversion behind a percent sign, and how much of the format it took.
fn convert(
    interp: &mut Interp,
    text: &str,
    arguments: &mut Arguments,
    markup: bool,
    offset: usize,
) -> Res<(String, usize)> {
    let mut rest = text;
    let mut keyed = None;
    if rest.starts_with('(') {
        let mut depth = 0;
        let end = rest.char_indices().find(|(_, c)| {
            depth += (*c == '(') as i32 - (*c == ')') as i32;
            depth == 0
        });
        let Some((end, _)) = end else { return value_error("incomplete format key") };
        let Some(Value::Dict(dict)) = arguments.dict else {
            return type_error("format requires a mapping");
        };
        let key = &rest[1..end];
        keyed = match dict.get_text(key) {
            Some(value) => Some(value.clone()),
            None => return fail(Kind::Key, super::repr::repr_str(key)),
        };
        rest = &rest[end + 1..];
    }
    let mut conversion = Conversion::default();
    while let Some(flag @ (b'-' | b'+' | b' ' | b'#' | b'0')) = rest.bytes().next() {
        match flag {
            b'-' => conversion.left = true,
            b'+' => conversion.plus = true,
            b' ' => conversion.space = true,
            b'#' => conversion.alternate = true,
            _ => conversion.zero = true,
        }
        rest = &rest[1..];
    }
    if let Some(width) = number(&mut rest, arguments)? {
        conversion.left |= width < 0;
        conversion.width = width.unsigned_abs() as usize;
    }
    if let Some(after) = rest.strip_prefix('.') {
        rest = after;
        conversion.precision = Some(number(&mut rest, arguments)?.unwrap_or(0).max(0) as usize);
    }
    rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
    let Some(kind) = rest.chars().next() else { return value_error("incomplete format") };
    rest = &rest[kind.len_utf8()..];
    let length = text.len() - rest.len();
    if conversion.width.max(conversion.precision.unwrap_or(0)) > MAX_WIDTH {
        return value_error("width too big");
    }
    if kind == '%' {
        return Ok(("%".to_string(), length));
    }
    let value = match keyed {
        Some(value) => {
            arguments.next = arguments.values.len();
            value
        }
        None => arguments.take()?,
    };
    let index = offset + length - kind.len_utf8();
    let piece = one(interp, &conversion, kind, &value, markup, index)?;
    Ok((piece, length))
}

fn number(rest: &mut &str, arguments: &mut Arguments) -> Res<Option<i64>> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        return match arguments.take()? {
            Value::Int(number) => Ok(Some(number)),
            _ => type_error("* wants int"),
        };
    }
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let number = rest[..digits].parse().ok();
    *rest = &rest[digits..];
    Ok(number.or((digits > 0).then_some(i64::MAX)))
}

fn one(
    interp: &mut Interp,
    conversion: &Conversion,
    kind: char,
    value: &Value,
    markup: bool,
    index: usize,
) -> Res<String> {
    let cut = |text: String| match conversion.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text,
    };
    let (sign, digits) = match kind {
        's' if markup => (String::new(), cut(html::escaped_text(interp, value)?)),
        's' => (String::new(), cut(to_text(interp, value)?)),
        'r' => (String::new(), cut(repr(interp, value)?)),
        'a' => (String::new(), cut(ascii(&repr(interp, value)?))),
        'c' => (String::new(), character(value)?),
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' => integer(conversion, kind, value)?,
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => float(interp, conversion, kind, value)?,
        other => {
            let code = other as u32;
            return value_error(format!(
                "unsupported format character '{other}' (0x{code:x}) at index {index}"
            ));
        }
    };
    let missing = conversion.width.saturating_sub(sign.chars().count() + digits.chars().count());
    interp.budget.room(missing)?;
    let numeric = !matches!(kind, 's' | 'r' | 'a' | 'c');
    let digits_finite = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    Ok(match conversion {
        Conversion { left: true, .. } => format!("{sign}{digits}{}", " ".repeat(missing)),
        Conversion { zero: true, .. } if numeric && digits_finite => {
            format!("{sign}{}{digits}", "0".repeat(missing))
        }
        _ => format!("{}{sign}{digits}", " ".repeat(missing)),
    })
}

fn character(value: &Value) -> Res<String> {
    match value {
        Value::Str(text) if text.char_len() == 1 => Ok(text.text.clone()),
        Value::Int(code) => match u32::try_from(*code).ok().and_then(char::from_u32) {
            Some(c) => Ok(c.to_string()),
            None => fail(Kind::Overflow, "%c arg not in range(0x110000)"),
        },
        _ => type_error("%c requires int or char"),
    }
}

fn sign_of(conversion: &Conversion, negative: bool) -> String {
    match (negative, conversion) {
        (true, _) => "-".into(),
        (_, Conversion { plus: true, .. }) => "+".into(),
        (_, Conversion { space: true, .. }) => " ".into(),
        _ => String::new(),
    }
}

fn integer(conversion: &Conversion, kind: char, value: &Value) -> Res<(String, String)> {
    let decimal = matches!(kind, 'd' | 'i' | 'u');
    let number = match value {
        Value::Float(f) if decimal => match BigInt::from_f64(f.trunc()) {
            Some(number) => number,
            None if f.is_nan() => return value_error("cannot convert float NaN to integer"),
            None => return fail(Kind::Overflow, "cannot convert float infinity to integer"),
        },
        other => match as_big(other) {
            Some(number) => number,
            None => {
                let what = if decimal { "a real number" } else { "an integer" };
                let found = type_name(other);
                return type_error(format!("%{kind} format: {what} is required, not {found}"));
            }
        },
    };
    let (radix, prefix) = match kind {
        'o' => (8, "0o"),
        'x' => (16, "0x"),
        'X' => (16, "0X"),
        _ => (10, ""),
    };
    let mut digits = number.magnitude().to_str_radix(radix);
    if kind == 'X' {
        digits = digits.to_uppercase();
    }
    if let Some(precision) = conversion.precision {
        digits = format!("{}{digits}", "0".repeat(precision.saturating_sub(digits.len())));
    }
    let prefix = if conversion.alternate { prefix } else { "" };
    Ok((sign_of(conversion, number.is_negative()) + prefix, digits))
}

fn float(
    interp: &mut Interp,
    conversion: &Conversion,
    kind: char,
    value: &Value,
) -> Res<(String, String)> {
    let Some(number) = as_float(value) else {
        if let Value::Undefined(undefined) = value {
            return fail(undefined.kind, undefined.message.clone());
        }
        return type_error(format!("must be real number, not {}", type_name(value)));
    };
    let precision = conversion.precision.unwrap_or(6);
    interp.budget.room(precision)?;
    let magnitude = number.abs();
    let mut digits = match kind.to_ascii_lowercase() {
        'f' => fixed(magnitude, precision, conversion.alternate),
        'e' => exponent(magnitude, precision, conversion.alternate),
        _ => general(magnitude, precision, conversion.alternate),
    };
    if kind.is_ascii_uppercase() {
        digits = digits.to_uppercase();
    }
    Ok((sign_of(conversion, number.is_sign_negative() && !number.is_nan()), digits))
}
