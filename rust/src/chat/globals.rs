//! Functions every template can call.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::call::CallArgs;
use super::error::{error, fail, type_error, value_error, Kind, Res};
use super::iter;
use super::ops::as_index;
use super::repr::{repr_str, to_text};
use super::runtime::Interp;
use super::value::{type_name, CyclerValue, Dict, JoinerValue, Namespace, RangeValue, Value};

pub const NAMES: [&str; 8] =
    ["range", "dict", "lipsum", "cycler", "joiner", "namespace", "raise_exception", "strftime_now"];

/// The sandbox's bound on ranges.
const MAX_RANGE: i64 = 100_000;

pub fn call(interp: &mut Interp, name: &'static str, mut args: CallArgs) -> Res<Value> {
    match name {
        "range" => range(args),
        "dict" => make_dict(interp, args).map(Value::dict),
        "namespace" => namespace(interp, args),
        "cycler" => {
            let items = args.plain("cycler", 0, usize::MAX)?;
            if items.is_empty() {
                return fail(Kind::Runtime, "at least one item has to be provided");
            }
            Ok(Value::Cycler(Rc::new(CyclerValue { items, position: Cell::new(0) })))
        }
        "joiner" => {
            let [separator] = args.bind("__init__", ["sep"], 0)?;
            let separator = separator.unwrap_or_else(|| Value::str(", "));
            Ok(Value::Joiner(Rc::new(JoinerValue { separator, used: Cell::new(false) })))
        }
        "raise_exception" => {
            let [message] = args.bind("raise_exception", ["message"], 1)?;
            let message = to_text(interp, &message.unwrap_or(Value::None))?;
            Err(error(Kind::Template, message))
        }
        "strftime_now" => {
            let [format] = args.bind("strftime_now", ["format"], 1)?;
            match &format {
                Some(Value::Str(format)) => interp.now.strftime(&format.text).map(Value::str),
                other => {
                    let name = other.as_ref().map_or("NoneType", type_name);
                    type_error(format!("strftime() argument 1 must be str, not {name}"))
                }
            }
        }
        _ => {
            args.positional.clear();
            fail(Kind::Runtime, format!("{name}() makes random text and is not available"))
        }
    }
}

fn range(args: CallArgs) -> Res<Value> {
    let args = args.plain("range", 1, 3)?;
    let mut numbers = vec![];
    for arg in &args {
        match (as_index(arg), arg) {
            (Some(number), _) => numbers.push(number),
            (None, Value::Undefined(undefined)) => {
                return fail(undefined.kind, undefined.message.clone())
            }
            (None, Value::Big(_)) => return fail(Kind::Overflow, RANGE_TOO_BIG),
            (None, other) => {
                return type_error(format!(
                    "'{}' object cannot be interpreted as an integer",
                    type_name(other)
                ))
            }
        }
    }
    let range = match numbers[..] {
        [stop] => RangeValue { start: 0, stop, step: 1 },
        [start, stop] => RangeValue { start, stop, step: 1 },
        _ => RangeValue { start: numbers[0], stop: numbers[1], step: numbers[2] },
    };
    if range.step == 0 {
        return value_error("range() arg 3 must not be zero");
    }
    if range.len() > MAX_RANGE {
        return fail(Kind::Overflow, RANGE_TOO_BIG);
    }
    Ok(Value::Range(Rc::new(range)))
}

const RANGE_TOO_BIG: &str =
    "Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).";

/// dict(mapping or pairs, **names)
fn make_dict(interp: &mut Interp, args: CallArgs) -> Res<Dict> {
    if args.positional.len() > 1 {
        let given = args.positional.len();
        return type_error(format!("dict expected at most 1 argument, got {given}"));
    }
    let mut dict = match args.positional.first() {
        None => Dict::default(),
        Some(Value::Dict(source)) => source.duplicate(),
        Some(pairs) => {
            let mut dict = Dict::default();
            for (at, pair) in iter::collect(interp, pairs)?.iter().enumerate() {
                if !iter::is_iterable(pair) {
                    return type_error(format!(
                        "cannot convert dictionary update sequence element #{at} to a sequence"
                    ));
                }
                let pair = iter::collect(interp, pair)?;
                let [key, value] = &pair[..] else {
                    return value_error(format!(
                        "dictionary update sequence element #{at} has length {}; 2 is required",
                        pair.len()
                    ));
                };
                dict.insert(key.clone(), value.clone())?;
            }
            dict
        }
    };
    args.keyword.into_iter().for_each(|(name, value)| dict.insert_text(&name.text, value));
    Ok(dict)
}

/// transformers keeps names with an underscore off namespaces.
pub fn check_attribute_name(name: &str) -> Res<()> {
    if name.starts_with('_') {
        return fail(
            Kind::Security,
            format!(
                "Chat templates cannot store underscore-prefixed attributes on a namespace, but got {}. \
                 Please rename the attribute.",
                repr_str(name)
            ),
        );
    }
    Ok(())
}

fn namespace(interp: &mut Interp, args: CallArgs) -> Res<Value> {
    let attrs = make_dict(interp, args)?;
    for (key, _) in attrs.items() {
        if let Value::Str(name) = key {
            check_attribute_name(&name.text)?;
        }
    }
    // Namespaces may point at themselves, so they live until the rendering ends.
    interp.budget.work(1 << 14)?;
    let namespace = Rc::new(Namespace { attrs: RefCell::new(attrs) });
    interp.namespaces.push(namespace.clone());
    Ok(Value::Namespace(namespace))
}
