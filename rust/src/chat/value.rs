//! Python's values as templates see them. Lists and dicts never change once made: the sandbox
//! forbids every method that would. Namespaces do.

use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use indexmap::{Equivalent, IndexMap};
use num_bigint::BigInt;
use num_traits::ToPrimitive;

use super::error::{type_error, Kind, Res};
use super::iter::IterObject;
use super::limits;
use super::runtime::{LoopState, MacroValue};

/// A str, or markupsafe's Markup.
#[derive(Debug)]
pub struct PyStr {
    pub text: String,
    /// Whether every character is one byte, so that indices are byte offsets.
    pub ascii: bool,
    pub markup: bool,
}

impl PyStr {
    pub fn new(text: String) -> Self {
        let ascii = text.is_ascii();
        limits::made(text.len());
        PyStr { text, ascii, markup: false }
    }
    pub fn char_len(&self) -> usize {
        if self.ascii {
            self.text.len()
        } else {
            self.text.chars().count()
        }
    }
}

impl Drop for PyStr {
    fn drop(&mut self) {
        limits::dropped(self.text.len());
    }
}

impl Hash for PyStr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

pub struct Seq {
    pub items: Vec<Value>,
    /// Levels of containers inside, this one included.
    pub depth: u32,
    /// A (grouper, list) pair of the groupby filter: a tuple with two names.
    pub group: bool,
}

/// A dictionary in insertion order; values keep the key as it was written.
#[derive(Default)]
pub struct Dict {
    pub map: IndexMap<HashKey, (Value, Value)>,
    pub depth: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ViewKind {
    Keys,
    Values,
    Items,
}

pub struct Namespace {
    pub attrs: RefCell<Dict>,
}

pub struct UndefinedValue {
    pub message: String,
    pub kind: Kind,
}

pub struct RangeValue {
    pub start: i64,
    pub stop: i64,
    pub step: i64,
}

impl RangeValue {
    pub fn len(&self) -> i64 {
        let (start, stop, step) = (self.start as i128, self.stop as i128, self.step as i128);
        let count = if step > 0 {
            (stop - start + step - 1) / step
        } else {
            (start - stop - step - 1) / -step
        };
        let none = if step > 0 { stop <= start } else { stop >= start };
        if none {
            0
        } else {
            count.min(i64::MAX as i128) as i64
        }
    }
    pub fn at(&self, index: i64) -> i64 {
        (self.start as i128 + self.step as i128 * index as i128) as i64
    }
}

pub struct CyclerValue {
    pub items: Vec<Value>,
    pub position: Cell<usize>,
}

pub struct JoinerValue {
    pub separator: Value,
    pub used: Cell<bool>,
}

/// A block as `self.name` gives it.
pub struct BlockReference {
    pub name: Arc<PyStr>,
}

#[derive(Clone)]
pub enum Value {
    Undefined(Rc<UndefinedValue>),
    None,
    Bool(bool),
    Int(i64),
    /// Only what does not fit an i64.
    Big(Rc<BigInt>),
    Float(f64),
    Str(Arc<PyStr>),
    Bytes(Rc<Vec<u8>>),
    List(Rc<Seq>),
    Tuple(Rc<Seq>),
    Dict(Rc<Dict>),
    View(ViewKind, Rc<Dict>),
    Range(Rc<RangeValue>),
    Slice(Rc<[Value; 3]>),
    Iter(Rc<IterObject>),
    Namespace(Rc<Namespace>),
    Macro(Rc<MacroValue>),
    Loop(Rc<LoopState>),
    /// A method bound to its object.
    Method(Rc<(Value, &'static str)>),
    /// A function or class of the environment.
    Function(&'static str),
    Cycler(Rc<CyclerValue>),
    Joiner(Rc<JoinerValue>),
    Block(Rc<BlockReference>),
    /// `self`: the blocks by name.
    Template,
}

/// What a dictionary compares keys by: numbers by value whatever their type, strings by text,
/// the rest by identity.
#[derive(Clone, Debug)]
pub enum HashKey {
    None,
    Int(i64),
    Big(Rc<BigInt>),
    Float(u64),
    Str(Arc<PyStr>),
    Bytes(Rc<Vec<u8>>),
    Tuple(Vec<HashKey>),
    Undefined,
    Identity(usize),
}

impl PartialEq for HashKey {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (HashKey::None, HashKey::None) | (HashKey::Undefined, HashKey::Undefined) => true,
            (HashKey::Int(a), HashKey::Int(b)) => a == b,
            (HashKey::Big(a), HashKey::Big(b)) => a == b,
            (HashKey::Float(a), HashKey::Float(b)) => a == b,
            (HashKey::Str(a), HashKey::Str(b)) => a.text == b.text,
            (HashKey::Bytes(a), HashKey::Bytes(b)) => a == b,
            (HashKey::Tuple(a), HashKey::Tuple(b)) => a == b,
            (HashKey::Identity(a), HashKey::Identity(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for HashKey {}

impl Hash for HashKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            HashKey::None => 1u8.hash(state),
            HashKey::Undefined => 2u8.hash(state),
            HashKey::Int(a) => a.hash(state),
            HashKey::Big(a) => a.hash(state),
            HashKey::Float(a) => a.hash(state),
            HashKey::Str(a) => a.text.as_str().hash(state),
            HashKey::Bytes(a) => a.hash(state),
            HashKey::Tuple(a) => a.hash(state),
            HashKey::Identity(a) => a.hash(state),
        }
    }
}

/// Looks a string up without making a key.
#[derive(Hash)]
struct TextKey<'a>(&'a str);

impl Equivalent<HashKey> for TextKey<'_> {
    fn equivalent(&self, key: &HashKey) -> bool {
        matches!(key, HashKey::Str(text) if text.text == self.0)
    }
}

impl Dict {
    pub fn get_text(&self, key: &str) -> Option<&Value> {
        self.map.get(&TextKey(key)).map(|(_, value)| value)
    }
    pub fn get(&self, key: &Value) -> Res<Option<Value>> {
        if let Value::Str(text) = key {
            return Ok(self.get_text(&text.text).cloned());
        }
        Ok(self.map.get(&hash_key(key)?).map(|(_, value)| value.clone()))
    }
    pub fn insert(&mut self, key: Value, value: Value) -> Res<()> {
        let hash = hash_key(&key)?;
        self.depth = self.depth.max(1 + value.depth()).max(1 + key.depth());
        match self.map.get_mut(&hash) {
            // Python keeps the first spelling of a key.
            Some(entry) => entry.1 = value,
            None => {
                self.map.insert(hash, (key, value));
            }
        }
        Ok(())
    }
    pub fn insert_text(&mut self, key: &str, value: Value) {
        let text = Arc::new(PyStr::new(key.to_string()));
        self.depth = self.depth.max(1 + value.depth());
        match self.map.get_mut(&TextKey(key)) {
            Some(entry) => entry.1 = value,
            None => {
                self.map.insert(HashKey::Str(text.clone()), (Value::Str(text), value));
            }
        }
    }
    pub fn len(&self) -> usize {
        self.map.len()
    }
    pub fn items(&self) -> impl DoubleEndedIterator<Item = (&Value, &Value)> {
        self.map.values().map(|(key, value)| (key, value))
    }
    pub fn duplicate(&self) -> Dict {
        Dict { map: self.map.clone(), depth: self.depth }
    }
}

/// @throws TypeError for what Python cannot hash.
pub fn hash_key(value: &Value) -> Res<HashKey> {
    Ok(match value {
        Value::None => HashKey::None,
        Value::Bool(b) => HashKey::Int(*b as i64),
        Value::Int(i) => HashKey::Int(*i),
        Value::Big(b) => HashKey::Big(b.clone()),
        Value::Float(f) => float_key(*f),
        Value::Str(s) => HashKey::Str(s.clone()),
        Value::Bytes(b) => HashKey::Bytes(b.clone()),
        Value::Tuple(t) => HashKey::Tuple(t.items.iter().map(hash_key).collect::<Res<_>>()?),
        Value::Undefined(_) => HashKey::Undefined,
        Value::List(_) | Value::Dict(_) | Value::Slice(_) => {
            return type_error(format!("unhashable type: '{}'", type_name(value)))
        }
        Value::View(kind, _) if *kind != ViewKind::Values => {
            return type_error(format!("unhashable type: '{}'", type_name(value)))
        }
        other => HashKey::Identity(other.address()),
    })
}

fn float_key(f: f64) -> HashKey {
    if f.fract() == 0.0 && f.is_finite() {
        if let Some(integer) = f.to_i64().filter(|i| *i as f64 == f) {
            return HashKey::Int(integer);
        }
        if let Some(big) = num_traits::FromPrimitive::from_f64(f) {
            return HashKey::Big(Rc::new(big));
        }
    }
    HashKey::Float(f.to_bits())
}

impl Value {
    pub fn str(text: impl Into<String>) -> Value {
        Value::Str(Arc::new(PyStr::new(text.into())))
    }
    pub fn markup(text: impl Into<String>) -> Value {
        let mut text = PyStr::new(text.into());
        text.markup = true;
        Value::Str(Arc::new(text))
    }
    /// A str, or Markup when `markup`.
    pub fn text(text: impl Into<String>, markup: bool) -> Value {
        if markup {
            Value::markup(text)
        } else {
            Value::str(text)
        }
    }
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(Rc::new(Seq::new(items)))
    }
    pub fn tuple(items: Vec<Value>) -> Value {
        Value::Tuple(Rc::new(Seq::new(items)))
    }
    pub fn dict(dict: Dict) -> Value {
        Value::Dict(Rc::new(dict))
    }
    pub fn big(value: BigInt) -> Value {
        match value.to_i64() {
            Some(small) => Value::Int(small),
            None => Value::Big(Rc::new(value)),
        }
    }
    pub fn undefined(message: impl Into<String>) -> Value {
        Value::Undefined(Rc::new(UndefinedValue { message: message.into(), kind: Kind::Undefined }))
    }
    pub fn undefined_name(name: &str) -> Value {
        Value::undefined(format!("{} is undefined", super::repr::repr_str(name)))
    }
    pub fn method(&self, name: &'static str) -> Value {
        Value::Method(Rc::new((self.clone(), name)))
    }
    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }
    pub fn as_str(&self) -> Option<&Arc<PyStr>> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }
    pub fn is_markup(&self) -> bool {
        matches!(self, Value::Str(text) if text.markup)
    }
    /// Levels of containers: 0 for a plain value.
    pub fn depth(&self) -> u32 {
        match self {
            Value::List(seq) | Value::Tuple(seq) => seq.depth,
            Value::Dict(dict) | Value::View(_, dict) => dict.depth,
            Value::Namespace(namespace) => {
                namespace.attrs.try_borrow().map(|attrs| attrs.depth + 1).unwrap_or(1)
            }
            Value::Iter(iter) => iter.depth,
            Value::Method(bound) => bound.0.depth() + 1,
            Value::Cycler(cycler) => 1 + cycler.items.iter().map(Value::depth).max().unwrap_or(0),
            Value::Joiner(joiner) => 1 + joiner.separator.depth(),
            _ => 0,
        }
    }
    pub fn truth(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) => !s.text.is_empty(),
            Value::Bytes(b) => !b.is_empty(),
            Value::List(s) | Value::Tuple(s) => !s.items.is_empty(),
            Value::Dict(d) | Value::View(_, d) => d.len() > 0,
            Value::Range(r) => r.len() > 0,
            // A loop always knows at least its present item.
            _ => true,
        }
    }
    /// A number that stands for the object's identity.
    pub fn address(&self) -> usize {
        fn of<T: ?Sized>(rc: &Rc<T>) -> usize {
            Rc::as_ptr(rc) as *const u8 as usize
        }
        match self {
            Value::Undefined(x) => of(x),
            Value::Big(x) => of(x),
            Value::Str(x) => Arc::as_ptr(x) as usize,
            Value::Bytes(x) => of(x),
            Value::List(x) | Value::Tuple(x) => of(x),
            Value::Dict(x) | Value::View(_, x) => of(x),
            Value::Range(x) => of(x),
            Value::Slice(x) => of(x),
            Value::Iter(x) => of(x),
            Value::Namespace(x) => of(x),
            Value::Macro(x) => of(x),
            Value::Loop(x) => of(x),
            Value::Method(x) => of(x),
            Value::Cycler(x) => of(x),
            Value::Joiner(x) => of(x),
            Value::Block(x) => of(x),
            Value::Function(name) => name.as_ptr() as usize,
            _ => 0,
        }
    }
}

impl Seq {
    pub fn new(items: Vec<Value>) -> Seq {
        let depth = 1 + items.iter().map(Value::depth).max().unwrap_or(0);
        limits::made(items.len() * std::mem::size_of::<Value>());
        Seq { items, depth, group: false }
    }
}

impl Drop for Seq {
    fn drop(&mut self) {
        limits::dropped(self.items.len() * std::mem::size_of::<Value>());
    }
}

/// type(value).__name__
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Undefined(_) => "Undefined",
        Value::None => "NoneType",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Big(_) => "int",
        Value::Float(_) => "float",
        Value::Str(s) if s.markup => "Markup",
        Value::Str(_) => "str",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "list",
        Value::Tuple(t) if t.group => "_GroupTuple",
        Value::Tuple(_) => "tuple",
        Value::Dict(_) => "dict",
        Value::View(ViewKind::Keys, _) => "dict_keys",
        Value::View(ViewKind::Values, _) => "dict_values",
        Value::View(ViewKind::Items, _) => "dict_items",
        Value::Range(_) => "range",
        Value::Slice(_) => "slice",
        Value::Iter(iter) => iter.type_name,
        Value::Namespace(_) => "TemplateNamespace",
        Value::Macro(_) => "Macro",
        Value::Loop(_) => "LoopContext",
        Value::Method(_) => "builtin_function_or_method",
        Value::Function("namespace" | "cycler" | "joiner") => "type",
        Value::Function("dict") => "TemplateDict",
        Value::Function(_) => "function",
        Value::Cycler(_) => "Cycler",
        Value::Joiner(_) => "Joiner",
        Value::Block(_) => "BlockReference",
        Value::Template => "TemplateReference",
    }
}

/// How jinja2 calls an object in the message of an undefined value.
pub fn object_type(value: &Value) -> String {
    match value {
        Value::None => "None".to_string(),
        Value::Undefined(_)
        | Value::Macro(_)
        | Value::Loop(_)
        | Value::Block(_)
        | Value::Template => {
            format!("jinja2.runtime.{} object", type_name(value))
        }
        Value::Cycler(_) | Value::Joiner(_) => format!("jinja2.utils.{} object", type_name(value)),
        Value::Str(text) if text.markup => "markupsafe.Markup object".to_string(),
        Value::Tuple(tuple) if tuple.group => "jinja2.filters._GroupTuple object".to_string(),
        other => format!("{} object", type_name(other)),
    }
}

/// The undefined value that `object.name` or `object[name]` gives when there is no such thing.
pub fn missing_member(object: &Value, name: &Value) -> Value {
    match name {
        Value::Str(text) => Value::undefined(format!(
            "'{}' has no attribute {}",
            object_type(object),
            super::repr::repr_str(&text.text)
        )),
        _ => {
            let shown = super::repr::repr_plain(name);
            Value::undefined(format!("{} has no element {shown}", object_type(object)))
        }
    }
}
