//! Methods of lists, tuples, dicts, ranges, numbers and jinja2's helpers.

use super::access;
use super::call::CallArgs;
use super::error::{fail, type_error, value_error, Kind, Res};
use super::iter;
use super::ops;
use super::runtime::Interp;
use super::value::{type_name, Dict, Value};

const LIST: [&str; 3] = ["copy", "count", "index"];
const TUPLE: [&str; 2] = ["count", "index"];
const DICT: [&str; 6] = ["copy", "fromkeys", "get", "items", "keys", "values"];
const INT: [&str; 5] = ["as_integer_ratio", "bit_count", "bit_length", "conjugate", "is_integer"];
const FLOAT: [&str; 4] = ["as_integer_ratio", "conjugate", "hex", "is_integer"];

/// The method's name with a life of its own, if the object has it.
pub fn find(object: &Value, name: &str) -> Option<&'static str> {
    let names: &[&'static str] = match object {
        Value::List(_) => &LIST,
        Value::Tuple(_) | Value::Range(_) => &TUPLE,
        Value::Dict(_) => &DICT,
        // Python 3.11 has no int.is_integer.
        Value::Int(_) | Value::Big(_) | Value::Bool(_) => &INT[..4],
        Value::Float(_) => &FLOAT,
        Value::View(..) => &["isdisjoint"],
        Value::Slice(_) => &["indices"],
        Value::Function("dict") => &["fromkeys"],
        _ => &[],
    };
    names.iter().find(|known| **known == name).copied()
}

pub fn number_attribute(object: &Value, name: &str) -> Option<Value> {
    match (name, object) {
        ("real", _) => ops::plus(object).ok(),
        ("imag", Value::Float(_)) => Some(Value::Float(0.0)),
        ("imag", _) => Some(Value::Int(0)),
        ("numerator", Value::Int(_) | Value::Big(_) | Value::Bool(_)) => ops::plus(object).ok(),
        ("denominator", Value::Int(_) | Value::Big(_) | Value::Bool(_)) => Some(Value::Int(1)),
        _ => None,
    }
}

pub fn call(interp: &mut Interp, object: &Value, name: &'static str, args: CallArgs) -> Res<Value> {
    match object {
        Value::List(_) | Value::Tuple(_) | Value::Range(_) => sequence(interp, object, name, args),
        Value::Dict(dict) => match name {
            "fromkeys" => from_keys(interp, args),
            _ => dict_method(object, dict, name, args),
        },
        Value::Function(_) => from_keys(interp, args),
        Value::Cycler(cycler) => {
            args.plain(name, 0, 0)?;
            if name == "reset" {
                cycler.position.set(0);
                return Ok(Value::None);
            }
            let at = cycler.position.get();
            cycler.position.set((at + 1) % cycler.items.len());
            Ok(cycler.items[at].clone())
        }
        Value::Slice(parts) => {
            let args = args.plain(name, 1, 1)?;
            let Some(length) = ops::as_index(&args[0]) else {
                return type_error(format!(
                    "'{}' object cannot be interpreted as an integer",
                    type_name(&args[0])
                ));
            };
            let (start, stop, step) = access::slice_indices(parts, length)?;
            Ok(Value::tuple(vec![Value::Int(start), Value::Int(stop), Value::Int(step)]))
        }
        Value::View(..) => {
            let args = args.plain(name, 1, 1)?;
            for item in iter::collect(interp, &args[0])? {
                if ops::contains(interp, object, &item)? {
                    return Ok(Value::Bool(false));
                }
            }
            Ok(Value::Bool(true))
        }
        _ => number(object, name, args),
    }
}

fn sequence(interp: &mut Interp, object: &Value, name: &str, args: CallArgs) -> Res<Value> {
    if name == "copy" {
        args.plain(name, 0, 0)?;
        return Ok(Value::list(iter::collect(interp, object)?));
    }
    let args = args.plain(name, 1, if name == "count" { 1 } else { 3 })?;
    let items = iter::collect(interp, object)?;
    if name == "count" {
        let mut count = 0;
        for item in &items {
            count += (ops::same(item, &args[0]) || ops::equal(interp, item, &args[0])?) as i64;
        }
        return Ok(Value::Int(count));
    }
    let bounds =
        [args.get(1).cloned().unwrap_or(Value::None), args.get(2).cloned().unwrap_or(Value::None)];
    let [from, to] = bounds;
    let (start, stop, _) = access::slice_indices(&[from, to, Value::None], items.len() as i64)?;
    for at in start..stop {
        let item = &items[at as usize];
        if ops::same(item, &args[0]) || ops::equal(interp, item, &args[0])? {
            return Ok(Value::Int(at));
        }
    }
    let shown = super::repr::repr(interp, &args[0])?;
    match object {
        Value::Tuple(_) => value_error("tuple.index(x): x not in tuple"),
        Value::Range(_) => value_error(format!("{shown} is not in range")),
        _ => value_error(format!("{shown} is not in list")),
    }
}

fn dict_method(object: &Value, dict: &std::rc::Rc<Dict>, name: &str, args: CallArgs) -> Res<Value> {
    match name {
        "get" => {
            let args = args.plain("get", 1, 2)?;
            let found = dict.get(&args[0])?;
            Ok(found.or_else(|| args.get(1).cloned()).unwrap_or(Value::None))
        }
        "copy" => {
            args.plain("copy", 0, 0)?;
            Ok(object.clone())
        }
        view => {
            args.plain(&format!("dict.{view}"), 0, 0)?;
            Ok(Value::View(access::view_kind(view), dict.clone()))
        }
    }
}

fn from_keys(interp: &mut Interp, args: CallArgs) -> Res<Value> {
    let args = args.plain("fromkeys", 1, 2)?;
    let value = args.get(1).cloned().unwrap_or(Value::None);
    let mut dict = Dict::default();
    for key in iter::collect(interp, &args[0])? {
        dict.insert(key, value.clone())?;
    }
    Ok(Value::dict(dict))
}

fn number(object: &Value, name: &str, args: CallArgs) -> Res<Value> {
    args.plain(name, 0, 0)?;
    let big = ops::as_big(object);
    Ok(match (name, big) {
        ("conjugate", _) => ops::plus(object)?,
        ("bit_length", Some(big)) => Value::Int(big.bits() as i64),
        ("bit_count", Some(big)) => Value::Int(big.magnitude().count_ones() as i64),
        ("as_integer_ratio", Some(big)) => Value::tuple(vec![Value::big(big), Value::Int(1)]),
        _ => {
            let value = ops::as_float(object).unwrap_or(f64::NAN);
            match name {
                "is_integer" => Value::Bool(value.is_finite() && value.fract() == 0.0),
                "hex" => Value::str(float_hex(value)),
                _ => integer_ratio(value)?,
            }
        }
    })
}

/// Mantissa and exponent: value = mantissa * 2^exponent.
fn decompose(value: f64) -> (u64, i64) {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64;
    let fraction = bits & ((1 << 52) - 1);
    if exponent == 0 {
        (fraction, -1074)
    } else {
        (fraction | 1 << 52, exponent - 1075)
    }
}

fn float_hex(value: f64) -> String {
    if !value.is_finite() {
        return super::repr::repr_float(value);
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value == 0.0 {
        return format!("{sign}0x0.0p+0");
    }
    let (mantissa, exponent) = decompose(value);
    let lead = mantissa >> 52;
    let exponent = exponent + 52;
    format!("{sign}0x{lead}.{:013x}p{exponent:+}", mantissa & ((1 << 52) - 1))
}

fn integer_ratio(value: f64) -> Res<Value> {
    if !value.is_finite() {
        let kind = if value.is_nan() { Kind::Value } else { Kind::Overflow };
        let what = if value.is_nan() { "NaN" } else { "Infinity" };
        return fail(kind, format!("cannot convert {what} to integer ratio"));
    }
    let (mut mantissa, mut exponent) = decompose(value);
    while mantissa != 0 && mantissa & 1 == 0 {
        mantissa >>= 1;
        exponent += 1;
    }
    let one = num_bigint::BigInt::from(1);
    let mut top = num_bigint::BigInt::from(mantissa);
    let mut bottom = one;
    if mantissa != 0 && exponent > 0 {
        top <<= exponent as u64;
    } else if mantissa != 0 {
        bottom <<= (-exponent) as u64;
    }
    let top = if value < 0.0 { -top } else { top };
    Ok(Value::tuple(vec![Value::big(top), Value::big(bottom)]))
}
