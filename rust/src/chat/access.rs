//! Attributes, items and slices, with the sandbox's rules.

use std::rc::Rc;
use std::sync::Arc;

use super::error::{fail, type_error, value_error, Kind, Res};
use super::ops::as_index;
use super::repr::repr_str;
use super::runtime::Interp;
use super::value::{
    missing_member, type_name, BlockReference, PyStr, RangeValue, UndefinedValue, Value, ViewKind,
};
use super::{bytes, loops, methods, str_methods};

enum Member {
    Value(Value),
    /// There is such a thing, but templates must not have it.
    Unsafe,
    Missing,
}

/// Names with two underscores that every Python object has.
const DUNDERS: [&str; 22] = [
    "__class__",
    "__delattr__",
    "__dir__",
    "__doc__",
    "__eq__",
    "__format__",
    "__ge__",
    "__getattribute__",
    "__getstate__",
    "__gt__",
    "__hash__",
    "__init__",
    "__init_subclass__",
    "__le__",
    "__lt__",
    "__ne__",
    "__new__",
    "__reduce__",
    "__reduce_ex__",
    "__repr__",
    "__str__",
    "__subclasshook__",
];

fn has_dunder(object: &Value, name: &str) -> bool {
    if matches!(object, Value::Namespace(_)) {
        return name == "__class__";
    }
    if DUNDERS.contains(&name) {
        return true;
    }
    match name {
        "__len__" | "__contains__" => super::iter::has_length(object),
        "__iter__" => super::iter::is_iterable(object),
        "__getitem__" => matches!(
            object,
            Value::Str(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::Range(_)
                | Value::Bytes(_)
        ),
        "__add__" | "__mul__" | "__rmul__" => {
            matches!(
                object,
                Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Int(_) | Value::Float(_)
            )
        }
        "__call__" => super::call::is_callable(object),
        "__mod__" => matches!(object, Value::Str(_) | Value::Int(_) | Value::Float(_)),
        "__html__" => object.is_markup(),
        _ => false,
    }
}

const LIST_MUTATORS: [&str; 8] =
    ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];
const DICT_MUTATORS: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];

fn member(interp: &mut Interp, object: &Value, name: &str) -> Res<Member> {
    let method = |found: Option<&'static str>| match found {
        Some(found) => Member::Value(object.method(found)),
        None => Member::Missing,
    };
    if name.starts_with('_') && has_dunder(object, name) {
        return Ok(Member::Unsafe);
    }
    Ok(match object {
        Value::Str(_) => method(str_methods::find(name)),
        Value::Bytes(_) => method(bytes::find(name)),
        Value::Dict(_) if DICT_MUTATORS.contains(&name) => Member::Unsafe,
        Value::List(_) if LIST_MUTATORS.contains(&name) => Member::Unsafe,
        Value::Tuple(tuple) if tuple.group && name == "grouper" => {
            Member::Value(tuple.items[0].clone())
        }
        Value::Tuple(tuple) if tuple.group && name == "list" => {
            Member::Value(tuple.items[1].clone())
        }
        Value::Loop(state) => match loops::attribute(interp, state, name)? {
            Some(value) => Member::Value(value),
            None => Member::Missing,
        },
        Value::Namespace(namespace) => match namespace.attrs.borrow().get_text(name) {
            Some(value) => Member::Value(value.clone()),
            None => Member::Missing,
        },
        Value::Macro(target) => match name {
            "name" => Member::Value(match &target.def.name {
                Some(name) => Value::Str(name.clone()),
                None => Value::None,
            }),
            "arguments" => {
                let names = target.def.args.iter().map(|arg| Value::Str(arg.name.clone()));
                Member::Value(Value::tuple(names.collect()))
            }
            "catch_kwargs" => Member::Value(Value::Bool(target.def.kwargs.is_some())),
            "catch_varargs" => Member::Value(Value::Bool(target.def.varargs.is_some())),
            "caller" => Member::Value(Value::Bool(target.def.caller.is_some())),
            "explicit_caller" => {
                let explicit = target.def.args.iter().any(|arg| arg.name.text == "caller");
                Member::Value(Value::Bool(explicit))
            }
            _ => Member::Missing,
        },
        Value::Cycler(cycler) => match name {
            "current" => Member::Value(cycler.items[cycler.position.get()].clone()),
            "next" => Member::Value(object.method("next")),
            "reset" => Member::Value(object.method("reset")),
            "pos" => Member::Value(Value::Int(cycler.position.get() as i64)),
            "items" => Member::Value(Value::tuple(cycler.items.clone())),
            _ => Member::Missing,
        },
        Value::Joiner(joiner) => match name {
            "sep" => Member::Value(joiner.separator.clone()),
            "used" => Member::Value(Value::Bool(joiner.used.get())),
            _ => Member::Missing,
        },
        Value::Range(range) => match name {
            "start" => Member::Value(Value::Int(range.start)),
            "stop" => Member::Value(Value::Int(range.stop)),
            "step" => Member::Value(Value::Int(range.step)),
            _ => method(methods::find(object, name)),
        },
        Value::Int(_) | Value::Big(_) | Value::Bool(_) | Value::Float(_) => {
            match methods::number_attribute(object, name) {
                Some(value) => Member::Value(value),
                None => method(methods::find(object, name)),
            }
        }
        Value::Block(reference) => match name {
            "name" => Member::Value(Value::Str(reference.name.clone())),
            _ => Member::Missing,
        },
        _ => method(methods::find(object, name)),
    })
}

fn unsafe_member(object: &Value, name: &str) -> Value {
    let message = format!(
        "access to attribute {} of '{}' object is unsafe.",
        repr_str(name),
        type_name(object)
    );
    Value::Undefined(Rc::new(UndefinedValue { message, kind: Kind::Security }))
}

/// `object.name`: an attribute, or else an item.
pub fn getattr(interp: &mut Interp, object: &Value, name: &Arc<PyStr>) -> Res<Value> {
    if let Value::Undefined(undefined) = object {
        if has_dunder(object, &name.text) {
            return Ok(unsafe_member(object, &name.text));
        }
        return fail(undefined.kind, undefined.message.clone());
    }
    match member(interp, object, &name.text)? {
        Member::Value(value) if !name.text.starts_with('_') => return Ok(value),
        Member::Value(_) | Member::Unsafe => return Ok(unsafe_member(object, &name.text)),
        Member::Missing => {}
    }
    if let Value::Dict(dict) = object {
        if let Some(value) = dict.get_text(&name.text) {
            return Ok(value.clone());
        }
    }
    let key = Value::Str(name.clone());
    if let Value::Template = object {
        return block_item(interp, object, &key);
    }
    Ok(missing_member(object, &key))
}

/// Whether the object has that attribute, for the attr filter.
pub fn has_attribute(interp: &mut Interp, object: &Value, name: &str) -> Res<bool> {
    Ok(!matches!(member(interp, object, name)?, Member::Missing))
}

fn block_item(interp: &mut Interp, object: &Value, key: &Value) -> Res<Value> {
    let known =
        key.as_str().filter(|name| interp.template.blocks.iter().any(|block| block.name == **name));
    Ok(match known {
        Some(name) => Value::Block(Rc::new(BlockReference { name: name.clone() })),
        None => missing_member(object, key),
    })
}

/// The item, or none for what Python answers by TypeError or LookupError.
fn item(interp: &mut Interp, object: &Value, key: &Value) -> Res<Option<Value>> {
    if let Value::Dict(dict) = object {
        return match dict.get(key) {
            Ok(found) => Ok(found),
            Err(error) if error.kind == Kind::Type => Ok(None),
            Err(error) => Err(error),
        };
    }
    if let Value::Slice(parts) = key {
        return slice(interp, object, parts).map(Some).or_else(|error| match error.kind {
            Kind::Type => Ok(None),
            _ => Err(error),
        });
    }
    let Some(index) = as_index(key) else { return Ok(None) };
    let at = |length: usize| -> Option<usize> {
        let index = if index < 0 { index + length as i64 } else { index };
        usize::try_from(index).ok().filter(|index| *index < length)
    };
    Ok(match object {
        Value::List(seq) | Value::Tuple(seq) => at(seq.items.len()).map(|at| seq.items[at].clone()),
        Value::Str(text) if text.ascii => {
            at(text.text.len()).map(|at| Value::text(&text.text[at..at + 1], text.markup))
        }
        Value::Str(text) => {
            interp.budget.work(text.text.len())?;
            let at = at(text.char_len());
            at.and_then(|at| text.text.chars().nth(at))
                .map(|c| Value::text(c.to_string(), text.markup))
        }
        Value::Bytes(bytes) => at(bytes.len()).map(|at| Value::Int(bytes[at] as i64)),
        Value::Range(range) => at(range.len() as usize).map(|at| Value::Int(range.at(at as i64))),
        _ => None,
    })
}

/// `object[key]`: an item, or else an attribute.
pub fn getitem(interp: &mut Interp, object: &Value, key: &Value) -> Res<Value> {
    if let Value::Undefined(undefined) = object {
        return fail(undefined.kind, undefined.message.clone());
    }
    if let Some(value) = item(interp, object, key)? {
        return Ok(value);
    }
    if let Value::Template = object {
        return block_item(interp, object, key);
    }
    let Some(name) = key.as_str() else { return Ok(missing_member(object, key)) };
    Ok(match member(interp, object, &name.text)? {
        Member::Value(value) if !name.text.starts_with('_') => value,
        Member::Value(_) | Member::Unsafe => unsafe_member(object, &name.text),
        Member::Missing => missing_member(object, key),
    })
}

/// Start, stop and step within `length`, as Python's slice.indices.
pub fn slice_indices(parts: &[Value; 3], length: i64) -> Res<(i64, i64, i64)> {
    let part = |value: &Value| -> Res<Option<i64>> {
        match value {
            Value::None => Ok(None),
            Value::Big(big) => {
                Ok(Some(if big.sign() == num_bigint::Sign::Minus { i64::MIN } else { i64::MAX }))
            }
            other => match as_index(other) {
                Some(index) => Ok(Some(index)),
                None => {
                    type_error("slice indices must be integers or None or have an __index__ method")
                }
            },
        }
    };
    let step = part(&parts[2])?.unwrap_or(1);
    if step == 0 {
        return value_error("slice step cannot be zero");
    }
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let place = |value: Option<i64>, missing: i64| match value {
        None => missing,
        Some(index) if index < 0 => index.saturating_add(length).max(low),
        Some(index) => index.min(high),
    };
    let start = place(part(&parts[0])?, if step > 0 { low } else { high });
    let stop = place(part(&parts[1])?, if step > 0 { high } else { low });
    Ok((start, stop, step.max(-i64::MAX)))
}

fn picked(start: i64, stop: i64, step: i64) -> impl Iterator<Item = usize> {
    let range = RangeValue { start, stop, step };
    (0..range.len()).map(move |index| range.at(index) as usize)
}

/// `object[start:stop:step]`
pub fn slice(interp: &mut Interp, object: &Value, parts: &[Value; 3]) -> Res<Value> {
    match object {
        Value::List(seq) | Value::Tuple(seq) => {
            let (start, stop, step) = slice_indices(parts, seq.items.len() as i64)?;
            interp.budget.room(seq.items.len() * 16)?;
            let items = picked(start, stop, step).map(|at| seq.items[at].clone()).collect();
            Ok(if matches!(object, Value::List(_)) {
                Value::list(items)
            } else {
                Value::tuple(items)
            })
        }
        Value::Str(text) => {
            interp.budget.room(text.text.len())?;
            Ok(Value::text(slice_text(text, parts)?, text.markup))
        }
        Value::Bytes(content) => {
            let (start, stop, step) = slice_indices(parts, content.len() as i64)?;
            Ok(Value::Bytes(Rc::new(picked(start, stop, step).map(|at| content[at]).collect())))
        }
        Value::Range(range) => {
            let (start, stop, step) = slice_indices(parts, range.len())?;
            let step = step.saturating_mul(range.step);
            Ok(Value::Range(Rc::new(RangeValue {
                start: range.at(start),
                stop: range.at(stop),
                step,
            })))
        }
        Value::Undefined(undefined) => fail(undefined.kind, undefined.message.clone()),
        Value::Dict(_) => type_error("unhashable type: 'slice'"),
        other => type_error(format!("'{}' object is not subscriptable", type_name(other))),
    }
}

fn slice_text(text: &PyStr, parts: &[Value; 3]) -> Res<String> {
    let (start, stop, step) = slice_indices(parts, text.char_len() as i64)?;
    if step == 1 {
        if stop <= start {
            return Ok(String::new());
        }
        let (start, stop) = (start as usize, stop as usize);
        if text.ascii {
            return Ok(text.text[start..stop].to_string());
        }
        return Ok(text.text.chars().skip(start).take(stop - start).collect());
    }
    let chars: Vec<char> = text.text.chars().collect();
    Ok(picked(start, stop, step).map(|at| chars[at]).collect())
}

/// The view of a dictionary that `keys`, `values` or `items` stands for.
pub fn view_kind(name: &str) -> ViewKind {
    match name {
        "keys" => ViewKind::Keys,
        "values" => ViewKind::Values,
        _ => ViewKind::Items,
    }
}
