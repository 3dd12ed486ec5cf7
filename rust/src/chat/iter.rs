//! Python's iterators: lazy, and empty once read.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::error::{fail, type_error, Kind, Res};
use super::limits::MAX_DEPTH;
use super::runtime::Interp;
use super::value::{type_name, Dict, PyStr, RangeValue, Seq, Value, ViewKind};

pub trait PyIter {
    fn next(&mut self, interp: &mut Interp) -> Res<Option<Value>>;
}

pub struct IterObject {
    pub type_name: &'static str,
    /// Iterators inside each other.
    pub depth: u32,
    state: RefCell<Box<dyn PyIter>>,
}

impl IterObject {
    pub fn next(&self, interp: &mut Interp) -> Res<Option<Value>> {
        interp.budget.step()?;
        match self.state.try_borrow_mut() {
            Ok(mut state) => state.next(interp),
            Err(_) => fail(Kind::Value, "generator already executing"),
        }
    }
}

/// @param over what the iterator reads from, for the depth.
pub fn make(
    type_name: &'static str,
    over: &[&Value],
    state: impl PyIter + 'static,
) -> Res<Rc<IterObject>> {
    let depth = 1 + over.iter().map(|value| value.depth()).max().unwrap_or(0);
    if depth > MAX_DEPTH {
        return fail(Kind::Recursion, "maximum recursion depth exceeded");
    }
    Ok(Rc::new(IterObject { type_name, depth, state: RefCell::new(Box::new(state)) }))
}

pub fn make_value(
    type_name: &'static str,
    over: &[&Value],
    state: impl PyIter + 'static,
) -> Res<Value> {
    make(type_name, over, state).map(Value::Iter)
}

struct SeqIter(Rc<Seq>, usize);

impl PyIter for SeqIter {
    fn next(&mut self, _: &mut Interp) -> Res<Option<Value>> {
        let item = self.0.items.get(self.1).cloned();
        self.1 += 1;
        Ok(item)
    }
}

struct StrIter(Arc<PyStr>, usize);

impl PyIter for StrIter {
    fn next(&mut self, _: &mut Interp) -> Res<Option<Value>> {
        let Some(c) = self.0.text[self.1..].chars().next() else { return Ok(None) };
        self.1 += c.len_utf8();
        Ok(Some(Value::str(c.to_string())))
    }
}

struct DictIter(Rc<Dict>, ViewKind, usize);

fn entry(dict: &Dict, kind: ViewKind, index: usize) -> Option<Value> {
    let (_, (key, value)) = dict.map.get_index(index)?;
    Some(match kind {
        ViewKind::Keys => key.clone(),
        ViewKind::Values => value.clone(),
        ViewKind::Items => Value::tuple(vec![key.clone(), value.clone()]),
    })
}

impl PyIter for DictIter {
    fn next(&mut self, _: &mut Interp) -> Res<Option<Value>> {
        let item = entry(&self.0, self.1, self.2);
        self.2 += 1;
        Ok(item)
    }
}

struct RangeIter(Rc<RangeValue>, i64);

impl PyIter for RangeIter {
    fn next(&mut self, _: &mut Interp) -> Res<Option<Value>> {
        if self.1 >= self.0.len() {
            return Ok(None);
        }
        self.1 += 1;
        Ok(Some(Value::Int(self.0.at(self.1 - 1))))
    }
}

/// Values that are all there already.
pub struct VecIter(pub std::vec::IntoIter<Value>);

impl PyIter for VecIter {
    fn next(&mut self, _: &mut Interp) -> Res<Option<Value>> {
        Ok(self.0.next())
    }
}

/// Values that are made when the first is asked for, as a generator function does.
pub struct Lazy<F>(pub Option<F>, pub std::vec::IntoIter<Value>);

impl<F: FnOnce(&mut Interp) -> Res<Vec<Value>>> PyIter for Lazy<F> {
    fn next(&mut self, interp: &mut Interp) -> Res<Option<Value>> {
        if let Some(start) = self.0.take() {
            self.1 = start(interp)?.into_iter();
        }
        Ok(self.1.next())
    }
}

pub fn lazy(
    over: &[&Value],
    start: impl FnOnce(&mut Interp) -> Res<Vec<Value>> + 'static,
) -> Res<Value> {
    make_value("generator", over, Lazy(Some(start), Vec::new().into_iter()))
}

/// What a loop over its own loop object gives: pairs of item and loop.
struct LoopIter(Value);

impl PyIter for LoopIter {
    fn next(&mut self, interp: &mut Interp) -> Res<Option<Value>> {
        let Value::Loop(state) = &self.0 else { return Ok(None) };
        let item = super::loops::advance(interp, state)?;
        Ok(item.map(|item| Value::tuple(vec![item, self.0.clone()])))
    }
}

pub fn not_iterable<T>(value: &Value) -> Res<T> {
    type_error(format!("'{}' object is not iterable", type_name(value)))
}

/// iter(value)
pub fn iterate(value: &Value) -> Res<Rc<IterObject>> {
    match value {
        Value::Iter(iter) => Ok(iter.clone()),
        Value::List(seq) => make("list_iterator", &[], SeqIter(seq.clone(), 0)),
        Value::Tuple(seq) => make("tuple_iterator", &[], SeqIter(seq.clone(), 0)),
        Value::Str(text) => make("str_iterator", &[], StrIter(text.clone(), 0)),
        Value::Dict(dict) => {
            make("dict_keyiterator", &[], DictIter(dict.clone(), ViewKind::Keys, 0))
        }
        Value::View(kind, dict) => make("dict_iterator", &[], DictIter(dict.clone(), *kind, 0)),
        Value::Range(range) => make("range_iterator", &[], RangeIter(range.clone(), 0)),
        Value::Undefined(_) => make("generator", &[], VecIter(Vec::new().into_iter())),
        Value::Bytes(bytes) => {
            let items: Vec<Value> = bytes.iter().map(|byte| Value::Int(*byte as i64)).collect();
            make("bytes_iterator", &[], VecIter(items.into_iter()))
        }
        Value::Loop(_) => make("LoopContext", &[], LoopIter(value.clone())),
        other => not_iterable(other),
    }
}

/// list(value)
pub fn collect(interp: &mut Interp, value: &Value) -> Res<Vec<Value>> {
    match value {
        Value::List(seq) | Value::Tuple(seq) => {
            interp.budget.room(seq.items.len() * std::mem::size_of::<Value>())?;
            Ok(seq.items.clone())
        }
        _ => {
            let iter = iterate(value)?;
            let mut items = vec![];
            while let Some(item) = iter.next(interp)? {
                items.push(item);
                if items.len() & 0xffff == 0 {
                    interp.budget.room(items.len() * std::mem::size_of::<Value>())?;
                }
            }
            Ok(items)
        }
    }
}

/// reversed(value); none where Python has no such thing.
pub fn reversed(value: &Value) -> Res<Option<Value>> {
    let items: Vec<Value> = match value {
        Value::List(seq) | Value::Tuple(seq) => seq.items.iter().rev().cloned().collect(),
        Value::Str(text) => text.text.chars().rev().map(|c| Value::str(c.to_string())).collect(),
        Value::Dict(dict) => dict.items().rev().map(|(key, _)| key.clone()).collect(),
        Value::View(kind, dict) => {
            (0..dict.len()).rev().filter_map(|index| entry(dict, *kind, index)).collect()
        }
        Value::Range(range) => (0..range.len()).rev().map(|i| Value::Int(range.at(i))).collect(),
        Value::Bytes(bytes) => bytes.iter().rev().map(|byte| Value::Int(*byte as i64)).collect(),
        // It has a length and __getitem__, though every use of that fails.
        Value::Undefined(_) => vec![],
        _ => return Ok(None),
    };
    let type_name = match value {
        Value::List(_) => "list_reverseiterator",
        Value::Range(_) => "range_iterator",
        Value::Dict(_) => "dict_reversekeyiterator",
        _ => "reversed",
    };
    make_value(type_name, &[value], VecIter(items.into_iter())).map(Some)
}

/// len(value)
pub fn length(interp: &mut Interp, value: &Value) -> Res<i64> {
    Ok(match value {
        Value::Undefined(_) => 0,
        Value::Str(text) => text.char_len() as i64,
        Value::Bytes(bytes) => bytes.len() as i64,
        Value::List(seq) | Value::Tuple(seq) => seq.items.len() as i64,
        Value::Dict(dict) | Value::View(_, dict) => dict.len() as i64,
        Value::Range(range) => range.len(),
        Value::Loop(state) => super::loops::length(interp, state)?,
        other => return type_error(format!("object of type '{}' has no len()", type_name(other))),
    })
}

pub fn has_length(value: &Value) -> bool {
    matches!(
        value,
        Value::Undefined(_)
            | Value::Str(_)
            | Value::Bytes(_)
            | Value::List(_)
            | Value::Tuple(_)
            | Value::Dict(_)
            | Value::View(..)
            | Value::Range(_)
            | Value::Loop(_)
    )
}

pub fn is_iterable(value: &Value) -> bool {
    has_length(value) || matches!(value, Value::Iter(_))
}
