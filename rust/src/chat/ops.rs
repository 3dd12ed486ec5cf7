//! Python's operators.

use std::cmp::Ordering;
use std::rc::Rc;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Pow, Signed, ToPrimitive, Zero};

use super::ast::{BinOp, CmpOp};
use super::error::{fail, type_error, Kind, Res};
use super::html;
use super::iter;
use super::percent;
use super::runtime::Interp;
use super::value::{type_name, Seq, Value, ViewKind};

/// Bits of the largest integer.
const MAX_BITS: u64 = 1 << 20;

/// Int, bool: what may stand as an index.
pub fn as_index(value: &Value) -> Option<i64> {
    match value {
        Value::Int(i) => Some(*i),
        Value::Bool(b) => Some(*b as i64),
        _ => None,
    }
}

pub fn as_big(value: &Value) -> Option<BigInt> {
    match value {
        Value::Big(big) => Some((**big).clone()),
        other => as_index(other).map(BigInt::from),
    }
}

/// Any number as a float; a too large integer is infinite.
pub fn as_float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(f) => Some(*f),
        Value::Big(big) => big.to_f64(),
        other => as_index(other).map(|i| i as f64),
    }
}

pub fn is_negative(value: &Value) -> bool {
    as_float(value).is_some_and(|number| number < 0.0)
}

fn undefined_error<T>(value: &Value) -> Res<T> {
    match value {
        Value::Undefined(undefined) => fail(undefined.kind, undefined.message.clone()),
        _ => type_error("undefined"),
    }
}

pub fn negate(a: &Value) -> Res<Value> {
    Ok(match a {
        Value::Float(f) => Value::Float(-f),
        Value::Undefined(_) => return undefined_error(a),
        _ => match as_big(a) {
            Some(big) => Value::big(-big),
            None => return type_error(format!("bad operand type for unary -: '{}'", type_name(a))),
        },
    })
}

pub fn plus(a: &Value) -> Res<Value> {
    match a {
        Value::Bool(b) => Ok(Value::Int(*b as i64)),
        Value::Int(_) | Value::Big(_) | Value::Float(_) => Ok(a.clone()),
        Value::Undefined(_) => undefined_error(a),
        _ => type_error(format!("bad operand type for unary +: '{}'", type_name(a))),
    }
}

pub fn binary(interp: &mut Interp, op: BinOp, a: &Value, b: &Value) -> Res<Value> {
    if let (BinOp::Mod, Value::Str(format)) = (op, a) {
        return percent::format(interp, format, b);
    }
    if a.is_undefined() {
        return undefined_error(a);
    }
    if b.is_undefined() {
        return undefined_error(b);
    }
    if let (Value::Int(x), Value::Int(y)) = (a, b) {
        let quick = match op {
            BinOp::Add => x.checked_add(*y),
            BinOp::Sub => x.checked_sub(*y),
            BinOp::Mul => x.checked_mul(*y),
            _ => None,
        };
        if let Some(value) = quick {
            return Ok(Value::Int(value));
        }
    }
    let numbers = as_float(a).is_some() && as_float(b).is_some();
    if numbers {
        return match (as_big(a), as_big(b)) {
            (Some(x), Some(y)) if op != BinOp::Div => integers(interp, op, x, y),
            (Some(x), Some(y)) => divide(&x, &y),
            _ => floats(op, a, b),
        };
    }
    sequences(interp, op, a, b)
}

fn integers(interp: &mut Interp, op: BinOp, x: BigInt, y: BigInt) -> Res<Value> {
    interp.budget.work((x.bits() + y.bits()) as usize)?;
    Ok(Value::big(match op {
        BinOp::Add => x + y,
        BinOp::Sub => x - y,
        BinOp::Mul if x.bits() + y.bits() > MAX_BITS => return too_large(),
        BinOp::Mul => x * y,
        BinOp::FloorDiv if y.is_zero() => {
            return fail(Kind::ZeroDivision, "integer division or modulo by zero")
        }
        BinOp::Mod if y.is_zero() => return fail(Kind::ZeroDivision, "integer modulo by zero"),
        BinOp::FloorDiv => x.div_floor(&y),
        BinOp::Mod => x.mod_floor(&y),
        BinOp::Pow if y.is_negative() => {
            let (x, y) = (to_float(&x)?, to_float(&y)?);
            if x == 0.0 {
                return fail(Kind::ZeroDivision, "0.0 cannot be raised to a negative power");
            }
            return Ok(Value::Float(x.powf(y)));
        }
        BinOp::Pow => {
            let exponent = y.to_u64().unwrap_or(u64::MAX);
            if x.bits() > 1 && x.bits().saturating_mul(exponent) > MAX_BITS {
                return too_large();
            }
            // A base of -1, 0 or 1 only knows whether the exponent is even.
            let small = if exponent > MAX_BITS { 2 + exponent % 2 } else { exponent };
            interp.budget.work((x.bits() * small) as usize)?;
            Pow::pow(x, small)
        }
        BinOp::Div => return divide(&x, &y),
    }))
}

fn too_large<T>() -> Res<T> {
    fail(Kind::Limit, "the template computes with too large an integer")
}

fn to_float(x: &BigInt) -> Res<f64> {
    match x.to_f64().filter(|f| f.is_finite()) {
        Some(f) => Ok(f),
        None => fail(Kind::Overflow, "int too large to convert to float"),
    }
}

/// True division of integers, rounded once.
fn divide(x: &BigInt, y: &BigInt) -> Res<Value> {
    if y.is_zero() {
        return fail(Kind::ZeroDivision, "division by zero");
    }
    const EXACT: u64 = 53;
    if x.bits() <= EXACT && y.bits() <= EXACT {
        return Ok(Value::Float(to_float(x)? / to_float(y)?));
    }
    // Scaled so that the quotient has more bits than a float, its last one sticky.
    let shift = 66i64 - (x.bits() as i64 - y.bits() as i64);
    let (numerator, denominator) = match shift >= 0 {
        true => (x.magnitude() << shift as u64, y.magnitude().clone()),
        false => (x.magnitude().clone(), y.magnitude() << (-shift) as u64),
    };
    let (mut quotient, rest) = numerator.div_rem(&denominator);
    if !rest.is_zero() {
        quotient |= num_bigint::BigUint::from(1u32);
    }
    let mantissa = quotient.to_f64().unwrap_or(f64::INFINITY);
    let half = (-shift / 2) as i32;
    let value = mantissa * 2f64.powi(half) * 2f64.powi((-shift) as i32 - half);
    if value.is_infinite() {
        return fail(Kind::Overflow, "integer division result too large for a float");
    }
    Ok(Value::Float(if x.is_negative() != y.is_negative() { -value } else { value }))
}

fn floats(op: BinOp, a: &Value, b: &Value) -> Res<Value> {
    let convert = |value: &Value| match value {
        Value::Big(big) => to_float(big),
        other => Ok(as_float(other).unwrap_or(f64::NAN)),
    };
    let (x, y) = (convert(a)?, convert(b)?);
    Ok(Value::Float(match op {
        BinOp::Add => x + y,
        BinOp::Sub => x - y,
        BinOp::Mul => x * y,
        BinOp::Div if y == 0.0 => return fail(Kind::ZeroDivision, "float division by zero"),
        BinOp::Div => x / y,
        BinOp::FloorDiv if y == 0.0 => {
            return fail(Kind::ZeroDivision, "float floor division by zero")
        }
        BinOp::Mod if y == 0.0 => return fail(Kind::ZeroDivision, "float modulo"),
        BinOp::FloorDiv => floor_division(x, y).0,
        BinOp::Mod => floor_division(x, y).1,
        BinOp::Pow => return power(x, y),
    }))
}

/// Quotient and remainder as CPython's float_divmod.
fn floor_division(x: f64, y: f64) -> (f64, f64) {
    let mut rest = x % y;
    let mut quotient = (x - rest) / y;
    if rest != 0.0 {
        if (y < 0.0) != (rest < 0.0) {
            rest += y;
            quotient -= 1.0;
        }
    } else {
        rest = 0f64.copysign(y);
    }
    let floor = if quotient != 0.0 {
        let floor = quotient.floor();
        if quotient - floor > 0.5 {
            floor + 1.0
        } else {
            floor
        }
    } else {
        0f64.copysign(x / y)
    };
    (floor, rest)
}

fn power(x: f64, y: f64) -> Res<Value> {
    if x == 0.0 && y < 0.0 {
        return fail(Kind::ZeroDivision, "0.0 cannot be raised to a negative power");
    }
    if x < 0.0 && x.is_finite() && y.is_finite() && y.fract() != 0.0 {
        return fail(Kind::Value, "complex numbers are not supported in templates");
    }
    let value = x.powf(y);
    if value.is_infinite() && x.is_finite() && y.is_finite() {
        return fail(Kind::Overflow, "(34, 'Numerical result out of range')");
    }
    Ok(Value::Float(value))
}

fn is_sequence(value: &Value) -> bool {
    matches!(value, Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Bytes(_))
}

fn sequences(interp: &mut Interp, op: BinOp, a: &Value, b: &Value) -> Res<Value> {
    match (op, a, b) {
        (BinOp::Add, Value::Str(x), Value::Str(y)) if x.markup || y.markup => {
            let x = html::escaped_text(interp, a)?;
            let y = html::escaped_text(interp, b)?;
            interp.budget.room(x.len() + y.len())?;
            Ok(Value::markup(x + &y))
        }
        (BinOp::Add, Value::Str(x), Value::Str(y)) => {
            interp.budget.room(x.text.len() + y.text.len())?;
            Ok(Value::str([x.text.as_str(), y.text.as_str()].concat()))
        }
        (BinOp::Add, Value::List(x), Value::List(y)) => join(interp, x, y).map(Value::list),
        (BinOp::Add, Value::Tuple(x), Value::Tuple(y)) => join(interp, x, y).map(Value::tuple),
        (BinOp::Add, Value::Bytes(x), Value::Bytes(y)) => {
            interp.budget.room(x.len() + y.len())?;
            Ok(Value::Bytes(Rc::new([x.as_slice(), y.as_slice()].concat())))
        }
        (BinOp::Mul, x, times) if is_sequence(x) && as_big(times).is_some() => {
            repeat(interp, x, times)
        }
        (BinOp::Mul, times, x) if is_sequence(x) && as_big(times).is_some() => {
            repeat(interp, x, times)
        }
        (BinOp::Mul, x, y) if is_sequence(x) || is_sequence(y) => {
            let other = if is_sequence(x) { y } else { x };
            type_error(format!("can't multiply sequence by non-int of type '{}'", type_name(other)))
        }
        (BinOp::Add, Value::Str(_) | Value::List(_) | Value::Tuple(_), _) => {
            let (left, right) = (type_name(a), type_name(b));
            type_error(format!("can only concatenate {left} (not \"{right}\") to {left}"))
        }
        _ => type_error(format!(
            "unsupported operand type(s) for {}: '{}' and '{}'",
            op.symbol(),
            type_name(a),
            type_name(b)
        )),
    }
}

fn join(interp: &mut Interp, x: &Seq, y: &Seq) -> Res<Vec<Value>> {
    interp.budget.room((x.items.len() + y.items.len()) * std::mem::size_of::<Value>())?;
    Ok(x.items.iter().chain(&y.items).cloned().collect())
}

fn repeat(interp: &mut Interp, x: &Value, times: &Value) -> Res<Value> {
    let times = match as_index(times) {
        Some(times) => times.max(0) as usize,
        None if as_big(times).is_some_and(|big| big.is_negative()) => 0,
        None => return fail(Kind::Overflow, "cannot fit 'int' into an index-sized integer"),
    };
    let size = match x {
        Value::Str(text) => text.text.len(),
        Value::Bytes(content) => content.len(),
        Value::List(seq) | Value::Tuple(seq) => seq.items.len() * std::mem::size_of::<Value>(),
        _ => 0,
    };
    interp.budget.room(size.saturating_mul(times))?;
    let times = if size == 0 { 0 } else { times };
    let items = |seq: &Seq| -> Vec<Value> {
        std::iter::repeat_n(&seq.items, times).flatten().cloned().collect()
    };
    Ok(match x {
        Value::Str(text) => Value::text(text.text.repeat(times), text.markup),
        Value::Bytes(content) => Value::Bytes(Rc::new(content.repeat(times))),
        Value::List(seq) => Value::list(items(seq)),
        Value::Tuple(seq) => Value::tuple(items(seq)),
        other => other.clone(),
    })
}

/// a == b
pub fn equal(interp: &mut Interp, a: &Value, b: &Value) -> Res<bool> {
    interp.budget.step()?;
    Ok(match (a, b) {
        (Value::Str(x), Value::Str(y)) => x.text == y.text,
        (Value::None, Value::None) | (Value::Undefined(_), Value::Undefined(_)) => true,
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            if x.items.len() != y.items.len() {
                return Ok(false);
            }
            for (x, y) in x.items.iter().zip(&y.items) {
                if !same(x, y) && !equal(interp, x, y)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(x), Value::Dict(y)) => {
            if x.len() != y.len() {
                return Ok(false);
            }
            for (hash, (_, value)) in &x.map {
                let Some((_, other)) = y.map.get(hash) else { return Ok(false) };
                if !same(value, other) && !equal(interp, value, other)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::View(kind, x), Value::View(other, y)) if *kind != ViewKind::Values => {
            if kind != other || x.len() != y.len() {
                return Ok(false);
            }
            for (hash, (_, value)) in &x.map {
                let Some((_, found)) = y.map.get(hash) else { return Ok(false) };
                if *kind == ViewKind::Items && !equal(interp, value, found)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Bytes(x), Value::Bytes(y)) => x == y,
        (Value::Range(x), Value::Range(y)) => {
            let length = x.len();
            length == y.len()
                && (length == 0 || x.start == y.start && (length == 1 || x.step == y.step))
        }
        (Value::Int(x), Value::Int(y)) => x == y,
        _ => match numbers(a, b) {
            Some(order) => order == Some(Ordering::Equal),
            None => same(a, b),
        },
    })
}

/// a is b
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) | (Value::Template, Value::Template) => true,
        (Value::Bool(x), Value::Bool(y)) => x == y,
        // CPython keeps one object for each of these numbers, and for each short text.
        (Value::Int(x), Value::Int(y)) => x == y && (-5..=256).contains(x),
        (Value::Str(x), Value::Str(y)) => {
            std::sync::Arc::ptr_eq(x, y)
                || (x.text == y.text && x.text.chars().count() <= 1 && !x.markup && !y.markup)
        }
        (Value::Tuple(x), Value::Tuple(y)) if x.items.is_empty() && y.items.is_empty() => true,
        (Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::None | Value::Template, _) => {
            false
        }
        (Value::View(..), _) | (Value::Method(_), _) => false,
        _ => std::mem::discriminant(a) == std::mem::discriminant(b) && a.address() == b.address(),
    }
}

/// The order of two numbers (none for NaN), or none if they are not both numbers.
fn numbers(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    match (a, b) {
        (Value::Float(x), Value::Float(y)) => Some(x.partial_cmp(y)),
        (Value::Float(x), y) => Some(compare_float(*x, &as_big(y)?)),
        (x, Value::Float(y)) => Some(compare_float(*y, &as_big(x)?).map(Ordering::reverse)),
        _ => Some(Some(as_big(a)?.cmp(&as_big(b)?))),
    }
}

fn compare_float(x: f64, y: &BigInt) -> Option<Ordering> {
    if x.is_nan() {
        return None;
    }
    if x.is_infinite() {
        return Some(if x > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    let whole: BigInt = num_traits::FromPrimitive::from_f64(x.trunc())?;
    Some(whole.cmp(y).then_with(|| x.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal)))
}

/// Whether every item of one view is in the other.
fn subset(interp: &mut Interp, a: &Value, b: &Value) -> Res<bool> {
    for item in iter::collect(interp, a)? {
        if !contains(interp, b, &item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The order of two values of one kind; none when they are not ordered (NaN).
fn order(interp: &mut Interp, symbol: &str, a: &Value, b: &Value) -> Res<Option<Ordering>> {
    interp.budget.step()?;
    if let Some(order) = numbers(a, b) {
        return Ok(order);
    }
    match (a, b) {
        (Value::Str(x), Value::Str(y)) => Ok(Some(x.text.cmp(&y.text))),
        (Value::Bytes(x), Value::Bytes(y)) => Ok(Some(x.cmp(y))),
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            for (x, y) in x.items.iter().zip(&y.items) {
                if !same(x, y) && !equal(interp, x, y)? {
                    return order(interp, symbol, x, y);
                }
            }
            Ok(Some(x.items.len().cmp(&y.items.len())))
        }
        (Value::View(ka, x), Value::View(kb, y))
            if *ka != ViewKind::Values && *kb != ViewKind::Values =>
        {
            let (left, right) = (subset(interp, a, b)?, subset(interp, b, a)?);
            Ok(match (left, right, x.len().cmp(&y.len())) {
                (true, _, Ordering::Less) => Some(Ordering::Less),
                (_, true, Ordering::Greater) => Some(Ordering::Greater),
                (true, true, _) => Some(Ordering::Equal),
                _ => None,
            })
        }
        (Value::Undefined(_), _) => undefined_error(a),
        (_, Value::Undefined(_)) => undefined_error(b),
        _ => type_error(format!(
            "'{symbol}' not supported between instances of '{}' and '{}'",
            type_name(a),
            type_name(b)
        )),
    }
}

pub fn less(interp: &mut Interp, a: &Value, b: &Value) -> Res<bool> {
    compare(interp, CmpOp::Lt, a, b)
}

pub fn compare(interp: &mut Interp, op: CmpOp, a: &Value, b: &Value) -> Res<bool> {
    Ok(match op {
        CmpOp::Eq => equal(interp, a, b)?,
        CmpOp::Ne => !equal(interp, a, b)?,
        CmpOp::In => contains(interp, b, a)?,
        CmpOp::NotIn => !contains(interp, b, a)?,
        CmpOp::Lt => order(interp, "<", a, b)? == Some(Ordering::Less),
        CmpOp::Gt => order(interp, ">", a, b)? == Some(Ordering::Greater),
        CmpOp::Le => matches!(order(interp, "<=", a, b)?, Some(Ordering::Less | Ordering::Equal)),
        CmpOp::Ge => {
            matches!(order(interp, ">=", a, b)?, Some(Ordering::Greater | Ordering::Equal))
        }
    })
}

/// item in container
pub fn contains(interp: &mut Interp, container: &Value, item: &Value) -> Res<bool> {
    match (container, item) {
        (Value::Str(text), Value::Str(part)) => {
            interp.budget.work(text.text.len())?;
            Ok(text.text.contains(&part.text))
        }
        (Value::Str(_), other) => {
            let name = type_name(other);
            type_error(format!("'in <string>' requires string as left operand, not {name}"))
        }
        (Value::Dict(dict), key) | (Value::View(ViewKind::Keys, dict), key) => {
            Ok(dict.get(key)?.is_some())
        }
        (Value::Bytes(content), Value::Int(byte)) => Ok(content.iter().any(|b| *b as i64 == *byte)),
        (Value::Undefined(_), _) => Ok(false),
        (container, _) if !iter::is_iterable(container) => {
            type_error(format!("argument of type '{}' is not iterable", type_name(container)))
        }
        _ => {
            let iter = iter::iterate(container)?;
            while let Some(candidate) = iter.next(interp)? {
                if same(&candidate, item) || equal(interp, &candidate, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}
