//! Filters over numbers.

use num_bigint::BigInt;
use num_traits::{FromPrimitive, Num, Signed};

use super::ast::BinOp;
use super::call::CallArgs;
use super::error::{fail, type_error, value_error, Kind, Res};
use super::ops::{self, as_big, as_float};
use super::repr::{repr, repr_str};
use super::runtime::Interp;
use super::str_methods::want_int;
use super::unicode::is_space;
use super::value::{type_name, Value};

pub fn abs(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("abs", 0, 0)?;
    match &value {
        Value::Float(f) => Ok(Value::Float(f.abs())),
        Value::Undefined(_) => type_error("bad operand type for abs(): 'Undefined'"),
        other => match as_big(other) {
            Some(big) => Ok(Value::big(big.abs())),
            None => type_error(format!("bad operand type for abs(): '{}'", type_name(other))),
        },
    }
}

/// int(text, base); none where Python raises ValueError.
fn parse_int(text: &str, base: i64) -> Option<BigInt> {
    let text = text.trim_matches(is_space);
    let (negative, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed =
        |prefix: &str, radix: i64| (base == radix || base == 0) && lower.starts_with(prefix);
    let (radix, digits) = match () {
        _ if prefixed("0x", 16) => (16, digits[2..].strip_prefix('_').unwrap_or(&digits[2..])),
        _ if prefixed("0o", 8) => (8, digits[2..].strip_prefix('_').unwrap_or(&digits[2..])),
        _ if prefixed("0b", 2) => (2, digits[2..].strip_prefix('_').unwrap_or(&digits[2..])),
        _ if base == 0 => {
            let zeros = digits.chars().all(|c| matches!(c, '0' | '_'));
            if digits.starts_with('0') && !zeros {
                return None;
            }
            (10, digits)
        }
        _ => (base as u32, digits),
    };
    if digits.starts_with('_')
        || digits.ends_with('_')
        || digits.contains("__")
        || digits.len() > 4300
    {
        return None;
    }
    let clean: String =
        digits.chars().filter(|c| *c != '_').map(decimal_digit).collect::<Option<_>>()?;
    let value =
        BigInt::from_str_radix(&clean, radix).ok().filter(|_| !clean.starts_with(['+', '-']))?;
    Some(if negative { -value } else { value })
}

/// ASCII for the decimal digits of every script.
fn decimal_digit(c: char) -> Option<char> {
    if c.is_ascii() {
        return Some(c);
    }
    if !super::unicode::is_decimal(c) {
        return None;
    }
    // Decimal digits stand in runs of ten.
    let mut zero = c as u32;
    for _ in 0..9 {
        match char::from_u32(zero - 1) {
            Some(before) if super::unicode::is_decimal(before) && (c as u32 - zero) < 9 => {
                zero -= 1
            }
            _ => break,
        }
    }
    char::from_digit(c as u32 - zero, 10)
}

/// float(text)
fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let text: String = text.chars().map(decimal_digit).collect::<Option<_>>()?;
    let bytes = text.as_bytes();
    let lonely = |at: usize| {
        let digit = |c: Option<&u8>| c.is_some_and(u8::is_ascii_digit);
        at == 0 || !digit(bytes.get(at - 1)) || !digit(bytes.get(at + 1))
    };
    if bytes.iter().enumerate().any(|(at, c)| *c == b'_' && lonely(at)) {
        return None;
    }
    let lower = text.replace('_', "").to_ascii_lowercase();
    match lower.trim_start_matches(['+', '-']) {
        "inf" | "infinity" | "nan"
            if lower.len() - lower.trim_start_matches(['+', '-']).len() <= 1 => {}
        rest if rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {}
        _ => return None,
    }
    lower.parse().ok()
}

fn truncate(value: f64) -> Option<Value> {
    BigInt::from_f64(value.trunc()).filter(|_| value.is_finite()).map(Value::big)
}

pub fn int(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [default, base] = args.bind("do_int", ["default", "base"], 0)?;
    let default = default.unwrap_or(Value::Int(0));
    let base = base.as_ref().map_or(Ok(10), want_int)?;
    Ok(match &value {
        Value::Str(text) => {
            let whole = if base == 0 || (2..=36).contains(&base) {
                parse_int(&text.text, base)
            } else {
                None
            };
            match whole {
                Some(whole) => Value::big(whole),
                // So that "42.23" gives 42.
                None => parse_float(&text.text).and_then(truncate).unwrap_or(default),
            }
        }
        Value::Float(f) if f.is_infinite() => {
            return fail(Kind::Overflow, "cannot convert float infinity to integer")
        }
        Value::Float(f) => truncate(*f).unwrap_or(default),
        Value::Undefined(undefined) => return fail(undefined.kind, undefined.message.clone()),
        other => as_big(other).map_or(default, Value::big),
    })
}

pub fn float(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [default] = args.bind("do_float", ["default"], 0)?;
    let default = default.unwrap_or(Value::Float(0.0));
    Ok(match &value {
        Value::Str(text) => parse_float(&text.text).map_or(default, Value::Float),
        Value::Undefined(undefined) => return fail(undefined.kind, undefined.message.clone()),
        other => match as_float(other) {
            Some(f) if f.is_infinite() && !matches!(other, Value::Float(_)) => {
                return fail(Kind::Overflow, "int too large to convert to float")
            }
            Some(f) => Value::Float(f),
            None => default,
        },
    })
}

/// round(value, digits) for floats: correctly rounded, halves to even.
fn round_float(value: f64, digits: i64) -> f64 {
    if !value.is_finite() || value == 0.0 || digits > 323 {
        return value;
    }
    if digits < -309 {
        return 0f64.copysign(value);
    }
    if digits >= 0 {
        return format!("{value:.*}", digits as usize).parse().unwrap_or(value);
    }
    // Rounds the exact integer part; a fraction only breaks ties.
    let unit: BigInt = num_traits::pow(BigInt::from(10), (-digits) as usize);
    let whole = BigInt::from_f64(value.trunc()).unwrap_or_default();
    let rounded = round_big(&whole, &unit, value.fract() != 0.0);
    as_float(&Value::big(rounded)).unwrap_or(value).copysign(value)
}

/// The nearest multiple of the unit, halves to even unless there is more behind the integer.
fn round_big(value: &BigInt, unit: &BigInt, more: bool) -> BigInt {
    use num_integer::Integer;
    let (quotient, rest) = value.abs().div_rem(unit);
    let twice: BigInt = &rest * 2;
    let up = twice > *unit || (twice == *unit && (more || quotient.is_odd()));
    let magnitude = (if up { quotient + 1 } else { quotient }) * unit;
    if value.is_negative() {
        -magnitude
    } else {
        magnitude
    }
}

pub fn round(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [precision, method] = args.bind("do_round", ["precision", "method"], 0)?;
    let method = match &method {
        None => "common",
        Some(Value::Str(text)) if matches!(text.text.as_str(), "common" | "ceil" | "floor") => {
            &text.text
        }
        _ => return fail(Kind::FilterArgument, "method must be common, ceil or floor"),
    };
    let precision = precision.unwrap_or(Value::Int(0));
    if let Value::Undefined(_) = value {
        return type_error("type Undefined doesn't define __round__ method");
    }
    if method == "common" {
        if let (Value::None, Value::Float(f)) = (&precision, &value) {
            return Ok(truncate(round_float(*f, 0)).unwrap_or(value));
        }
        let digits = if matches!(precision, Value::None) { 0 } else { want_int(&precision)? };
        return match (&value, as_big(&value)) {
            (Value::Float(f), _) => Ok(Value::Float(round_float(*f, digits))),
            (_, Some(big)) if digits < 0 => {
                if digits < -5000 {
                    return Ok(Value::Int(0));
                }
                let unit = num_traits::pow(BigInt::from(10), (-digits) as usize);
                Ok(Value::big(round_big(&big, &unit, false)))
            }
            (_, Some(big)) => Ok(Value::big(big)),
            _ => type_error(format!("type {} doesn't define __round__ method", type_name(&value))),
        };
    }
    let unit = ops::binary(interp, BinOp::Pow, &Value::Int(10), &precision)?;
    let scaled = ops::binary(interp, BinOp::Mul, &value, &unit)?;
    let whole = match (&scaled, method) {
        (Value::Float(f), "ceil") => truncate(f.ceil()),
        (Value::Float(f), _) => truncate(f.floor()),
        (other, _) => as_big(other).map(Value::big),
    };
    match whole {
        Some(whole) => ops::binary(interp, BinOp::Div, &whole, &unit),
        None if as_float(&scaled).is_some_and(f64::is_nan) => {
            value_error("cannot convert float NaN to integer")
        }
        None if as_float(&scaled).is_some() => {
            fail(Kind::Overflow, "cannot convert float infinity to integer")
        }
        None => type_error(format!("must be real number, not {}", type_name(&scaled))),
    }
}

pub fn filesizeformat(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [binary] = args.bind("do_filesizeformat", ["binary"], 0)?;
    let binary = binary.is_some_and(|binary| binary.truth());
    let bytes = match &value {
        Value::Str(text) => match parse_float(&text.text) {
            Some(bytes) => bytes,
            None => {
                let shown = repr_str(&text.text);
                return value_error(format!("could not convert string to float: {shown}"));
            }
        },
        Value::Undefined(undefined) => return fail(undefined.kind, undefined.message.clone()),
        other => match as_float(other) {
            Some(bytes) => bytes,
            None => {
                let name = type_name(other);
                return type_error(format!(
                    "float() argument must be a string or a real number, not '{name}'"
                ));
            }
        },
    };
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return Ok(Value::str("1 Byte"));
    }
    if bytes < base {
        let whole = truncate(bytes).unwrap_or(Value::Int(0));
        return Ok(Value::str(format!("{} Bytes", repr(interp, &whole)?)));
    }
    let mut text = String::new();
    for (at, letter) in ["k", "M", "G", "T", "P", "E", "Z", "Y"].iter().enumerate() {
        let unit = base.powi(at as i32 + 2);
        let prefix =
            if binary { format!("{}iB", letter.to_uppercase()) } else { format!("{letter}B") };
        text = format!("{:.1} {prefix}", base * bytes / unit);
        if bytes < unit {
            break;
        }
    }
    Ok(Value::str(text))
}
