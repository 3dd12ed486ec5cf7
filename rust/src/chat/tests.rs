//! The tests by name.

use super::access;
use super::ast::{BinOp, CmpOp};
use super::call::{is_callable, CallArgs};
use super::error::Res;
use super::filters;
use super::iter;
use super::ops;
use super::repr::to_text;
use super::runtime::Interp;
use super::str_case::{is_lower_text, is_upper_text};
use super::value::{hash_key, Value};

pub type TestFunction = fn(&mut Interp, Value, CallArgs) -> Res<bool>;

/// A test without arguments.
macro_rules! plain {
    ($name:expr, $test:expr) => {
        (
            $name,
            (|_: &mut Interp, value: Value, args: CallArgs| {
                args.plain($name, 0, 0)?;
                let test: fn(&Value) -> bool = $test;
                Ok(test(&value))
            }) as TestFunction,
        )
    };
}

/// A comparison with one argument.
macro_rules! comparison {
    ($name:expr, $op:expr) => {
        (
            $name,
            (|interp: &mut Interp, value: Value, args: CallArgs| {
                let args = args.plain($name, 1, 1)?;
                ops::compare(interp, $op, &value, &args[0])
            }) as TestFunction,
        )
    };
}

fn remainder(interp: &mut Interp, value: &Value, number: &Value, wanted: i64) -> Res<bool> {
    let rest = ops::binary(interp, BinOp::Mod, value, number)?;
    ops::equal(interp, &rest, &Value::Int(wanted))
}

fn odd(interp: &mut Interp, value: Value, args: CallArgs) -> Res<bool> {
    args.plain("test_odd", 0, 0)?;
    remainder(interp, &value, &Value::Int(2), 1)
}

fn even(interp: &mut Interp, value: Value, args: CallArgs) -> Res<bool> {
    args.plain("test_even", 0, 0)?;
    remainder(interp, &value, &Value::Int(2), 0)
}

fn divisible(interp: &mut Interp, value: Value, args: CallArgs) -> Res<bool> {
    let [number] = args.bind("test_divisibleby", ["num"], 1)?;
    remainder(interp, &value, &number.unwrap_or(Value::None), 0)
}

fn lower(interp: &mut Interp, value: Value, args: CallArgs) -> Res<bool> {
    args.plain("test_lower", 0, 0)?;
    Ok(is_lower_text(&to_text(interp, &value)?))
}

fn upper(interp: &mut Interp, value: Value, args: CallArgs) -> Res<bool> {
    args.plain("test_upper", 0, 0)?;
    Ok(is_upper_text(&to_text(interp, &value)?))
}

fn same(_: &mut Interp, value: Value, args: CallArgs) -> Res<bool> {
    let [other] = args.bind("test_sameas", ["other"], 1)?;
    Ok(ops::same(&value, &other.unwrap_or(Value::None)))
}

fn within(interp: &mut Interp, value: Value, args: CallArgs) -> Res<bool> {
    let [seq] = args.bind("test_in", ["seq"], 1)?;
    ops::contains(interp, &seq.unwrap_or(Value::None), &value)
}

fn is_filter(_: &mut Interp, value: Value, args: CallArgs) -> Res<bool> {
    args.plain("test_filter", 0, 0)?;
    hash_key(&value)?;
    Ok(value.as_str().is_some_and(|name| filters::lookup(&name.text).is_some()))
}

fn is_test(_: &mut Interp, value: Value, args: CallArgs) -> Res<bool> {
    args.plain("test_test", 0, 0)?;
    hash_key(&value)?;
    Ok(value.as_str().is_some_and(|name| lookup(&name.text).is_some()))
}

fn sequence(interp: &mut Interp, value: Value, args: CallArgs) -> Res<bool> {
    args.plain("test_sequence", 0, 0)?;
    let has_items = match &value {
        Value::View(..) | Value::Loop(_) => false,
        // Asking for a method by name makes no undefined value fail.
        Value::Undefined(_) => true,
        other => access::has_attribute(interp, other, "__getitem__")?,
    };
    Ok(has_items && iter::has_length(&value))
}

static TESTS: [(&str, TestFunction); 39] = [
    ("odd", odd),
    ("even", even),
    ("divisibleby", divisible),
    plain!("defined", |value| !value.is_undefined()),
    plain!("undefined", Value::is_undefined),
    ("filter", is_filter),
    ("test", is_test),
    plain!("none", |value| matches!(value, Value::None)),
    plain!("boolean", |value| matches!(value, Value::Bool(_))),
    plain!("false", |value| matches!(value, Value::Bool(false))),
    plain!("true", |value| matches!(value, Value::Bool(true))),
    plain!("integer", |value| matches!(value, Value::Int(_) | Value::Big(_))),
    plain!("float", |value| matches!(value, Value::Float(_))),
    ("lower", lower),
    ("upper", upper),
    plain!("string", |value| matches!(value, Value::Str(_))),
    plain!("mapping", |value| matches!(value, Value::Dict(_))),
    plain!("number", |value| ops::as_float(value).is_some()),
    ("sequence", sequence),
    plain!("iterable", iter::is_iterable),
    plain!("callable", is_callable),
    ("sameas", same),
    plain!("escaped", Value::is_markup),
    ("in", within),
    comparison!("==", CmpOp::Eq),
    comparison!("eq", CmpOp::Eq),
    comparison!("equalto", CmpOp::Eq),
    comparison!("!=", CmpOp::Ne),
    comparison!("ne", CmpOp::Ne),
    comparison!(">", CmpOp::Gt),
    comparison!("gt", CmpOp::Gt),
    comparison!("greaterthan", CmpOp::Gt),
    comparison!("ge", CmpOp::Ge),
    comparison!(">=", CmpOp::Ge),
    comparison!("<", CmpOp::Lt),
    comparison!("lt", CmpOp::Lt),
    comparison!("lessthan", CmpOp::Lt),
    comparison!("<=", CmpOp::Le),
    comparison!("le", CmpOp::Le),
];

pub fn lookup(name: &str) -> Option<TestFunction> {
    TESTS.iter().find(|(known, _)| *known == name).map(|(_, test)| *test)
}
