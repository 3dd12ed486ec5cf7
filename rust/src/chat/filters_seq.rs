//! Filters over sequences and mappings.

use std::rc::Rc;

use super::access;
use super::call::CallArgs;
use super::error::{error, fail, type_error, Kind, Res};
use super::filters::{self, FilterFunction};
use super::iter::{self, IterObject, PyIter};
use super::ops;
use super::repr::{repr, repr_str, to_text};
use super::runtime::Interp;
use super::sorting::sort_keyed;
use super::str_methods::want_int;
use super::tests::{self, TestFunction};
use super::unicode::is_digit;
use super::value::{hash_key, type_name, Seq, Value};

/// A path to an attribute: "a.0.b".
pub fn attribute_parts(attribute: &Value) -> Vec<Value> {
    match attribute {
        Value::None => vec![],
        Value::Str(text) => text
            .text
            .split('.')
            .map(|part| match part.parse::<i64>() {
                Ok(index) if part.chars().all(is_digit) => Value::Int(index),
                _ => Value::str(part),
            })
            .collect(),
        other => vec![other.clone()],
    }
}

fn follow(
    interp: &mut Interp,
    item: &Value,
    parts: &[Value],
    default: Option<&Value>,
) -> Res<Value> {
    let mut item = item.clone();
    for part in parts {
        item = access::getitem(interp, &item, part)?;
        if let (Some(default), true) = (default, item.is_undefined()) {
            item = default.clone();
        }
    }
    Ok(item)
}

fn ignore_case(value: Value) -> Value {
    match value {
        Value::Str(text) => Value::text(text.text.to_lowercase(), text.markup),
        other => other,
    }
}

/// The key that sort, unique, min, max and groupby compare by.
struct KeyOf {
    parts: Vec<Value>,
    default: Option<Value>,
    case_sensitive: bool,
}

impl KeyOf {
    fn new(attribute: &Option<Value>, case_sensitive: &Option<Value>) -> KeyOf {
        KeyOf {
            parts: attribute_parts(attribute.as_ref().unwrap_or(&Value::None)),
            default: None,
            case_sensitive: case_sensitive.as_ref().is_some_and(Value::truth),
        }
    }
    fn of(&self, interp: &mut Interp, item: &Value) -> Res<Value> {
        let value = follow(interp, item, &self.parts, self.default.as_ref())?;
        Ok(if self.case_sensitive { value } else { ignore_case(value) })
    }
}

pub fn attr(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [name] = args.bind("do_attr", ["name"], 1)?;
    let Some(Value::Str(name)) = &name else { return type_error("attribute name must be string") };
    if let Value::Undefined(undefined) = &value {
        return fail(undefined.kind, undefined.message.clone());
    }
    if !access::has_attribute(interp, &value, &name.text)? {
        return Ok(super::value::missing_member(&value, &Value::Str(name.clone())));
    }
    access::getattr(interp, &value, name)
}

pub fn batch(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [count, fill] = args.bind("do_batch", ["linecount", "fill_with"], 1)?;
    let over = value.clone();
    iter::lazy(&[&over], move |interp| {
        let count = count.unwrap_or(Value::None);
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        let size = ops::as_index(&count);
        let mut rows = vec![];
        let mut row = vec![];
        for item in iter::collect(interp, &value)? {
            if Some(row.len() as i64) == size {
                rows.push(Value::list(std::mem::take(&mut row)));
            }
            row.push(item);
        }
        if !row.is_empty() {
            if let Some(fill) = fill {
                let size = want_int(&count)?.max(0) as usize;
                interp.budget.room(size * std::mem::size_of::<Value>())?;
                while row.len() < size {
                    row.push(fill.clone());
                }
            }
            rows.push(Value::list(row));
        }
        Ok(rows)
    })
}

pub fn slice(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [count, fill] = args.bind("do_slice", ["slices", "fill_with"], 1)?;
    let over = value.clone();
    iter::lazy(&[&over], move |interp| {
        let items = iter::collect(interp, &value)?;
        let count = want_int(&count.unwrap_or(Value::None))?;
        if count == 0 {
            return fail(Kind::ZeroDivision, "integer division or modulo by zero");
        }
        let fill = fill.filter(|fill| !matches!(fill, Value::None));
        interp.budget.room(count.max(0) as usize * std::mem::size_of::<Value>())?;
        let (each, extra) =
            ((items.len() as i64).div_euclid(count), (items.len() as i64).rem_euclid(count));
        let mut rows = vec![];
        let mut at = 0usize;
        for number in 0..count.max(0) {
            let size = (each + (number < extra) as i64) as usize;
            let mut row = items[at..at + size].to_vec();
            at += size;
            if let (Some(fill), true) = (&fill, number >= extra) {
                row.push(fill.clone());
            }
            rows.push(Value::list(row));
        }
        Ok(rows)
    })
}

pub fn length(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("len", 0, 0)?;
    iter::length(interp, &value).map(Value::Int)
}

pub fn default(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [other, boolean] = args.bind("do_default", ["default_value", "boolean"], 0)?;
    let boolean = boolean.is_some_and(|boolean| boolean.truth());
    if value.is_undefined() || (boolean && !value.truth()) {
        return Ok(other.unwrap_or_else(|| Value::str("")));
    }
    Ok(value)
}

pub fn dictsort(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [case_sensitive, by, reverse] =
        args.bind("do_dictsort", ["case_sensitive", "by", "reverse"], 0)?;
    let by_value = match by.as_ref().and_then(Value::as_str).map(|by| by.text.as_str()) {
        None if by.is_none() => false,
        Some("key") => false,
        Some("value") => true,
        _ => return fail(Kind::FilterArgument, "You can only sort by either \"key\" or \"value\""),
    };
    let Value::Dict(dict) = &value else { return no_attribute(&value, "items") };
    let case_sensitive = case_sensitive.is_some_and(|flag| flag.truth());
    let keyed = dict.items().map(|(key, value)| {
        let by = if by_value { value } else { key }.clone();
        let by = if case_sensitive { by } else { ignore_case(by) };
        (by, Value::tuple(vec![key.clone(), value.clone()]))
    });
    let keyed = keyed.collect();
    let sorted = sort_keyed(interp, keyed, reverse.is_some_and(|reverse| reverse.truth()))?;
    Ok(Value::list(sorted.into_iter().map(|(_, item)| item).collect()))
}

fn no_attribute<T>(value: &Value, name: &str) -> Res<T> {
    if let Value::Undefined(undefined) = value {
        return fail(undefined.kind, undefined.message.clone());
    }
    fail(Kind::Attribute, format!("'{}' object has no attribute '{name}'", type_name(value)))
}

pub fn first(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_first", 0, 0)?;
    let found = iter::iterate(&value)?.next(interp)?;
    Ok(found.unwrap_or_else(|| Value::undefined("No first item, sequence was empty.")))
}

pub fn last(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_last", 0, 0)?;
    let Some(Value::Iter(reversed)) = iter::reversed(&value)? else {
        return not_reversible(&value);
    };
    let found = reversed.next(interp)?;
    Ok(found.unwrap_or_else(|| Value::undefined("No last item, sequence was empty.")))
}

fn not_reversible<T>(value: &Value) -> Res<T> {
    type_error(format!("'{}' object is not reversible", type_name(value)))
}

/// The only random choice that templates can rely on is that among equal items.
pub fn random(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_random", 0, 0)?;
    let count = iter::length(interp, &value)?;
    if count == 0 {
        return Ok(Value::undefined("No random item, sequence was empty."));
    }
    let seed = interp.now.second as i64 * 1_000_003 + interp.now.microsecond as i64;
    access::getitem(interp, &value, &Value::Int(seed.rem_euclid(count)))
}

pub fn items(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_items", 0, 0)?;
    let over = value.clone();
    iter::lazy(&[&over], move |_| match &value {
        Value::Undefined(_) => Ok(vec![]),
        Value::Dict(dict) => Ok(dict
            .items()
            .map(|(key, item)| Value::tuple(vec![key.clone(), item.clone()]))
            .collect()),
        _ => type_error("Can only get item pairs from a mapping."),
    })
}

pub fn join(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [separator, attribute] = args.bind("do_join", ["d", "attribute"], 0)?;
    let separator = separator.unwrap_or_else(|| Value::str(""));
    let parts = attribute_parts(&attribute.clone().unwrap_or(Value::None));
    let mut items = iter::collect(interp, &value)?;
    if !parts.is_empty() {
        items = items.iter().map(|item| follow(interp, item, &parts, None)).collect::<Res<_>>()?;
    }
    let markup = interp.autoescape && (separator.is_markup() || items.iter().any(Value::is_markup));
    let text = |interp: &mut Interp, value: &Value| match markup {
        true => super::html::escaped_text(interp, value),
        false => to_text(interp, value),
    };
    let between = text(interp, &separator)?;
    let mut out = String::new();
    for (at, item) in items.iter().enumerate() {
        let piece = text(interp, item)?;
        interp.budget.room(out.len() + piece.len() + between.len())?;
        if at > 0 {
            out.push_str(&between);
        }
        out.push_str(&piece);
    }
    Ok(Value::text(out, markup))
}

pub fn list(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_list", 0, 0)?;
    iter::collect(interp, &value).map(Value::list)
}

pub fn reverse(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    args.plain("do_reverse", 0, 0)?;
    if let Value::Str(text) = &value {
        interp.budget.room(text.text.len())?;
        return Ok(Value::text(text.text.chars().rev().collect::<String>(), text.markup));
    }
    if let Some(reversed) = iter::reversed(&value)? {
        return Ok(reversed);
    }
    if !iter::is_iterable(&value) {
        return fail(Kind::FilterArgument, "argument must be iterable");
    }
    let mut items = iter::collect(interp, &value)?;
    items.reverse();
    Ok(Value::list(items))
}

pub fn sort(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let names = ["reverse", "case_sensitive", "attribute"];
    let [reverse, case_sensitive, attribute] = args.bind("do_sort", names, 0)?;
    let case_sensitive = case_sensitive.is_some_and(|flag| flag.truth());
    let paths: Vec<Vec<Value>> = match &attribute {
        Some(Value::Str(text)) => {
            text.text.split(',').map(|path| attribute_parts(&Value::str(path))).collect()
        }
        other => vec![attribute_parts(other.as_ref().unwrap_or(&Value::None))],
    };
    let mut keyed = vec![];
    for item in iter::collect(interp, &value)? {
        let mut key = vec![];
        for path in &paths {
            let part = follow(interp, &item, path, None)?;
            key.push(if case_sensitive { part } else { ignore_case(part) });
        }
        keyed.push((Value::list(key), item));
    }
    let sorted = sort_keyed(interp, keyed, reverse.is_some_and(|reverse| reverse.truth()))?;
    Ok(Value::list(sorted.into_iter().map(|(_, item)| item).collect()))
}

pub fn unique(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [case_sensitive, attribute] = args.bind("do_unique", ["case_sensitive", "attribute"], 0)?;
    let over = value.clone();
    iter::lazy(&[&over], move |interp| {
        let key_of = KeyOf::new(&attribute, &case_sensitive);
        let mut seen = std::collections::HashSet::new();
        let mut out = vec![];
        for item in iter::collect(interp, &value)? {
            let key = key_of.of(interp, &item)?;
            if seen.insert(hash_key(&key)?) {
                out.push(item);
            }
        }
        Ok(out)
    })
}

fn extreme(
    interp: &mut Interp,
    value: Value,
    args: CallArgs,
    name: &str,
    largest: bool,
) -> Res<Value> {
    let [case_sensitive, attribute] = args.bind(name, ["case_sensitive", "attribute"], 0)?;
    let key_of = KeyOf::new(&attribute, &case_sensitive);
    let mut best: Option<(Value, Value)> = None;
    for item in iter::collect(interp, &value)? {
        let key = key_of.of(interp, &item)?;
        let better = match &best {
            None => true,
            Some((known, _)) if largest => {
                ops::compare(interp, super::ast::CmpOp::Gt, &key, known)?
            }
            Some((known, _)) => ops::less(interp, &key, known)?,
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(match best {
        Some((_, item)) => item,
        None => Value::undefined("No aggregated item, sequence was empty."),
    })
}

pub fn min(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    extreme(interp, value, args, "do_min", false)
}

pub fn max(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    extreme(interp, value, args, "do_max", true)
}

pub fn sum(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let [attribute, start] = args.bind("do_sum", ["attribute", "start"], 0)?;
    let parts = attribute_parts(&attribute.unwrap_or(Value::None));
    let mut total = start.unwrap_or(Value::Int(0));
    if let Value::Str(_) = total {
        return type_error("sum() can't sum strings [use ''.join(seq) instead]");
    }
    for item in iter::collect(interp, &value)? {
        let item = follow(interp, &item, &parts, None)?;
        total = ops::binary(interp, super::ast::BinOp::Add, &total, &item)?;
    }
    Ok(total)
}

pub fn groupby(interp: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    let names = ["attribute", "default", "case_sensitive"];
    let [attribute, default, case_sensitive] = args.bind("do_groupby", names, 1)?;
    let mut key_of = KeyOf::new(&attribute, &case_sensitive);
    key_of.default = default.filter(|default| !matches!(default, Value::None));
    let mut keyed = vec![];
    for item in iter::collect(interp, &value)? {
        keyed.push((key_of.of(interp, &item)?, item));
    }
    let mut groups: Vec<(Value, Vec<Value>)> = vec![];
    for (key, item) in sort_keyed(interp, keyed, false)? {
        match groups.last_mut() {
            Some((known, items)) if ops::equal(interp, known, &key)? => items.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    let mut out = vec![];
    for (mut key, items) in groups {
        if !key_of.case_sensitive {
            key = follow(interp, &items[0], &key_of.parts, key_of.default.as_ref())?;
        }
        let mut pair = Seq::new(vec![key, Value::list(items)]);
        pair.group = true;
        out.push(Value::Tuple(Rc::new(pair)));
    }
    Ok(Value::list(out))
}

enum Mapping {
    Attribute(Vec<Value>, Option<Value>),
    Filter(FilterFunction, CallArgs),
}

struct MapIter {
    source: Rc<IterObject>,
    mapping: Mapping,
}

impl PyIter for MapIter {
    fn next(&mut self, interp: &mut Interp) -> Res<Option<Value>> {
        let Some(item) = self.source.next(interp)? else { return Ok(None) };
        Ok(Some(match &self.mapping {
            Mapping::Attribute(parts, default) => follow(interp, &item, parts, default.as_ref())?,
            Mapping::Filter(function, args) => function(interp, item, args.clone())?,
        }))
    }
}

/// A generator whose set-up runs when the first item is asked for.
struct Deferred {
    start: Option<Box<dyn FnOnce(&mut Interp) -> Res<Box<dyn PyIter>>>>,
    inner: Option<Box<dyn PyIter>>,
}

impl PyIter for Deferred {
    fn next(&mut self, interp: &mut Interp) -> Res<Option<Value>> {
        if let Some(start) = self.start.take() {
            self.inner = Some(start(interp)?);
        }
        match &mut self.inner {
            Some(inner) => inner.next(interp),
            None => Ok(None),
        }
    }
}

fn deferred(
    over: &Value,
    start: impl FnOnce(&mut Interp) -> Res<Box<dyn PyIter>> + 'static,
) -> Res<Value> {
    if !over.truth() {
        return iter::make_value("generator", &[], iter::VecIter(Vec::new().into_iter()));
    }
    iter::make_value("generator", &[over], Deferred { start: Some(Box::new(start)), inner: None })
}

/// Whether a name of a filter or a test stands for one; the message if not.
fn named<T>(interp: &mut Interp, kind: &str, name: &Value, found: Option<T>) -> Res<T> {
    if let Some(found) = found {
        return Ok(found);
    }
    let mut message = format!("No {kind} named {}.", repr(interp, name)?);
    if let Value::Undefined(undefined) = name {
        message.push_str(&format!(
            " ({}; did you forget to quote the callable name?)",
            undefined.message
        ));
    }
    Err(error(Kind::Runtime, message))
}

pub fn map(_: &mut Interp, value: Value, mut args: CallArgs) -> Res<Value> {
    let over = value.clone();
    deferred(&over, move |interp| {
        let attribute = args.keyword.iter().position(|(name, _)| name.text == "attribute");
        let mapping = match attribute.filter(|_| args.positional.is_empty()) {
            Some(at) => {
                let (_, attribute) = args.keyword.remove(at);
                let default = args.keyword.iter().position(|(name, _)| name.text == "default");
                let default = default.map(|at| args.keyword.remove(at).1);
                if let Some((name, _)) = args.keyword.first() {
                    let name = repr_str(&name.text);
                    return fail(
                        Kind::FilterArgument,
                        format!("Unexpected keyword argument {name}"),
                    );
                }
                Mapping::Attribute(
                    attribute_parts(&attribute),
                    default.filter(|d| !matches!(d, Value::None)),
                )
            }
            None if args.positional.is_empty() => {
                return fail(Kind::FilterArgument, "map requires a filter argument")
            }
            None => {
                let name = args.positional.remove(0);
                let found = name.as_str().and_then(|name| filters::lookup(&name.text));
                Mapping::Filter(named(interp, "filter", &name, found)?, args)
            }
        };
        Ok(Box::new(MapIter { source: iter::iterate(&value)?, mapping }))
    })
}

struct SelectIter {
    source: Rc<IterObject>,
    attribute: Option<Vec<Value>>,
    test: Option<(TestFunction, CallArgs)>,
    keep: bool,
}

impl PyIter for SelectIter {
    fn next(&mut self, interp: &mut Interp) -> Res<Option<Value>> {
        while let Some(item) = self.source.next(interp)? {
            let value = match &self.attribute {
                Some(parts) => follow(interp, &item, parts, None)?,
                None => item.clone(),
            };
            let hit = match &self.test {
                Some((test, args)) => test(interp, value, args.clone())?,
                None => value.truth(),
            };
            if hit == self.keep {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}

fn choose(value: Value, mut args: CallArgs, by_attribute: bool, keep: bool) -> Res<Value> {
    let over = value.clone();
    deferred(&over, move |interp| {
        let mut attribute = None;
        if by_attribute {
            if args.positional.is_empty() {
                return fail(Kind::FilterArgument, "Missing parameter for attribute name");
            }
            attribute = Some(attribute_parts(&args.positional.remove(0)));
        }
        let mut test = None;
        if !args.positional.is_empty() {
            let name = args.positional.remove(0);
            let found = name.as_str().and_then(|name| tests::lookup(&name.text));
            test = Some((named(interp, "test", &name, found)?, args));
        }
        Ok(Box::new(SelectIter { source: iter::iterate(&value)?, attribute, test, keep }))
    })
}

pub fn select(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    choose(value, args, false, true)
}

pub fn reject(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    choose(value, args, false, false)
}

pub fn selectattr(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    choose(value, args, true, true)
}

pub fn rejectattr(_: &mut Interp, value: Value, args: CallArgs) -> Res<Value> {
    choose(value, args, true, false)
}
